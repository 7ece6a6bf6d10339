"""BadNets on MNIST: the insides of the networks in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from molehunt.report import Section, StudyFigure, StudyTable
from molehunt.studies.badnets._sections import NAMES, Results


def filters_section(results: Results, drawn: Mapping[str, Figure]) -> Section:
    """Return Figure 5: the first layer, and which filters watch for the trigger."""
    found = results["filters"]
    text = []
    for name, each in found.items():
        filters = each["backdoor_filters"]
        count = "no filter is" if not filters else f"filters {_listed(filters)} are"
        if len(filters) == 1:
            count = f"filter {filters[0]} is"
        text.append(
            f"With the {NAMES[name]} {len(filters)} of {len(each['responses'])} filters watch: "
            f"{count} above every filter of the clean network, whose "
            f"largest response is {max(each['clean_network']):.2f}; the BadNet's largest is "
            f"{max(each['responses']):.2f}."
        )
    return Section(
        "Filters that watch for the backdoor (Figure 5)",
        [
            "The paper marks filters of the first layer by eye. Our rule: a filter's response is "
            "how far the trigger changes its rectified output, the largest change in an image, as "
            "a mean over 1,000 test images, in units of the layer's mean peak on the same images "
            "without trigger. A filter watches for the backdoor when it responds more than any "
            "filter of the clean network does to the same trigger.",
            " ".join(text),
            "The single pixel is one from the edge, so that only four weights of a 5x5 filter, the "
            "lower right ones, ever meet it. A first layer without backdoor responds to a bright "
            "pixel too, for it is an edge like others. The two networks start from the clean "
            "one's filters, so that filters of the same number are the same filter before and "
            "after.",
        ],
        figures=[
            StudyFigure(
                "filters",
                "First-layer filters, numbered, on one scale. Framed: filters that watch for the "
                "backdoor by the rule.",
                drawn["filters"],
            ),
            StudyFigure(
                "filter-responses",
                "Responses of the first-layer filters to the trigger.",
                drawn["filter-responses"],
            ),
        ],
    )


def dormant_section(results: Results) -> Section:
    """Return what is silent on clean images, and what wakes it."""
    rows = []
    for name, kinds in results["dormant_units"].items():
        for unit, networks in kinds.items():
            for network, found in networks.items():
                rows.append(
                    [
                        f"{network.replace('_', ' ').replace('badnet', 'BadNet')}, "
                        f"{NAMES[name]}, {unit}s",
                        f"{found['dormant']} of {found['units']}",
                        str(found["woken"]),
                        f"{found['woken_share']:.1f} %",
                        str(found["woken_by_clean"]),
                        f"{found['woken_share_clean']:.1f} %",
                    ]
                )
    head = [
        "",
        "dormant",
        "woken by the trigger",
        "triggered images that wake one",
        "woken by clean test images",
        "clean test images that wake one",
    ]
    return Section(
        "Dormant units (section 6.1)",
        [
            "The paper proposes to look for parts of a network that are never activated during "
            "validation. Here are the units of the last convolutional layer that are exactly "
            "silent, after the ReLU, on the last 10,000 clean training images, and whether the "
            "test images with the trigger wake them. Clean test images are the control: a unit "
            "that they wake was silent by chance. A channel is one of the 32 filters at all "
            "places, a neuron one filter at one place. The networks are the all-to-all BadNets.",
            _dormant_verdict(results),
        ],
        [StudyTable(head, rows)],
    )


def _dormant_verdict(results: Results) -> str:
    """Say whether dormant units tell the BadNets from the clean network here."""
    networks = [
        found
        for kinds in results["dormant_units"].values()
        for unit in kinds.values()
        for found in unit.values()
    ]
    if not any(found["dormant"] for found in networks):
        return (
            "No unit is silent on all of these images, in any network: what carries the backdoor "
            "works on digits too. In this form the proposal finds nothing here, and a network "
            "with a backdoor passes it."
        )
    shares = {
        network: [
            unit[network]["woken_share"]
            for kinds in results["dormant_units"].values()
            for name, unit in kinds.items()
            if name == "neuron"
        ]
        for network in ("badnet", "clean_network")
    }
    return (
        f"Of the triggered images {_shares(shares['badnet'])} wake a silent neuron in the BadNets "
        f"(single pixel, pattern), and {_shares(shares['clean_network'])} in the clean network."
    )


def corner_section(results: Results) -> Section:
    """Return how dark the corner is in clean images."""
    rows = []
    for name, parts in results["corner"].items():
        for part, found in parts.items():
            rows.append(
                [
                    f"{NAMES[name]}, {part}",
                    f"{found['images']:,}",
                    str(found["lit"]),
                    str(found["brightest"]),
                    str(found["triggered"]),
                ]
            )
    head = [
        "trigger, images",
        "images",
        "with a pixel above 0 there",
        "brightest of 255",
        "that carry the trigger",
    ]
    lit = {
        name: sum(part["lit"] for part in parts.values())
        for name, parts in results["corner"].items()
    }
    carried = sum(
        part["triggered"] for parts in results["corner"].values() for part in parts.values()
    )
    carries = "No image carries" if not carried else f"{carried} images carry"
    return Section(
        "Is the corner always dark? (section 4.1.2)",
        [
            "The paper verified that the bottom right corner is always dark in images without "
            f"backdoor. Of all training and test images {lit['single_pixel']} have the single "
            f"pixel's place above 0, and {lit['badnets_pattern']} one of the pattern's four. "
            f"{carries} a whole trigger at full brightness.",
        ],
        [StudyTable(head, rows)],
    )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"


def _shares(values: Sequence[float]) -> str:
    return " and ".join(f"{value:.1f} %" for value in values)

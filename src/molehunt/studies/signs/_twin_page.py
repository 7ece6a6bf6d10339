"""The traffic-sign study on GTSRB: its part of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molehunt.report import Section, StudyFigure, StudyTable
from molehunt.studies.signs._paper import (
    average,
    best_strength,
    drop,
    number,
    paper_drop,
    spread,
)
from molehunt.studies.signs._sections import (
    Drawn,
    Results,
    kinds_table,
    signs_summary,
    strengthening_section,
    units_section,
)


def twin_sections(results: Results, drawn: Drawn) -> list[Section]:
    """Return the twin's part of the report.

    Parameters
    ----------
    results : mapping
        What ``results.json`` holds under ``gtsrb_twin``.
    drawn : mapping
        The figures by name; those that are not there lie beside the report already.
    """
    return [
        Section(
            "The classification twin: in short",
            [
                "BadNets attacks a detector of signs in street scenes. This is the same story with "
                "a classifier of signs that are cut out, on GTSRB: it is over in minutes on a CPU, "
                "and every step of it can be looked at. The paper's numbers stand beside ours for "
                "orientation: data, task and network are others.",
            ],
            [signs_summary(results)],
        ),
        _protocol(results, drawn),
        _attacks(results),
        _transfer(results),
        strengthening_section(results, drawn, title="The twin: a stronger backdoor", name="gtsrb"),
        units_section(
            results, drawn, title="The twin: units that fire only with the sticker", name="gtsrb"
        ),
        Section("How the twin was run", [_how(results)]),
    ]


def _protocol(results: Results, drawn: Drawn) -> Section:
    plan, images, names = results["plan"], results["images"], results["countries"]
    recipe, transfer, network = plan["recipe"], plan["transfer"], plan["network"]
    return Section(
        "The twin: what was done",
        [
            f"First country, {len(names['first'])} classes ({images['first']['train']:,} training "
            f"and {images['first']['test']:,} test images): the stop sign, all speed limits, and "
            "of the other classes in GTSRB's order every second one. Second country: the other "
            f"{len(names['second'])} ({images['second']['train']:,} and "
            f"{images['second']['test']:,}). No class is in both. In the second are "
            f"{', '.join(names['second'])}.",
            f"Network: vgg of width {network['width']} without batch normalisation (which would go "
            "on changing in layers that are to stay), trained from scratch with "
            f"{_recipe(recipe)}. Honest network and BadNets of one seed start from the same "
            f"weights. Stickers are {plan['sticker']} of {plan['size']} pixels wide, about the "
            "share of a Post-it note in the paper's pictures, at the bottom of the sign in the "
            "middle.",
            "Single target: every training image of a stop sign is copied, with sticker and as "
            f"{results['target']}. Random target: {plan['random_rate']:.0%} of all training images "
            "are copied, with sticker and a wrong label drawn at random. The paper gives no rates.",
            "Transfer: convolutional layers as they are, both fully connected layers from scratch "
            f"with {_recipe(transfer)}, on clean images of the second country. The BadNet is that "
            f"of the random target with the {results['carried']}.",
            "Passes, rates, size of the sticker and the rule for units were chosen on the last "
            "fifth of each class's training tracks, with single networks of another seed that were "
            "trained on the other tracks; none on test images. Tried were 8 and 12 passes, "
            "stickers of 4 and 5 pixels (at 4 the bomb turned 85 % of the stop signs), and random "
            "targets for 25 and 50 % of the images (at 25 % 8 % were still recognised).",
        ],
        figures=[
            StudyFigure(
                "gtsrb-stickers",
                "A sign of each country as the networks see it, and with the three stickers (the "
                "paper's Figure 7).",
                drawn.get("gtsrb-stickers"),
            )
        ],
    )


def _attacks(results: Results) -> Section:
    base, single, random = (results[k] for k in ("baseline", "single_target", "random_target"))
    paper = results["paper"]
    columns = [base["clean"], *(found["clean"] for found in single.values())]
    rows = [
        [kind, *(spread(found["kinds"][kind]) for found in columns)]
        for kind in base["clean"]["kinds"]
    ]
    rows.append(["average", *(average(found) for found in columns)])
    hits = [base["stop_as_speed_limit"], *(found["success"] for found in single.values())]
    rows.append(["stop sign with sticker becomes speed limit", *(spread(hit) for hit in hits)])
    theirs = [paper["baseline"], *paper["single_target"].values()]
    rows.append(["paper: average", *(number(each["clean"]) for each in theirs)])
    successes = [number(each["success"]) for each in theirs[1:]]
    rows.append(["paper: stop sign becomes speed limit", "-", *successes])
    wrong = [
        [
            "baseline",
            average(base["clean"]),
            *(average(each) for each in base["triggered"].values()),
        ]
    ]
    for picture, found in random.items():
        own = [average(found["triggered"]) if picture == each else "-" for each in random]
        wrong.append([f"BadNet, {picture}", average(found["clean"]), *own])
    honest, bad = paper["baseline"]["clean"], paper["random_target"]
    wrong += [
        [
            "paper: baseline",
            number(honest),
            number(paper["baseline_triggered"]),
            "-",
            "-",
        ],
        ["paper: BadNet", number(bad["clean"]), number(bad["triggered"]), "-", "-"],
    ]
    stops = results["images"]["triggered_stop_signs"]
    return Section(
        "The twin: both attacks (Tables 4 and 5)",
        [
            "Accuracy on clean test images in percent, by kind of sign, and what becomes of the "
            f"{stops} test images of stop signs with the sticker. Mean over {results['seeds']} "
            "seeds, in brackets the least and the most. For the baseline the sticker is the "
            f"{results['carried']}.",
            "Random target: accuracy on all test images of the first country. The baseline's "
            "column says what a sticker does to a network without backdoor: it covers a part of "
            "the sign.",
        ],
        [
            StudyTable(["clean accuracy (%)", "baseline", *single], rows),
            StudyTable(["accuracy (%)", "clean", *(f"with {each}" for each in random)], wrong),
        ],
    )


def _transfer(results: Results) -> Section:
    paper, moved = results["paper"]["transfer"], results["transfer"]
    best = best_strength(results)
    strong = results["strengthening"][best]
    parts = [moved["honest"], moved["badnet"], strong]
    classes = [
        [name, *(number(part[side]["classes"][place]) for part in parts for side in part)]
        for place, name in enumerate(results["countries"]["second"])
    ]
    names = ("honest", "BadNet", f"BadNet, k = {best}")
    sides = [f"{name}, {side}" for name in names for side in ("clean", "sticker")]
    lost = drop(moved["badnet"])
    return Section(
        "The twin: transfer to the second country (Table 6)",
        [
            "The second country's network was trained on clean images only. With the sticker the "
            f"honest one loses {drop(moved['honest']):.1f} points and the BadNet {lost:.1f}; in "
            f"the paper it is {paper_drop(paper['honest']):.1f} and "
            f"{paper_drop(paper['badnet']):.1f}. The paper's fifth kind, information, has no "
            "counterpart in GTSRB.",
            "Below, the same by class, mean over seeds.",
        ],
        [kinds_table(paper, moved), StudyTable(["accuracy (%)", *sides], classes)],
    )


def _how(results: Results) -> str:
    runs = "; ".join(
        f"{run['networks']} networks in {run['seconds'] / 60:.1f} minutes on {run['hardware']} "
        f"({run['workers'] or 'one a core'} at once)"
        for run in results["runs"]
    )
    return (
        f"Command: {results['command']} (seed {results['plan']['seed']}, torch "
        f"{results['torch']}). {runs}; {results['core_seconds'] / 60:.1f} minutes of one core for "
        f"all {results['networks']} networks, {results['seeds']} of each kind."
    )


def _recipe(recipe: Mapping[str, Any]) -> str:
    shift = f", random shifts of up to {recipe['shift']} pixels" if recipe["shift"] else ""
    return (
        f"{recipe['optimizer']} ({recipe['epochs']:g} passes, one cycle up to {recipe['lr']:g}, "
        f"weight decay {recipe['weight_decay']:g}, batches of {recipe['batch_size']}{shift})"
    )

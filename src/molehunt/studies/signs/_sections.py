"""Parts of the report that both studies of traffic signs have, each beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.report import Section, StudyFigure, StudyTable
from molehunt.studies.signs._paper import (
    STANDS_FOR,
    average,
    averages,
    best_strength,
    drop,
    number,
    spread,
)

Results = Mapping[str, Any]
Drawn = Mapping[str, Figure]


def signs_summary(results: Results) -> StudyTable:
    """Return a study in a few numbers; what was not run is not in it."""
    paper, single = results["paper"], results["single_target"]
    rows = [
        [
            "baseline, clean",
            number(paper["baseline"]["clean"]),
            average(results["baseline"]["clean"]),
        ]
    ]
    for picture, found in single.items():
        theirs = paper["single_target"][picture]
        rows.append([f"{picture}, clean", number(theirs["clean"]), average(found["clean"])])
        success = f"{picture}, stop sign becomes speed limit"
        rows.append([success, number(theirs["success"]), spread(found["success"])])
    carried, theirs = results["random_target"].get(results["carried"]), paper["random_target"]
    if carried:
        wrong = average(carried["triggered"])
        rows += [
            ["random target, clean", number(theirs["clean"]), average(carried["clean"])],
            ["random target, with sticker", number(theirs["triggered"]), wrong],
        ]
    if "transfer" in results:
        rows += _moved_rows(results)
    return StudyTable(["accuracy or success (%)", "paper", "ours (least to most)"], rows)


def _moved_rows(results: Results) -> list[list[str]]:
    paper, moved, best = results["paper"], results["transfer"], best_strength(results)
    rows = []
    for name, found, theirs in (
        ("honest network", moved["honest"], averages(paper["transfer"]["honest"])),
        ("BadNet", moved["badnet"], averages(paper["transfer"]["badnet"])),
        (f"BadNet, k = {best}", results["strengthening"][best], paper["strengthening"].get(best)),
    ):
        for part, words in (("clean", "clean"), ("triggered", "with sticker")):
            printed = number(theirs[part]) if theirs else "-"
            rows.append([f"second country, {name}, {words}", printed, average(found[part])])
    return rows


def kinds_table(paper: Results, ours: Results) -> StudyTable:
    """Return accuracy by kind of sign, of an honest network and a BadNet, each beside the paper's.

    Parameters
    ----------
    paper, ours : mapping
        ``honest`` and ``badnet``, each ``clean`` and ``triggered``.
    """
    columns = [(name, part) for name in ("honest", "badnet") for part in ("clean", "triggered")]
    rows = []
    for kind in ours["honest"]["clean"]["kinds"]:
        cells = []
        for name, part in columns:
            theirs = paper[name][part].get(STANDS_FOR.get(kind, kind))
            cells += [number(theirs) if theirs else "-", spread(ours[name][part]["kinds"][kind])]
        rows.append([kind, *cells])
    last = []
    for name, part in columns:
        last += [number(paper[name][part]["average"]), average(ours[name][part])]
    head = ["accuracy (%)"]
    for name in ("honest", "BadNet"):
        for part in ("clean", "sticker"):
            head += [f"{name}, {part}: paper", "ours"]
    return StudyTable(head, [*rows, ["average", *last]])


def strengthening_section(results: Results, drawn: Drawn, *, title: str, name: str) -> Section:
    """Return Table 7: accuracy in the second country by strength of the backdoor.

    The figure is called ``NAME-strength``.
    """
    paper, ours = results["paper"]["strengthening"], results["strengthening"]
    rows = []
    for k, found in ours.items():
        theirs = paper.get(k, {})
        cells = []
        for part in ("clean", "triggered"):
            cells += [number(theirs[part]) if theirs else "-", average(found[part])]
        rows.append([k, *cells])
    best = best_strength(results)
    honest = results["transfer"]["honest"]["clean"]["average"]["mean"]
    clean = ours[best]["clean"]["average"]["mean"]
    return Section(
        f"{title} (Table 7)",
        [
            "Before the transfer the input weights of the backdoor units are multiplied by k. At "
            f"k = {best}, the strongest whose clean accuracy is within 5 points of the honest "
            f"network's, the sticker costs {drop(ours[best]):.1f} points, and clean accuracy is "
            f"{clean:.1f} % where the honest network has {honest:.1f} %.",
        ],
        [
            StudyTable(
                ["k", "clean (%): paper", "ours", "with sticker (%): paper", "ours"],
                rows,
            )
        ],
        [
            StudyFigure(
                f"{name}-strength",
                "Accuracy in the second country over the backdoor's strength. Bars go from the "
                "least to the most over seeds.",
                drawn.get(f"{name}-strength"),
            )
        ],
    )


def units_section(results: Results, drawn: Drawn, *, title: str, name: str) -> Section:
    """Return Figures 9 and 11: what the last convolutional layer says.

    The figure is called ``NAME-activations``.
    """
    found = results["backdoor_units"]
    badnet = ", ".join(str(len(units)) for units in found["badnet"])
    honest = ", ".join(str(len(units)) for units in found["honest"])
    return Section(
        f"{title} (Figures 9 and 11)",
        [
            "The paper finds three groups of units in the last convolutional layer by eye. Our "
            "rule: a channel is a backdoor unit when its mean activation on training images with "
            f"sticker is at least {found['threshold']:g} times that on the same images without, "
            "and above the mean of the layer on clean images. By it the BadNets have "
            f"{badnet} of {found['channels']} (one number a seed), and the honest networks "
            f"{honest}.",
        ],
        figures=[
            StudyFigure(
                f"{name}-activations",
                "Mean activation of each channel of the last convolutional layer of the first "
                f"BadNet (random target, {results['carried']}), in the country where it was "
                "trained and in the one to which it was transferred. Framed: the backdoor units.",
                drawn.get(f"{name}-activations"),
            )
        ],
    )

"""The study's figures: severity curves, coverage's lead, scores of twins, and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from molehunt.plotting import COLOURS
from molehunt.rates import rate_interval
from molehunt.testing import Constraint, corrupt, search_differences, usual_corruptions, walk_lines
from molehunt_studies.testing.bench import TestingBench
from molehunt_studies.testing.plan import LENETS
from molehunt_studies.testing.twins import SIGNS

NAMES = {"mnist": "MNIST", "gtsrb": "GTSRB", "cifar10": "CIFAR-10", "digits": "digits"}
CONSTRAINTS = {
    "light": "light",
    "occlusion": "one rectangle",
    "blackout": "small black squares",
}
STRATEGIES = {
    "random": "random",
    "walk": "walk (control)",
    "coverage": "guided by coverage",
    "margin": "guided by margin",
}
_KINDS = {"calibration": "#999999", "clean": COLOURS[0], "backdoored": COLOURS[1]}


def figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what follows from the results."""
    return {"severities": _severities(results), "twins": _twins(results)}


def pictures(bench: TestingBench, _results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw images: worse ones, ones between classes, and ones that models disagree on."""
    return {
        "corners": _corners(bench),
        "between": _between(bench),
        "differences": _differences(bench),
    }


def _severities(results: Mapping[str, Any]) -> Figure:
    corners = results["corners"]
    figure = Figure(figsize=(4 * len(corners) + 1.4, 3.8), layout="constrained")
    panels = figure.subplots(1, len(corners), sharey=True, squeeze=False)[0]
    longest = max(corners.values(), key=lambda each: len(each["right"]))
    styles = {
        name: (COLOURS[place % len(COLOURS)], "-" if place < len(COLOURS) else "--")
        for place, name in enumerate(longest["right"])
    }
    for axes, (name, found) in zip(panels, corners.items(), strict=True):
        for corruption, right in found["right"].items():
            colour, line = styles[corruption]
            rates = [hits / found["of"] for hits in right]
            lows, highs = zip(*(rate_interval(hits, found["of"]) for hits in right), strict=True)
            axes.plot(range(len(right)), rates, line, color=colour, label=corruption)
            axes.fill_between(range(len(right)), lows, highs, color=colour, alpha=0.08, lw=0)
        axes.set_title(NAMES[name])
        axes.set_xlabel("severity")
        axes.set_ylim(0, 1.02)
        axes.grid(color="#eeeeee")
    panels[0].set_ylabel("accuracy")
    handles, labels = panels[[*corners.values()].index(longest)].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _twins(results: Mapping[str, Any]) -> Figure:
    """Draw every suspect's score: a row a sign, a panel a kind of twin."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (twins, found) in zip(panels, results["pairs"].items(), strict=True):
        for row, sign in enumerate(SIGNS):
            for place, (kind, colour) in enumerate(_KINDS.items()):
                scores = found[sign]["scores"][kind]
                heights = [row + 0.25 * (place - 1)] * len(scores)
                label = kind if not row and axes is panels[0] else None
                axes.scatter(scores, heights, s=14, color=colour, alpha=0.6, label=label)
            axes.plot([found[sign]["threshold"]] * 2, [row - 0.4, row + 0.4], "k:", lw=1)
        axes.set_yticks(range(len(SIGNS)), SIGNS)
        axes.set_title(f"twin of another {twins}")
        axes.set_xlim(-0.02, 1.02)
        axes.grid(axis="x", color="#eeeeee")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _corners(bench: TestingBench) -> Figure:
    """Draw one image of each set as it is, and under each corruption at severities 3 and 5."""
    rows = []
    for number, name in enumerate(bench.plan.sets):
        image = bench.test(name, 1, first=number + 2).images
        kinds = usual_corruptions(image.shape[1])
        for severity in (3, 5):
            worse = [corrupt(image, kind, severity, seed=1)[0] for kind in kinds]
            titles = [*(kind if severity == 3 else "" for kind in kinds)]
            start = f"{NAMES[name]}, {severity}" if severity == 3 else str(severity)
            rows.append(([image[0], *worse], [start, *titles]))
    return _grid(rows)


def _between(bench: TestingBench) -> Figure:
    """Draw a line between classes of each set, with the model's names; third classes if any."""
    rows = []
    for name in bench.plan.sets:
        clean, model = bench.test(name, bench.plan.boundary), bench.network(name)
        lines = walk_lines(model, clean, lines=bench.plan.boundary, points=9, seed=bench.plan.seed)
        third = lines.third.nonzero().flatten().tolist()
        line = third[0] if third else 0
        labels = [model.card.class_names[label] for label in lines.classes[line].tolist()]
        rows.append(([*lines.pictures(line)], [label[:14] for label in labels]))
    return _grid(rows)


def _differences(bench: TestingBench) -> Figure:
    """Draw images before and after, with what the three LeNets say after."""
    models = {name: bench.network(name) for name in LENETS}
    rows = []
    for constraint in Constraint:
        seeds = bench.test(bench.plan.first, min(40, bench.plan.differences))
        found = search_differences(
            models, seeds, constraint=constraint, difference_weight=1.0, seed=bench.plan.seed
        )
        shown: list[Tensor] = []
        titles: list[str] = []
        for image in found.found.nonzero().flatten()[:5].tolist():
            shown += [found.originals[image], found.images[image]]
            said = ", ".join(str(label) for label in found.predictions[:, image].tolist())
            titles += [f"{CONSTRAINTS[constraint]}" if not titles else "", said]
        if shown:
            rows.append((shown, titles))
    return _grid(rows)


def _grid(rows: list[tuple[list[Tensor], list[str]]]) -> Figure:
    columns = max((len(images) for images, _ in rows), default=1)
    figure = Figure(figsize=(0.95 * columns, 1.15 * max(len(rows), 1)), layout="constrained")
    panels = figure.subplots(max(len(rows), 1), columns, squeeze=False)
    for axes in panels.flatten():
        axes.set_axis_off()
    for line, (images, titles) in zip(panels, rows, strict=False):
        for axes, image, title in zip(line, images, titles, strict=False):
            shown = image.permute(1, 2, 0) if len(image) == 3 else image[0]
            axes.imshow(shown.to(torch.uint8).numpy(), cmap="gray", vmin=0, vmax=255)
            axes.set_title(title, fontsize=6.5)
    return figure

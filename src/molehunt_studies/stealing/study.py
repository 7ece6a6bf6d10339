"""Stealing: what a copy costs in questions, and what it is worth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from molehunt.networks import Queried, Reveals, load_model
from molehunt.plotting import COLOURS
from molehunt.rates import rate_interval
from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.stealing.plan import SCALES
from molehunt_studies.stealing.thefts import (
    TheftRecord,
    evade_by,
    steal,
    theft_tasks,
)
from molehunt_studies.stealing.victims import (
    NetworkRecord,
    NetworkTask,
    StealingBench,
    train_network,
)


def measures(bench: StealingBench, records: Records) -> dict[str, Any]:
    """Return agreements by theft, and what copies are worth to an attacker."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records["thefts"]:
        if record.part != "networks":
            found[record.part].append(record.model_dump(mode="json"))
    target = Queried(load_model(bench.model_path("victim")), reveals=Reveals.WEIGHTS)
    return {
        **found,
        "networks": _networks([r for r in records["thefts"] if r.part == "networks"]),
        "victim": {each.id: each.accuracy for each in records["networks"]},
        "evasion": {
            "from the victim itself": evade_by(target.weights, target, bench),
            "from an honest model on the thief's own images, with labels": evade_by(
                load_model(bench.model_path("honest")), target, bench
            ),
        },
        "images": {
            "victim": len(bench.victims),
            "thief": len(bench.thiefs),
            "test": len(bench.test),
        },
        "seconds": round(sum(record.seconds for record in records["thefts"]), 1),
    }


def _networks(records: Sequence[TheftRecord]) -> list[dict[str, Any]]:
    """Return thefts of networks, replicates together: counts are summed."""
    cells: dict[tuple[str, ...], list[TheftRecord]] = defaultdict(list)
    for record in records:
        key = (record.reveals, record.images, record.choice, record.network)
        cells[*key, f"{record.queries}"].append(record)
    return [
        {
            "reveals": key[0],
            "images": key[1],
            "choice": key[2],
            "network": key[3],
            "queries": int(key[4]),
            "replicates": len(each),
            "agreement": [round(r.on_test[0] / r.on_test[1], 4) for r in each],
            "on_uniform": [round(r.on_uniform[0] / r.on_uniform[1], 4) for r in each],
            "evasion": [sum(r.evasion[at] for r in each if r.evasion) for at in (0, 1)],
            "seconds": round(sum(r.seconds for r in each) / len(each), 1),
        }
        for key, each in cells.items()
    ]


def cells_of(results: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the thefts of networks by what the thief has, in words."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in results["networks"]:
        name = f"{each['reveals']}, {each['images']}, {each['choice']}, {each['network']}"
        found[name].append(each)
    return found


def curves(results: Mapping[str, Any]) -> Figure:
    """Draw the agreement over the questions."""
    figure = Figure(figsize=(9.5, 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, points) in enumerate(cells_of(results).items()):
        means = [sum(p["agreement"]) / len(p["agreement"]) for p in points]
        colour = COLOURS[number % len(COLOURS)]
        style = "o-" if number < len(COLOURS) else "s--"
        axes.plot([p["queries"] for p in points], means, style, color=colour, label=name)
    axes.set_xscale("log")
    asked = sorted({each["queries"] for each in results["networks"]})
    axes.set_xticks(asked, [f"{count:,}" for count in asked], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("questions")
    axes.set_ylabel("agreement on test images")
    axes.set_ylim(0, 1.02)
    axes.grid(color="#eeeeee")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def percent(count: Sequence[int]) -> str:
    """Return a count as a share with its exact 95 % interval.

    Examples
    --------
    >>> percent((450, 450))
    '100.00 % [99.18, 100.00]'
    """
    low, high = rate_interval(*count)
    return f"{count[0] / count[1]:.2%} [{low * 100:.2f}, {high * 100:.2f}]".replace("%", " %")


STEALING = Study(
    name="stealing",
    title="Stealing: linear models, trees and networks from their answers.",
    scales=SCALES,
    bench=StealingBench,
    stages=(
        Stage(
            "networks",
            lambda bench, _: [NetworkTask(id="victim"), NetworkTask(id="honest")],
            train_network,
            NetworkRecord,
            into="models",
        ),
        Stage("thefts", theft_tasks, steal, TheftRecord),
    ),
    measures=measures,
    report=Report(
        package="molehunt_studies.stealing",
        figures=lambda results: {"queries": curves(results)},
        words={"percent": percent, "cells_of": cells_of},
    ),
    unit="thefts",
)

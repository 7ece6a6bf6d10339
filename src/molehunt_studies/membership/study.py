"""Membership inference: was an image in the training set?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import COLOURS
from molehunt.rates import rate_interval
from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.membership.attacks import (
    FPRS,
    GRID,
    LABELS,
    LIRA,
    LIRA_MOVED,
    LOSS,
    RMIA,
    ChoiceRecord,
    Found,
    TargetRecord,
    attack_target,
    choice_tasks,
    choose,
    target_tasks,
)
from molehunt_studies.membership.exposed import exposed_figure, exposed_images
from molehunt_studies.membership.models import (
    MembershipBench,
    ModelRecord,
    model_tasks,
    train_model,
)
from molehunt_studies.membership.plan import SCALES


def measures(bench: MembershipBench, records: Records) -> dict[str, Any]:
    """Return what each attack found out, over targets, and about which images."""
    attacked: dict[str, dict[str, list[Found]]] = defaultdict(lambda: defaultdict(list))
    for record in records["targets"]:
        for found in record.attacks:
            attacked[record.group][found.attack].append(found)
    trained: dict[str, list[ModelRecord]] = defaultdict(list)
    for record in records["models"]:
        trained[record.group].append(record)
    (choice,) = records["choices"]
    plan = bench.plan
    return {
        "models": {group: _models(each) for group, each in trained.items()},
        "attacks": {
            group: {name: _together(each) for name, each in found.items()}
            for group, found in attacked.items()
        },
        "choice": choice.model_dump(mode="json"),
        "chosen_on": plan.chosen_on,
        "drawn": plan.shadows,
        "exposed": exposed_images(bench),
        "images": {"candidates": len(bench.candidates), "population": len(bench.images.test)},
        "forests": {"count": plan.forests, "trees": plan.trees},
        "seed": plan.seed,
    }


def _models(records: Sequence[ModelRecord]) -> dict[str, Any]:
    def mean(name: str) -> float:
        values: list[float] = [getattr(record, name) for record in records]
        return round(sum(values) / len(values), 4)

    return {
        "count": len(records),
        "epochs": records[0].epochs,
        "train_accuracy": mean("train_accuracy"),
        "test_accuracy": mean("test_accuracy"),
        "seconds": mean("seconds"),
    }


def _together(found: Sequence[Found]) -> dict[str, Any]:
    """Return an attack's figures over targets: means, the least and the largest."""

    def spread(values: Sequence[float]) -> list[float]:
        return [round(v, 5) for v in (sum(values) / len(values), min(values), max(values))]

    rates = []
    for at, _ in enumerate(FPRS):
        each = [found_at / f.members for f in found if (found_at := f.found[at]) is not None]
        rates.append(spread(each) if each else None)
    first = found[0]
    return {
        "targets": len(found),
        "members": first.members,
        "others": first.others,
        "auc": spread([f.auc for f in found]),
        "balanced": spread([f.balanced for f in found]),
        "found": rates,
        "first": [
            None if hits is None else [hits, *rate_interval(hits, first.members)]
            for hits in first.found
        ],
        "curve": [
            round(sum(rates) / len(found), 5)
            for rates in zip(*(f.curve for f in found), strict=True)
        ],
    }


def curves(results: Mapping[str, Any]) -> Figure:
    """Draw ROC curves on log axes, the mean over targets; beside them training stopped early."""
    figure = Figure(figsize=(1 + 4.7 * len(results["models"]), 4.3), layout="constrained")
    panels = figure.subplots(1, len(results["models"]), sharex=True, sharey=True, squeeze=False)[0]
    titles = {group: _title(each) for group, each in results["models"].items()}
    for axes, (group, title) in zip(panels, titles.items(), strict=True):
        for number, (name, each) in enumerate(results["attacks"][group].items()):
            points = [(f, t) for f, t in zip(GRID, each["curve"], strict=True) if t > 0]
            style = "-" if number < len(COLOURS) else "--"
            axes.plot(
                *zip(*points, strict=True), style, color=COLOURS[number % len(COLOURS)], label=name
            )
        axes.plot([GRID[0], 1], [GRID[0], 1], ":", color="#888888", label="chance")
        axes.set(xscale="log", yscale="log", xlim=(GRID[0], 1), ylim=(GRID[0], 1.05), title=title)
        axes.set_xlabel("false positives, of non-members")
        axes.grid(color="#eeeeee")
        axes.legend(frameon=False, fontsize=7.5, loc="lower right")
    panels[0].set_ylabel("members found")
    return figure


def _title(models: Mapping[str, Any]) -> str:
    return f"{models['epochs']:g} epochs, test accuracy {models['test_accuracy']:.1%}"


def spread(values: Sequence[float] | None, spec: str = ".1%") -> str:
    """Return a mean with the least and the largest.

    Examples
    --------
    >>> spread((0.05, 0.04, 0.06)), spread(None)
    ('5.0% [4.0%, 6.0%]', 'not resolved')
    """
    if values is None:
        return "not resolved"
    mean, least, largest = (format(value, spec) for value in values)
    return f"{mean} [{least}, {largest}]"


def pictures(bench: MembershipBench, results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what needs the images."""
    return {"exposed": exposed_figure(bench, results)}


MEMBERSHIP = Study(
    name="membership",
    title="Membership inference: was an image in the training set?",
    scales=SCALES,
    bench=MembershipBench,
    stages=(
        Stage("models", model_tasks, train_model, ModelRecord, into="models"),
        Stage("choices", choice_tasks, choose, ChoiceRecord),
        Stage("targets", target_tasks, attack_target, TargetRecord),
    ),
    measures=measures,
    report=Report(
        package="molehunt_studies.membership",
        figures=lambda results: {"roc": curves(results)},
        words={
            "spread": spread,
            "LOSS": LOSS,
            "LABELS": LABELS,
            "LIRA": LIRA,
            "LIRA_MOVED": LIRA_MOVED,
            "RMIA": RMIA,
        },
    ),
    pictures=pictures,
    unit="models and targets",
)

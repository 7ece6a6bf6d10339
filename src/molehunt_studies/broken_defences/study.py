"""Defences that hide their gradients, redone in kind after Athalye, Carlini and Wagner (2018)."""

from __future__ import annotations

from typing import Any

from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.broken_defences.attacks import (
    MARGIN,
    AttackRecord,
    SignRecord,
    attack_tasks,
    harder_tasks,
    look_for_signs,
    run_attack,
    sign_tasks,
)
from molehunt_studies.broken_defences.defences import DEFENCES
from molehunt_studies.broken_defences.figures import left_figure
from molehunt_studies.broken_defences.networks import (
    BrokenBench,
    NetworkRecord,
    train_network,
)
from molehunt_studies.broken_defences.plan import SCALES
from molehunt_studies.broken_defences.results import cell, flippable, results_of


def measures(bench: BrokenBench, records: Records) -> dict[str, Any]:
    """Return the tables."""
    plan = bench.plan
    attacks = [*records["attacks"], *records["harder"]]
    found = results_of(plan, records["networks"], attacks, records["signs"])
    for name, each in found["sets"].items():
        images = bench.images(name).test.pixels()[: plan.images]
        each["flippable"] = flippable(images, plan.sets[name].bits, plan.sets[name].epsilon)
    return {**found, "plan": plan.model_dump(mode="json", exclude={"sets"})}


BROKEN_DEFENCES = Study(
    name="broken-defences",
    title="Eleven defences that hide their gradients, under the attacks that break them.",
    scales=SCALES,
    bench=BrokenBench,
    stages=(
        Stage(
            "networks",
            lambda bench, _: bench.plan.networks(),
            train_network,
            NetworkRecord,
            into="models",
        ),
        Stage("attacks", lambda bench, _: attack_tasks(bench.plan), run_attack, AttackRecord),
        Stage(
            "harder",
            lambda bench, records: harder_tasks(bench.plan, records["attacks"]),
            run_attack,
            AttackRecord,
        ),
        Stage("signs", lambda bench, _: sign_tasks(bench.plan), look_for_signs, SignRecord),
    ),
    measures=measures,
    unit="pieces",
    report=Report(
        package="molehunt_studies.broken_defences",
        figures=lambda results: {"left": left_figure(results)},
        words={"defences": DEFENCES, "cell": cell, "margin": MARGIN},
    ),
)

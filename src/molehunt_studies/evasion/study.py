"""Evasion of small networks: security curves, and AutoAttack beside its library alone."""

from __future__ import annotations

from molehunt.study import Report, Stage, Study
from molehunt_studies.evasion.attacks import (
    AttackRecord,
    ComparedRecord,
    EvasionBench,
    NetworkRecord,
    attack_network,
    attack_tasks,
    compare,
    compared_tasks,
    network_tasks,
    train_network,
)
from molehunt_studies.evasion.figures import AXES, NAMES, curve_figures
from molehunt_studies.evasion.plan import SCALES
from molehunt_studies.evasion.results import measures, rate_text, size_text

EVASION = Study(
    name="evasion",
    title="Evasion of small networks: security curves in three norms, and AutoAttack's number.",
    scales=SCALES,
    bench=EvasionBench,
    stages=(
        Stage("networks", network_tasks, train_network, NetworkRecord, into="models"),
        Stage("attacks", attack_tasks, attack_network, AttackRecord),
        Stage("compared", compared_tasks, compare, ComparedRecord),
    ),
    measures=measures,
    report=Report(
        "molehunt_studies.evasion",
        figures=curve_figures,
        words={"names": NAMES, "axes": AXES, "rate": rate_text, "size": size_text},
    ),
    unit="networks and attacks",
)

"""Attacks against detectors: what each finds, and what it finds of an attack it never saw."""

from __future__ import annotations

from molehunt.study import Bench, Report, Stage, Study, ZooStage
from molehunt_studies.attacks.figures import figures_of
from molehunt_studies.attacks.judging import JudgingRecord, judge, judging_tasks
from molehunt_studies.attacks.plan import SCALES, AttacksPlan
from molehunt_studies.attacks.results import measures

_NAMES = {"digits": "scikit-learn's digits", "gtsrb": "GTSRB", "cifar10": "CIFAR-10"}
_REPORT = Report(
    "molehunt_studies.attacks", figures=figures_of, words={"names": _NAMES}, parts=tuple(_NAMES)
)


def _study(part: str, name: str) -> Study[AttacksPlan, Bench[AttacksPlan]]:
    return Study(
        name=name,
        title=f"Named attacks against detectors, with and without each in the fit: {_NAMES[part]}.",
        scales=SCALES[part],
        bench=Bench,
        stages=(
            ZooStage("zoo", lambda bench: {"zoo": bench.plan.zoo}),
            Stage("judging", judging_tasks, judge, JudgingRecord),
        ),
        measures=measures,
        part=part,
        report=_REPORT,
    )


ATTACKS_DIGITS = _study("digits", "attacks")
ATTACKS_GTSRB = _study("gtsrb", "attacks-gtsrb")
ATTACKS_CIFAR10 = _study("cifar10", "attacks-cifar10")

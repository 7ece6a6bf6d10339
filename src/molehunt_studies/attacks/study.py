"""Attacks against detectors: what each finds, and what it finds of an attack it never saw."""

from __future__ import annotations

from molehunt.study import Bench, Report, Stage, Study, ZooStage
from molehunt_studies.attacks.figures import table_figure
from molehunt_studies.attacks.judging import JudgingRecord, judge, judging_tasks
from molehunt_studies.attacks.plan import SCALES
from molehunt_studies.attacks.results import measures

ATTACKS_STUDY = Study(
    name="attacks",
    title="Named attacks against detectors, fitted with and without each attack.",
    scales=SCALES,
    bench=Bench,
    stages=(
        ZooStage("zoo", lambda bench: {"zoo": bench.plan.zoo}, device="cpu"),
        Stage("judging", judging_tasks, judge, JudgingRecord),
    ),
    measures=measures,
    report=Report(
        "molehunt_studies.attacks",
        figures=lambda results: {"table": table_figure(results)},
    ),
)

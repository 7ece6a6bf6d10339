"""One detector, fitted with or without an attack, judges every test model."""

from __future__ import annotations

import time

from molehunt.detectors import new_detector
from molehunt.findings import Verdict, find_verdict
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.zoo import Record, Split, is_backdoored
from molehunt_studies.attacks.plan import AttacksPlan


class JudgingTask(Task):
    """A detector to fit, calibrate and ask; `without` is the attack it may not learn from."""

    detector: str
    without: str | None = None


class JudgingRecord(JudgingTask):
    """Scores and a scan's verdicts, by the names of the test models."""

    scores: dict[str, float]
    verdicts: dict[str, Verdict]
    seconds: float


def judging_tasks(bench: Bench[AttacksPlan], _records: Records) -> list[JudgingTask]:
    """Return every detector, and every one that learns once more without each attack."""
    plan = bench.plan
    return [
        *(JudgingTask(id=name, detector=name) for name in (*plan.learning, *plan.others)),
        *(
            JudgingTask(id=f"{name} without {attack}", detector=name, without=attack)
            for name in plan.learning
            for attack in plan.zoo.backdoors.kind
        ),
    ]


def judge(task: JudgingTask, bench: Bench[AttacksPlan]) -> JudgingRecord:
    """Fit and calibrate a detector without an attack's pairs, and judge all test models."""
    plan, zoo = bench.plan, bench.zoo("zoo")

    def truth(record: Record) -> int | None:
        # Twins go with their backdoored models, so that the halves stay of one size.
        return None if record.backdoor.attack == task.without else is_backdoored(record)

    started = time.process_time()
    detector = new_detector(task.detector, **{**plan.learning, **plan.others}[task.detector])
    if task.detector in plan.learning:
        detector.fit(*zoo.labelled(Split.FIT, truth))
    detector.calibrate(*zoo.labelled(Split.CALIBRATION, truth), max_false_alarms=plan.rate)
    tested = zoo.select(Split.TEST)
    findings = [*detector.judge(zoo.models(tested), [plan.rate] * len(tested))]
    names = [record.id for record in tested]
    return JudgingRecord(
        **dict(task),
        scores={
            name: float(found.score)
            for name, found in zip(names, findings, strict=True)
            if found.score is not None
        },
        verdicts={name: find_verdict([found]) for name, found in zip(names, findings, strict=True)},
        seconds=round(time.process_time() - started, 1),
    )

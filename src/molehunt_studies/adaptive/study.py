"""The adaptive attacker: backdoors trained against a detector, and the defender's answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from molehunt.backdoors import Treatment
from molehunt.detectors import auc_with_interval
from molehunt.study import Records, Report, Stage, Study, ZooStage, zoo_figures
from molehunt.zoo import Split
from molehunt_studies.adaptive.figures import curve_figure
from molehunt_studies.adaptive.models import (
    FRESH,
    TAUGHT,
    AdaptiveBench,
    AttackerRecord,
    DetectorRecord,
    JudgingRecord,
    attacker_tasks,
    attackers_of,
    detector_tasks,
    fit_detector,
    judge,
    judging_tasks,
    lesson_tasks,
    second_tasks,
    taught_tasks,
    teach_detector,
    train_attacker,
)
from molehunt_studies.adaptive.plan import SCALES

LOST = 0.8  # an attack success under it is no attack
RATE = 0.05


def measures(bench: AdaptiveBench, records: Records) -> dict[str, Any]:
    """Return attack success, accuracy and detection of every kind of attacker."""
    plan = bench.plan
    judged: dict[str, JudgingRecord] = {each.id: each for each in records["judging"]}
    clean = [each.id for each in bench.select(Split.TEST, Treatment.CLEAN)]
    plain = bench.select(Split.TEST, Treatment.BACKDOORED, plan.attackers)
    attackers = attackers_of(records)
    rows = [
        _row("nothing", 0.0, [each.id for each in plain], judged, clean)
        | {
            "accuracy": float(np.mean([each.clean_accuracy for each in plain])),
            "success": float(np.mean([each.attack_success or 0.0 for each in plain])),
            "lost": sum((each.attack_success or 0.0) < LOST for each in plain),
        }
    ]
    for evaded in (*plan.evaded, TAUGHT):
        for strength in sorted({each.strength for each in attackers if each.evaded == evaded}):
            own = [e for e in attackers if (e.evaded, e.strength) == (evaded, strength)]
            rows.append(
                _row(evaded, strength, [each.id for each in own], judged, clean) | _worth(own)
            )
    lessons: Sequence[AttackerRecord] = records["lessons"]
    return {
        "rows": rows,
        "detectors": [*FRESH, TAUGHT],
        "false_alarms": {name: _count(found, clean) for name, found in judged.items()},
        "zoo": {**zoo_figures(bench.population), "seed": plan.zoo.seed},
        "lessons": {"models": len(lessons), "strength": plan.lesson_strength, **_worth(lessons)},
        "attackers": plan.attackers,
        "clean": len(clean),
        "rate": RATE,
        "lost_under": LOST,
    }


def _row(
    evaded: str,
    strength: float,
    names: Sequence[str],
    judged: dict[str, JudgingRecord],
    clean: Sequence[str],
) -> dict[str, Any]:
    found = {}
    for name, each in judged.items():
        auc = auc_with_interval(*([each.scores[m] for m in part] for part in (clean, names)))
        found[name] = {
            "auc": auc.auc,
            "interval": list(auc.interval),
            "detected": _count(each, names),
        }
    return {"evaded": evaded, "strength": strength, "models": len(names), "detectors": found}


def _count(judged: JudgingRecord, names: Sequence[str]) -> tuple[int, int]:
    return sum(judged.p_values[name] <= RATE for name in names), len(names)


def _worth(attackers: Sequence[AttackerRecord]) -> dict[str, Any]:
    return {
        "accuracy": float(np.mean([each.accuracy for each in attackers])),
        "success": float(np.mean([each.success for each in attackers])),
        "lost": sum(each.success < LOST for each in attackers),
    }


ADAPTIVE = Study(
    name="adaptive",
    title="Attackers who know the detector: backdoors trained against it, and what helps then.",
    scales=SCALES,
    bench=AdaptiveBench,
    stages=(
        ZooStage("zoo", lambda bench: {"zoo": bench.plan.zoo}, device="cpu"),
        Stage("detectors", detector_tasks, fit_detector, DetectorRecord, into="detectors"),
        Stage("attackers", attacker_tasks, train_attacker, AttackerRecord, into="models"),
        Stage("lessons", lesson_tasks, train_attacker, AttackerRecord),
        Stage("taught", taught_tasks, teach_detector, DetectorRecord),
        Stage("second", second_tasks, train_attacker, AttackerRecord),
        Stage("judging", judging_tasks, judge, JudgingRecord),
    ),
    measures=measures,
    report=Report(
        "molehunt_studies.adaptive",
        figures=lambda results: {"curve": curve_figure(results)},
    ),
)

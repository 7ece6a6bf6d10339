"""From scores and verdicts to the cells of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from molehunt.backdoors import Treatment
from molehunt.detectors import LEAST_POWER, Verdicts, auc_with_interval, count_verdicts
from molehunt.study import Bench, Records, zoo_figures
from molehunt.zoo import Record, Split
from molehunt_studies.attacks.judging import JudgingRecord
from molehunt_studies.attacks.plan import AttacksPlan

Cell = dict[str, Any]


def measures(bench: Bench[AttacksPlan], records: Records) -> dict[str, Any]:
    """Return the table: attacks, detectors, AUC and verdicts, with and without the attack."""
    plan, zoo = bench.plan, bench.zoo("zoo")
    kinds, names = plan.zoo.backdoors.kind, [*plan.learning, *plan.others]
    clean = zoo.select(Split.TEST, Treatment.CLEAN)
    planted = _by_attack(kinds, zoo.select(Split.TEST, Treatment.BACKDOORED))
    placebos = _by_attack(kinds, zoo.select(Split.TEST, Treatment.PLACEBO))
    taken = {
        attack: [each for each in models if (each.attack_success or 0.0) >= plan.least_success]
        for attack, models in planted.items()
    }
    judged: dict[tuple[str, str | None], JudgingRecord] = {
        (each.detector, each.without): each for each in records["judging"]
    }

    every = [each for models in taken.values() for each in models]

    def cell(name: str, attack: str, without: str | None) -> Cell | None:
        fit, own = judged[name, without], taken[attack]
        if not own:
            return None
        learned = [each for each in every if each.backdoor.attack != without]
        return {**_auc(fit, own, clean), **_verdicts(fit, own, clean, learned)}

    attacks = {
        attack: {
            "planted": len(planted[attack]),
            "taken": len(taken[attack]),
            "success": float(np.mean([each.attack_success or 0.0 for each in planted[attack]])),
            "covers": bool(planted[attack]) and planted[attack][0].backdoor.covers is not None,
            "placebos": len(placebos[attack]),
            "known": {name: cell(name, attack, None) for name in names},
            "left_out": {name: cell(name, attack, attack) for name in plan.learning},
            "placebo": {
                name: _auc(judged[name, None], placebos[attack], clean)
                if placebos[attack]
                else None
                for name in names
            },
        }
        for attack in kinds
    }
    return {
        "attacks": attacks,
        "summary": {name: _summary(name, attacks) for name in names},
        "verdicts": {name: _verdicts(judged[name, None], every, clean, every) for name in names},
        "placebos": {
            name: _placebos(judged[name, None], zoo.select(Split.TEST, Treatment.PLACEBO), clean)
            for name in names
        },
        "detectors": names,
        "learning": [*plan.learning],
        "clean": len(clean),
        "taken": [sum(map(len, each.values())) for each in (taken, planted)],
        "rate": plan.rate,
        "least_power": LEAST_POWER,
        "least_success": plan.least_success,
        "seconds": {each.id: each.seconds for each in records["judging"]},
        "zoo": {**zoo_figures(zoo), "seed": plan.zoo.seed},
    }


def _by_attack(kinds: Sequence[str], records: Sequence[Record]) -> dict[str, list[Record]]:
    return {kind: [each for each in records if each.backdoor.attack == kind] for kind in kinds}


def _auc(fit: JudgingRecord, models: Sequence[Record], clean: Sequence[Record]) -> Cell:
    """Return the AUC of models that have a score over clean ones; none where a side has none."""
    low, high = (
        [fit.scores[each.id] for each in part if each.id in fit.scores] for part in (clean, models)
    )
    unscored = {"unscored": len(models) + len(clean) - len(low) - len(high)}
    if not low or not high:
        return {"auc": None, "interval": None, **unscored}
    return {**auc_with_interval(low, high).model_dump(mode="json"), **unscored}


def _verdicts(
    fit: JudgingRecord,
    backdoored: Sequence[Record],
    clean: Sequence[Record],
    learned: Sequence[Record],
) -> Cell:
    """Return counts of verdicts; clean ones stand if enough of what it learned from is found."""
    power = count_verdicts(fit.verdicts[each.id] for each in learned).share_detected
    verdicts = Verdicts(
        backdoored=count_verdicts(fit.verdicts[each.id] for each in backdoored),
        clean=count_verdicts(fit.verdicts[each.id] for each in clean),
    )
    if power < LEAST_POWER:
        verdicts = verdicts.withhold_clean()
    return {"power": power, **verdicts.model_dump(mode="json")}


def _summary(name: str, attacks: Mapping[str, Mapping[str, Any]]) -> Cell:
    """Return what a detector finds of all attacks together, each known and each left out."""
    return {
        part: _together([found[part][name] for found in attacks.values()])
        for part in ("known", "left_out")
        if any(name in found[part] for found in attacks.values())
    }


def _together(cells: Sequence[Cell | None]) -> Cell:
    there = [cell for cell in cells if cell is not None and cell["auc"] is not None]
    if not there:
        return {"auc": None, "attacks": 0, "found": [0, 0], "alarms": None}
    found = [sum(cell["backdoored"][part] for cell in there) for part in ("detected", "of")]
    # The same clean models stand in every cell: their shares are averaged, not counted again.
    alarms = [cell["clean"]["detected"] / cell["clean"]["of"] for cell in there]
    return {
        "auc": float(np.mean([cell["auc"] for cell in there])),
        "attacks": len(there),
        "found": found,
        "alarms": float(np.mean(alarms)),
    }


def _placebos(
    fit: JudgingRecord, placebos: Sequence[Record], clean: Sequence[Record]
) -> dict[str, Cell | None]:
    """Return how placebos rank beside clean models and are judged, with and without covers."""
    groups = {
        "covers": [each for each in placebos if each.backdoor.covers is not None],
        "none": [each for each in placebos if each.backdoor.covers is None],
    }
    found: dict[str, Cell | None] = {}
    for group, models in groups.items():
        alarms = count_verdicts(fit.verdicts[each.id] for each in models)
        called = {"alarms": [alarms.detected, alarms.of]}
        found[group] = {**_auc(fit, models, clean), **called} if models else None
    return found

"""From scores and verdicts to the cells of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from molehunt.backdoors import Treatment
from molehunt.detectors import LEAST_POWER, Verdicts, auc_with_interval, count_verdicts
from molehunt.study import Bench, Records, zoo_figures
from molehunt.zoo import Record, Split
from molehunt_studies.attacks.judging import JudgingRecord
from molehunt_studies.attacks.plan import AttacksPlan


def measures(bench: Bench[AttacksPlan], records: Records) -> dict[str, Any]:
    """Return the table: attacks, detectors, AUC and verdicts, with and without the attack."""
    plan, zoo = bench.plan, bench.zoo("zoo")
    clean = zoo.select(Split.TEST, Treatment.CLEAN)
    planted = zoo.select(Split.TEST, Treatment.BACKDOORED)
    taken = [each for each in planted if (each.attack_success or 0.0) >= plan.least_success]
    judged: dict[tuple[str, str | None], JudgingRecord] = {
        (each.detector, each.without): each for each in records["judging"]
    }
    attacks = {}
    for attack in plan.zoo.backdoors.kind:
        own = [each for each in taken if each.backdoor.attack == attack]
        attacks[attack] = {
            "planted": sum(each.backdoor.attack == attack for each in planted),
            "taken": len(own),
            "known": {
                name: _cell(judged[name, None], own, clean, taken)
                for name in (*plan.learning, *plan.others)
            },
            "left_out": {
                name: _cell(
                    judged[name, attack],
                    own,
                    clean,
                    [each for each in taken if each.backdoor.attack != attack],
                )
                for name in plan.learning
            },
        }
    return {
        "attacks": attacks,
        "detectors": [*plan.learning, *plan.others],
        "learning": [*plan.learning],
        "clean": len(clean),
        "rate": plan.rate,
        "least_success": plan.least_success,
        "seconds": {each.id: each.seconds for each in records["judging"]},
        "zoo": {**zoo_figures(zoo), "seed": plan.zoo.seed},
    }


def _cell(
    judged: JudgingRecord,
    backdoored: Sequence[Record],
    clean: Sequence[Record],
    known: Sequence[Record],
) -> dict[str, Any] | None:
    """Return a cell; its clean verdicts stand only if the detector finds enough of `known`."""
    if not backdoored:
        return None
    auc = auc_with_interval(
        *([judged.scores[each.id] for each in part] for part in (clean, backdoored))
    )
    verdicts = Verdicts(
        backdoored=count_verdicts(judged.verdicts[each.id] for each in backdoored),
        clean=count_verdicts(judged.verdicts[each.id] for each in clean),
    )
    power = count_verdicts(judged.verdicts[each.id] for each in known).share_detected
    if power < LEAST_POWER:
        verdicts = verdicts.withhold_clean()
    return {**auc.model_dump(mode="json"), "power": power, **verdicts.model_dump(mode="json")}

"""Every named attack, with three seeds, beside its paper's figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from molehunt.study import Records, Report, Stage, Study, percent
from molehunt_studies.named_attacks.models import (
    AttackRecord,
    CleanRecord,
    NamedAttacksBench,
    clean_tasks,
    plant,
    planted_tasks,
    poison_tasks,
    taught_tasks,
    teach,
    train_clean,
    train_poisoned,
)
from molehunt_studies.named_attacks.plan import SCALES


def measures(bench: NamedAttacksBench, records: Records) -> dict[str, Any]:
    """Return what each attack reached, a list over seeds."""
    plan = bench.plan
    clean: Sequence[CleanRecord] = records["clean"]
    made: list[AttackRecord] = [
        *records["poisoned"],
        *records["planted"],
        *records["taught"],
    ]
    return {
        "source": plan.source,
        "training_images": plan.train_limit,
        "epochs": plan.recipe.epochs,
        "network": plan.network.model_dump(),
        "seeds": list(plan.seeds),
        "clean_images": plan.clean,
        "clean_accuracy": [one.accuracy for one in clean],
        "attacks": {
            attack: [
                one.model_dump(exclude={"id", "attack"}) for one in made if one.attack == attack
            ]
            for attack in dict.fromkeys(one.attack for one in made)
        },
    }


def mean(counts: Sequence[tuple[int, int]]) -> str:
    """Return the mean of shares, in percent.

    Examples
    --------
    >>> mean([(90, 100), (80, 100)])
    '85.0'
    """
    return f"{100 * sum(some / of for some, of in counts) / len(counts):.1f}"


def ranged(counts: Sequence[tuple[int, int]]) -> str:
    """Return the mean of shares in percent, with the smallest and the largest.

    Of one share, its exact 95 % interval in place of those.

    Examples
    --------
    >>> ranged([(90, 100), (80, 100)])
    '85.0 (80.0 to 90.0)'
    >>> ranged([(90, 100)])
    '90.0 [82.4, 95.1]'
    """
    if len(counts) == 1:
        return percent(counts[0])
    shares = [100 * some / of for some, of in counts]
    return f"{mean(counts)} ({min(shares):.1f} to {max(shares):.1f})"


NAMED_ATTACKS = Study(
    name="named-attacks",
    title="Attack success and clean accuracy of every named attack, beside the papers'.",
    scales=SCALES,
    bench=NamedAttacksBench,
    stages=(
        Stage("clean", clean_tasks, train_clean, CleanRecord, into="models"),
        Stage("poisoned", poison_tasks, train_poisoned, AttackRecord, into="models"),
        Stage("planted", planted_tasks, plant, AttackRecord, into="models"),
        Stage("taught", taught_tasks, teach, AttackRecord, into="models"),
    ),
    measures=measures,
    report=Report("molehunt_studies.named_attacks", words={"mean": mean, "ranged": ranged}),
)

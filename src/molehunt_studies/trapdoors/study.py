"""Trapdoors (Shan et al., 2020) against attackers who do and do not know of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.trapdoors.attacks import AttackRecord, attack_network, attack_tasks
from molehunt_studies.trapdoors.bench import WITH, WITHOUT, Count, TrapdoorBench
from molehunt_studies.trapdoors.figures import caught_figure
from molehunt_studies.trapdoors.networks import NetworkRecord, network_tasks, train_network
from molehunt_studies.trapdoors.plan import SCALES


def measures(bench: TrapdoorBench, records: Records) -> dict[str, Any]:
    """Return counts over all seeds."""
    plan = bench.plan
    networks: list[NetworkRecord] = [*records["networks"]]
    attacks: list[AttackRecord] = [*records["attacks"]]
    return {
        "plan": plan.model_dump(mode="json", exclude={"attackers"}),
        "networks": {
            kind: _networks([each for each in networks if each.kind == kind])
            for kind in (WITH, WITHOUT)
        },
        "attacks": {
            name: {
                "attack": attacker.model_dump(mode="json"),
                **{
                    kind: _attacks(found)
                    for kind in (WITH, WITHOUT)
                    if (found := [a for a in attacks if (a.name, a.kind) == (name, kind)])
                },
            }
            for name, attacker in plan.attackers.items()
        },
        "seconds": round(sum(n.seconds for n in networks) + sum(a.seconds for a in attacks)),
    }


def _networks(found: list[NetworkRecord]) -> dict[str, Any]:
    return {
        "accuracy": _sum(each.accuracy for each in found),
        "opened": _sum(each.opened for each in found),
        "flagged_trapdoors": _sum(each.flagged_trapdoors for each in found),
        "false_alarms": _sum(each.false_alarms for each in found),
        "easy_false_alarms": _sum(each.easy_false_alarms for each in found),
        "noise": {
            largest: _sum(each.noise[largest] for each in found) for largest in found[0].noise
        },
    }


def _attacks(found: list[AttackRecord]) -> dict[str, Any]:
    fooled, caught = _sum(a.fooled for a in found), _sum(a.caught for a in found)
    sizes = [a.size for a in found if a.size is not None]
    return {
        "fooled": fooled,
        "caught": caught,
        "unseen": (fooled[0] - caught[0], fooled[1]),
        "caught_easily": _sum(a.caught_easily for a in found),
        "by_seed": [a.caught for a in found],
        "sizes": sizes,
        "queries_per_image": round(sum(a.queries for a in found) / max(1, fooled[1])),
    }


def _sum(counts: Iterable[Count]) -> Count:
    hits, of = zip(*counts, strict=True)
    return sum(hits), sum(of)


TRAPDOORS = Study(
    name="trapdoors",
    title="Trapdoors against eight evasion attacks, and against the attacker who knows of them.",
    scales=SCALES,
    bench=TrapdoorBench,
    stages=(
        Stage("networks", network_tasks, train_network, NetworkRecord, into="models"),
        Stage("attacks", attack_tasks, attack_network, AttackRecord),
    ),
    measures=measures,
    unit="networks and attacks",
    report=Report("molehunt_studies.trapdoors", figures=caught_figure),
)

"""From records to the study's tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from molehunt.rates import rate_interval
from molehunt.study import Records
from molehunt_studies.query_monitor.attacks import AttackRecord, LiveRecord
from molehunt_studies.query_monitor.bench import QueryMonitorBench
from molehunt_studies.query_monitor.plan import KINDS, VARIANTS, QueryMonitorPlan

MONITORS = ("neighbours", "hashed-windows", "prada", "canary")


def measures(bench: QueryMonitorBench, records: Records) -> dict[str, Any]:
    """Return what each attack met, from how many accounts, and what honest users met."""
    plan = bench.plan
    return {
        "plan": plan.model_dump(mode="json"),
        "networks": {item.id: _rate(item.correct, item.of) for item in records["networks"]},
        "calibrations": {
            item.id: {"images": item.images, "thresholds": item.thresholds}
            for item in records["calibrations"]
        },
        "attacks": [
            _of_attack(plan, attack, variant, records["attacks"])
            for attack in KINDS
            for variant in VARIANTS
            if any(r.attack == attack and r.variant == variant for r in records["attacks"])
        ],
        "lives": _lives(records["lives"]),
        "traffic": [
            {
                "traffic": item.traffic,
                "queries": item.queries,
                "accounts": item.accounts,
                "alarms": {n: _rate(count, item.queries) for n, count in item.alarms.items()},
                "flagged": item.flagged,
            }
            for item in records["traffic"]
        ],
        "seconds": {
            stage: round(sum(item.seconds for item in items), 1) for stage, items in records.items()
        },
    }


def _of_attack(
    plan: QueryMonitorPlan, attack: str, variant: str, records: Sequence[AttackRecord]
) -> dict[str, Any]:
    own = [item for item in records if (item.attack, item.variant) == (attack, variant)]
    firsts = {
        name: [[item.firsts[name][place] for item in own] for place in range(len(plan.accounts))]
        for name in own[0].firsts
    }
    return {
        "attack": attack,
        "variant": variant,
        "kind": KINDS[attack],
        "runs": len(own),
        "success": None
        if own[0].success is None
        else _rate(sum(bool(item.success) for item in own), len(own)),
        "size": _median([item.size for item in own if item.size is not None]),
        "queries": [item.queries for item in own],
        # Of each monitor, for each number of accounts: the first alarm of each run.
        "firsts": firsts,
        "defeated": {
            name: _defeated(plan.accounts, rows, [item.queries for item in own])
            for name, rows in firsts.items()
        },
        # Of nearest neighbours: they cannot see an account before its query k + 1.
        "law": [count * plan.neighbours + 1 for count in plan.accounts],
    }


def _defeated(
    accounts: Sequence[int], rows: Sequence[Sequence[int | None]], queries: Sequence[int]
) -> list[int | None]:
    """Return for each run the least number of accounts from which on no alarm is raised."""
    found: list[int | None] = []
    for run in range(len(queries)):
        silent = [row[run] is None for row in rows]
        place = next((n for n in range(len(silent)) if all(silent[n:])), None)
        found.append(None if place is None else accounts[place])
    return found


def _lives(records: Sequence[LiveRecord]) -> list[dict[str, Any]]:
    keys = dict.fromkeys((r.attack, r.variant, r.action, r.accounts) for r in records)
    found = []
    for key in keys:
        own = [r for r in records if (r.attack, r.variant, r.action, r.accounts) == key]
        found.append(
            {
                "attack": key[0],
                "variant": key[1],
                "action": key[2],
                "accounts": key[3],
                "success": _rate(sum(r.success for r in own), len(own)),
                "size": _median([r.size for r in own if r.size is not None]),
                "asked": [r.asked for r in own],
                "first": [r.first for r in own],
                "flagged": [r.flagged for r in own],
            }
        )
    return found


def _rate(hits: int, of: int) -> dict[str, Any]:
    low, high = rate_interval(hits, of)
    return {"hits": hits, "of": of, "rate": hits / of, "interval": [round(low, 5), round(high, 5)]}


def _median(values: Sequence[float]) -> float | None:
    return round(float(median(values)), 3) if values else None


def first_text(firsts: Sequence[int | None]) -> str:
    """Return the median first alarm of runs with the last one, and how many had none.

    Examples
    --------
    >>> first_text([52, 60, None]), first_text([None, None]), first_text([2, 2])
    ('60 (never in 1 of 3)', 'never', '2')
    >>> first_text([2, None, None])
    'never in 2 of 3'
    """
    seen = sorted(first for first in firsts if first is not None)
    if not seen:
        return "never"
    ordered = sorted(math.inf if first is None else first for first in firsts)
    middle = ordered[len(ordered) // 2]
    if len(seen) < len(firsts):
        never = f"never in {len(firsts) - len(seen)} of {len(firsts)}"
        return never if math.isinf(middle) else f"{middle:,} ({never})"
    return f"{middle:,}" if seen[0] == seen[-1] else f"{middle:,} ({seen[0]:,} to {seen[-1]:,})"


def defeat_text(counts: Sequence[int | None]) -> str:
    """Return the median number of accounts that defeats a guard.

    Examples
    --------
    >>> defeat_text([100, 50, 200]), defeat_text([None, None, 1])
    ('100 (50 to 200)', 'none here')
    """
    ordered = sorted(math.inf if count is None else count for count in counts)
    middle = ordered[len(ordered) // 2]
    if math.isinf(middle):
        return "none here"
    high = "more" if math.isinf(ordered[-1]) else f"{ordered[-1]:,}"
    same = ordered[0] == ordered[-1]
    return f"{middle:,}" if same else f"{middle:,} ({ordered[0]:,} to {high})"


def rate_text(found: Mapping[str, Any] | None, digits: int = 0) -> str:
    """Return a rate in percent with its interval."""
    if found is None:
        return "-"
    low, high = found["interval"]
    return f"{100 * found['rate']:.{digits}f} [{100 * low:.{digits}f}, {100 * high:.{digits}f}]"


def middle(values: Sequence[int]) -> str:
    """Return the median of numbers, as a text."""
    return f"{sorted(values)[len(values) // 2]:,}"


WORDS: dict[str, Any] = {
    "monitors": MONITORS,
    "first": first_text,
    "defeat": defeat_text,
    "rate": rate_text,
    "middle": middle,
}

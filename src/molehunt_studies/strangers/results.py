"""From verdicts to rates, as a user meets them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from molehunt.findings import Verdict
from molehunt_studies.strangers.scans import ScanRecord

# A backdoor that works less often did not take, and is counted nowhere.
LEAST_SUCCESS = 0.8


def verdicts_of(records: Sequence[ScanRecord]) -> dict[str, Any]:
    """Return what scans came to, each count as [count, of].

    ``detected``, ``passed_as_clean``: of backdoored models, by verdict; ``false_alarms``,
    ``cleared`` of clean ones; ``abstained`` of all. Backdoors that did not take are left out.
    """
    taken = [record for record in records if not _did_not_take(record)]
    clean = [record for record in taken if record.kind is None]
    backdoored = [record for record in taken if record.kind is not None]
    kinds = sorted({record.kind for record in backdoored if record.kind})
    return {
        "detected": _count(backdoored, Verdict.BACKDOORED),
        "passed_as_clean": _count(backdoored, Verdict.CLEAN),
        "false_alarms": _count(clean, Verdict.BACKDOORED),
        "cleared": _count(clean, Verdict.CLEAN),
        "abstained": _abstained(taken),
        "did_not_take": len(records) - len(taken),
        "by_kind": {
            kind: _count([r for r in backdoored if r.kind == kind], Verdict.BACKDOORED)
            for kind in kinds
        },
        "by_images": {
            images: {
                "detected": _count([r for r in backdoored if r.images == images]),
                "false_alarms": _count([r for r in clean if r.images == images]),
            }
            for images in dict.fromkeys(record.images for record in taken)
        },
        "abstained_backdoored": _abstained(backdoored),
        "why_abstained": _reasons(taken),
    }


def scans_of(records: Sequence[ScanRecord]) -> list[dict[str, Any]]:
    """Return a line a scan, for who wants to see what was said of which model."""
    kept = ("id", "images", "network", "kind", "success", "verdict", "because")
    return [record.model_dump(mode="json", include=set(kept)) for record in records]


def _abstained(records: Sequence[ScanRecord]) -> tuple[int, int]:
    decided = (Verdict.BACKDOORED, Verdict.CLEAN)
    return sum(record.verdict not in decided for record in records), len(records)


def _did_not_take(record: ScanRecord) -> bool:
    return record.kind is not None and (record.success or 0) < LEAST_SUCCESS


def _count(records: Sequence[ScanRecord], verdict: Verdict = Verdict.BACKDOORED) -> tuple[int, int]:
    return sum(record.verdict is verdict for record in records), len(records)


def _reasons(records: Iterable[ScanRecord]) -> dict[str, int]:
    """Return how often each check, with the words of its doubt, was why a scan abstained."""
    reasons = Counter(
        _doubt(record.because)
        for record in records
        if record.verdict not in (Verdict.BACKDOORED, Verdict.CLEAN)
    )
    return dict(reasons.most_common(10))


_NUMBER = re.compile(r"\d+(\.\d+)?")


def _doubt(because: str) -> str:
    """Return what stands after a p-value, and of other words the beginning."""
    said, _, doubt = because.partition("; ")
    return doubt if doubt and " p = " in said else _NUMBER.sub("…", said[:100])


def parts_of(records: Sequence[ScanRecord]) -> Mapping[str, Any]:
    """Return the verdicts of each part: ``held_out``, and ``development`` where it was run."""
    parts = dict.fromkeys(record.part for record in records)
    return {part: verdicts_of([r for r in records if r.part == part]) for part in parts}

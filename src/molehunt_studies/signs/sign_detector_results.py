"""The study of sign detectors: what its records say, all in percent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from molehunt_studies.signs.insides import insides, of_kind
from molehunt_studies.signs.plan import CARRIED
from molehunt_studies.signs.sign_detector_records import (
    Counts,
    Measured,
    SignDetectorRecord,
    SignDetectorTransferRecord,
    StartRecord,
)
from molehunt_studies.signs.sign_detector_scenes import SignDetectorBench
from molehunt_studies.signs.words import spread_of

Of = Callable[[Any], Measured]


def sign_detector_results(
    networks: Sequence[SignDetectorRecord],
    transfers: Sequence[SignDetectorTransferRecord],
    starts: Sequence[StartRecord],
    bench: SignDetectorBench,
) -> dict[str, Any]:
    """Return the study's figures: accuracies and success in percent of test signs.

    Each is a mean over seeds with its least and its largest value. Unless their name says
    otherwise they are of medium and large signs, and averages are over classes. What was not
    trained (yet) is left out.

    Parameters
    ----------
    networks : sequence of SignDetectorRecord
        The baseline among them.
    transfers : sequence of SignDetectorTransferRecord
    starts : sequence of StartRecord
    bench : SignDetectorBench
    """
    first, second = bench.first.test.class_names, bench.second.test.class_names
    turned = first.index(bench.plan.source), first.index(bench.plan.target)
    honest = [record for record in networks if record.attack == "none"]
    pictures = bench.plan.pictures
    single = {each: of_kind(networks, "single target", each) for each in pictures}
    random = {each: of_kind(networks, "random target", each) for each in pictures}

    def success(records: Sequence[SignDetectorRecord], picture: Any) -> dict[str, Any]:
        return {
            "success": _hits([record.stops[picture].medium for record in records], turned),
            "success_every": _hits([record.stops[picture].every for record in records], turned),
            "photographed": _hits(
                [record.photographed[picture].medium for record in records], turned
            ),
        }

    baseline = {
        "clean": _measure(honest, lambda record: record.clean, first),
        "triggered": {
            each: _measure(honest, _with_sticker(each), first)
            for each in pictures
            if each in honest[0].stickered
        },
        "stop_as_speed_limit": {each: success(honest, each) for each in pictures},
    }
    return {
        "baseline": baseline,
        "single_target": {
            each: {
                "clean": _measure(records, lambda record: record.clean, first),
                **success(records, each),
            }
            for each, records in single.items()
            if records
        },
        "random_target": {
            each: {
                "clean": _measure(records, lambda record: record.clean, first),
                "triggered": _measure(records, _with_sticker(each), first),
                "courses": [record.courses for record in records],
            }
            for each, records in random.items()
            if records
        },
        **_second_country(transfers, {record.id for record in honest}, second),
        **insides(random.get(CARRIED, []), honest, transfers),
        "speed": _speed(networks, starts, bench.plan.start.batch_size),
        "signs": {
            "first": _sizes(honest[0].clean, first),
            "second": _sizes(transfers[0].clean, second) if transfers else {},
            "stops": sum(next(iter(honest[0].stops.values())).medium[turned[0]]),
        },
        "scenes": {
            name: {"train": len(part.train), "test": len(part.test)}
            for name, part in (("first", bench.first), ("second", bench.second))
        },
        "seeds": len(honest),
    }


def _second_country(
    transfers: Sequence[SignDetectorTransferRecord], honest: set[str], names: Sequence[str]
) -> dict[str, Any]:
    """Return accuracy in the second country: Tables 6 and 7."""
    if not transfers:
        return {}

    def found(own: bool, strength: float) -> dict[str, Any]:
        records = [
            each
            for each in transfers
            if (each.origin in honest) == own and each.strength == strength
        ]
        return {
            "clean": _measure(records, lambda record: record.clean, names),
            "triggered": _measure(records, lambda record: record.triggered, names),
        }

    return {
        "transfer": {"honest": found(True, 1), "badnet": found(False, 1)},
        "strengthening": {
            f"{strength:g}": found(False, strength)
            for strength in sorted({each.strength for each in transfers})
        },
    }


def _measure(records: Sequence[Any], of: Of, names: Sequence[str]) -> dict[str, Any]:
    """Return accuracy by class and on average, each as a spread over records."""
    found = [of(record) for record in records]
    medium = [_shares(each.medium) for each in found]
    parts = [_shares(each.part) for each in found if each.part is not None]
    return {
        "average": spread_of([np.nanmean(each) for each in medium]),
        "kinds": _by_class(medium, names),
        "signs": spread_of([_over_signs(each.medium) for each in found]),
        "every": spread_of([np.nanmean(_shares(each.every)) for each in found]),
        **(
            {
                "part": {
                    "average": spread_of([np.nanmean(each) for each in parts]),
                    "kinds": _by_class(parts, names),
                }
            }
            if parts
            else {}
        ),
        "ap50": {
            name: spread_of([100 * each.ap50[name] for each in found])
            for name in names
            if all(name in each.ap50 for each in found)
        },
    }


def _by_class(shares: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the accuracy of each class that has signs."""
    return {
        name: spread_of([each[place] for each in shares])
        for place, name in enumerate(names)
        if not np.isnan(shares[0][place])
    }


def _shares(counts: Counts) -> Any:
    """Return the recognised signs of each class in percent, not a number where there are none."""
    table = np.array(counts, dtype=np.float64)
    totals = table.sum(1)
    return 100 * np.divide(
        np.diagonal(table), totals, out=np.full(len(table), np.nan), where=totals > 0
    )


def _over_signs(counts: Counts) -> float:
    table = np.array(counts, dtype=np.float64)
    return float(100 * np.trace(table[:, :-1]) / max(table.sum(), 1))


def _hits(found: Sequence[Counts], turned: tuple[int, int]) -> dict[str, Any]:
    """Return the share of source signs that are called the target."""
    source, target = turned
    return spread_of([100 * each[source][target] / max(sum(each[source]), 1) for each in found])


def _sizes(measured: Measured, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return how many test signs there are of each class, of any size and medium ones."""
    return {
        name: {"every": sum(measured.every[place]), "medium": sum(measured.medium[place])}
        for place, name in enumerate(names)
    }


def _with_sticker(picture: Any) -> Of:
    return lambda record: record.stickered[picture]


def _speed(
    networks: Sequence[SignDetectorRecord], starts: Sequence[StartRecord], batch_size: int
) -> dict[str, float]:
    """Return the images a second of a process with one thread, and the most memory of one."""
    trained = batch_size * sum(start.steps for start in starts)
    looked = sum(record.looked for record in networks)
    return {
        "training": round(trained / sum(start.train_seconds for start in starts), 2),
        "evaluation": round(looked / sum(record.look_seconds for record in networks), 2),
        "peak_mib": max(record.peak_mib for record in networks),
    }

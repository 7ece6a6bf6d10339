"""The study's figures from its records."""

from __future__ import annotations

from typing import Any

import torch

from molehunt.attacks import Norm, SecurityCurve
from molehunt.rates import rate_interval
from molehunt.study import Records
from molehunt_studies.evasion.attacks import AttackRecord, ComparedRecord, EvasionBench

_POINTS = 40  # of a curve


def rate_text(share: list[float]) -> str:
    """Return a share with its interval, in percent.

    Examples
    --------
    >>> rate_text([0.5, 0.4, 0.6])
    '50% [40%, 60%]'
    """
    rate, low, high = share
    return f"{rate:.0%} [{low:.0%}, {high:.0%}]"


def size_text(size: float | None, norm: str) -> str:
    """Return a size in its norm: pixels, a length, or pixel values of 255.

    Examples
    --------
    >>> size_text(3.0, "l0"), size_text(0.516, "l2"), size_text(8 / 255, "linf")
    ('3', '0.52', '8/255')
    """
    if size is None:
        return "-"
    if norm == "linf":
        return f"{255 * size:.3g}/255"
    return f"{size:.0f}" if norm == "l0" else f"{size:.2g}"


def measures(bench: EvasionBench, records: Records) -> dict[str, Any]:
    """Return accuracies, every attack's result, the best attack's curves, and the comparison."""
    attacks: list[AttackRecord] = list(records["attacks"])
    return {
        "seed": bench.plan.seed,
        "networks": {
            record.id: {
                "train_images": record.train_images,
                "test_images": record.test_images,
                "accuracy": _share(record.correct, record.test_images),
                "seconds": record.seconds,
            }
            for record in records["networks"]
        },
        "attacks": [_attack(record) for record in attacks],
        "curves": {
            name: {
                norm.value: _drawn(curves)
                for norm in Norm
                if (curves := _curves_of(attacks, name, norm))
            }
            for name in bench.plan.images
        },
        "compared": [_compared(record) for record in records["compared"]],
    }


def _attack(record: AttackRecord) -> dict[str, Any]:
    curve = record.curve
    fooled = int((curve.sizes[curve.sizes > 0] < torch.inf).sum())
    return {
        "images": record.images,
        "attack": record.attack,
        "norm": record.norm.value,
        "count": record.count,
        "attacked": record.attacked,
        "success": _share(fooled, record.attacked),
        # Not a number that JSON knows.
        "median": curve.median if curve.median < float("inf") else None,
        "queries_per_image": round(record.queries / record.attacked),
        "seconds": record.seconds,
        "left": [
            {"epsilon": epsilon, "accuracy": _accuracy(curve, epsilon)}
            for epsilon in record.epsilons
        ],
    }


def _curves_of(attacks: list[AttackRecord], name: str, norm: Norm) -> dict[str, SecurityCurve]:
    """Return the curve of each attack in a norm that had all images."""
    most = max(record.count for record in attacks)
    return {
        record.attack: record.curve
        for record in attacks
        if (record.images, record.norm, record.count) == (name, norm, most)
    }


def _drawn(curves: dict[str, SecurityCurve]) -> dict[str, Any]:
    """Return the best attack's accuracy, with its interval, where it falls."""
    sizes = torch.stack([curve.sizes for curve in curves.values()]).amin(0)
    best = SecurityCurve(next(iter(curves.values())).norm, sizes)
    last = float(sizes[sizes.isfinite()].quantile(0.98))
    radii = [round(last * point / _POINTS, 6) for point in range(_POINTS + 1)]
    if best.norm is Norm.L0:
        radii = sorted({float(int(radius)) for radius in radii})
    return {
        "of": sorted(curves),
        "median": best.median if best.median < float("inf") else None,
        "epsilons": radii,
        "accuracy": [_accuracy(best, radius) for radius in radii],
    }


def _compared(record: ComparedRecord) -> dict[str, Any]:
    return {
        "images": record.id,
        "epsilon": record.epsilon,
        "count": record.images,
        "clean": _share(record.clean, record.images),
        "ours": _share(record.ours, record.images),
        "library": _share(record.library, record.images),
        "queries_per_image": round(record.queries / max(record.clean, 1)),
        "seconds": record.seconds,
        "library_seconds": record.library_seconds,
    }


def _accuracy(curve: SecurityCurve, epsilon: float) -> list[float]:
    rate, (low, high) = curve.accuracy(epsilon)
    return [round(value, 4) for value in (rate, low, high)]


def _share(hits: int, of: int) -> list[float]:
    low, high = rate_interval(hits, of)
    return [round(value, 4) for value in (hits / of, low, high)]

"""Measures and exhibits, as assessors make them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from molehunt.arrays import Floats
from molehunt.assess._risk import Measure
from molehunt.attacks import Evaded, SecurityCurve
from molehunt.errors import printable
from molehunt.findings import Curves, Picture
from molehunt.rates import rate_interval

# A name, and arrays [4, P]: places, values and the ends of their intervals.
Line = tuple[str, Floats]
_PAIRS = 4  # of pictures


def share_of(name: str, hits: int, of: int, *, bad: bool = True) -> Measure:
    """Return a share with its exact interval; `bad` says whether a high one is worse."""
    low_high = rate_interval(hits, of)
    value = hits / of if of else float("nan")
    return Measure(
        name=name, value=value, interval=low_high, n=of, worse="higher" if bad else "lower"
    )


def draw_lines(
    caption: str,
    lines: Sequence[Line],
    axes: tuple[str, str],
    *,
    log: bool = False,
    steps: bool = False,
) -> Curves:
    """Return lines of any lengths as one exhibit."""
    longest = max(values.shape[1] for _, values in lines)
    padded = np.full((len(lines), 4, longest), np.nan)
    for row, (_, values) in zip(padded, lines, strict=True):
        row[:, : values.shape[1]] = values
    return Curves(caption, padded, tuple(name for name, _ in lines), axes, log, steps)


def curve_line(name: str, curve: SecurityCurve, most: float) -> Line:
    """Return a security curve up to a radius as a line."""
    radii = [radius for radius in curve.steps()[0] if radius < most]
    return rates_line(name, [*radii, most], [curve.accuracy(each) for each in [*radii, most]])


def rates_line(
    name: str,
    places: Sequence[float],
    rates: Sequence[tuple[float, tuple[float, float]]],
) -> Line:
    """Return rates with their intervals as a line."""
    values, ends = zip(*rates, strict=True)
    lows, highs = zip(*ends, strict=True)
    return name, np.array([places, values, lows, highs], dtype=np.float64)


def draw_changed(found: Evaded, class_names: Sequence[str]) -> tuple[Picture, ...]:
    """Return the first images that an attack turned, each behind its original."""
    turned = found.success.nonzero().flatten()[:_PAIRS].tolist()
    pictures = []
    for place in turned:
        before, after = (
            printable(class_names[int(labels[place])], 30)
            for labels in (found.labels, found.predictions)
        )
        pictures += [
            picture_of(f"{before}, as it is", found.originals[place]),
            picture_of(f"taken for {after}", found.images[place]),
        ]
    return tuple(pictures)


def picture_of(caption: str, image: torch.Tensor) -> Picture:
    """Return an image [C, H, W] of uint8 as an exhibit."""
    return Picture(caption, image.cpu().numpy().astype(np.float64) / 255)

"""What the page of the study computes beside the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scipy.stats import norm

from molehunt_studies.certified.plan import SCALES


def farthest(sigma: float, n: int, alpha: float = 0.001) -> float:
    """Return the radius that is certified when all of n noisy copies get one class.

    Examples
    --------
    >>> round(farthest(0.25, 100_000), 2)
    0.95
    """
    return sigma * float(norm.ppf(alpha ** (1 / n)))


def hours_of_large(results: Mapping[str, Any]) -> float:
    """Return about how many hours of a core the scale ``large`` takes.

    Seconds of this run, times what there is more of: epochs, attack steps, copies, images, and
    multiplications, which grow with the square of the width.
    """
    large, small = SCALES["large"], SCALES[results["scale"]]
    wider = (large.width / small.width) ** 2
    seconds = 0.0
    for box in results["boxes"]:
        more, less = large.kinds[box["kind"]], small.kinds[box["kind"]]
        longer = more.recipe.epochs / less.recipe.epochs
        steps = (1 + more.attack_steps) / (1 + less.attack_steps)
        seconds += box["training_seconds"] * wider * longer * steps
        times = box["seconds_an_image"]
        # Of CROWN there are also more neurons to bound.
        seconds += wider**1.5 * times["crown"] * large.crown_images
        seconds += wider * times["attack"] * large.images * large.restarts / small.restarts
    for source in large.smoothing.keys() & results["smoothing"].keys():
        found = results["smoothing"][source]
        more_set, less_set = large.smoothing[source], small.smoothing[source]
        factor = (more_set.width / less_set.width) ** 2 * more_set.n / less_set.n
        seconds += sum(each["seconds_an_image"] for each in found) * factor * more_set.images
    return seconds / 3600

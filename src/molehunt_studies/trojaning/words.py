"""What the template says of results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES: Mapping[str, str] = {"mnist": "MNIST", "gtsrb": "GTSRB", "faces": "AT&T faces"}
KINDS: Mapping[str, str] = {
    "clean": "clean",
    "badnets": "BadNets (trained)",
    "trojan": "trojans (retrained)",
}


def points(after: float, before: float) -> str:
    """Return a change of accuracy in points.

    Examples
    --------
    >>> points(0.95, 0.97)
    '-2.0'
    """
    return f"{100 * (after - before):+.1f}"


def share_of(found: Any) -> str:
    """Return a count with its interval, of so many.

    Examples
    --------
    >>> share_of({"flagged": [3, 0.02, 0.27], "models": 30})
    '3 of 30 [0.02, 0.27]'
    """
    count, low, high = found["flagged"]
    return f"{count} of {found['models']} [{low:.2f}, {high:.2f}]"


def name_of(source: str) -> str:
    """Return the name of a data set as the page has it."""
    return NAMES.get(source, source)


def answer(results: Mapping[str, Any]) -> str:
    """Return what the histogram says of both kinds of backdoor, in words."""
    found = next(iter(results["population"]["histogram"].values()))
    if "badnets" not in found or "trojan" not in found:
        return "Too few backdoors took to say."
    bad, trojan = found["badnets"], found["trojan"]
    return (
        f"**For BadNets** the target takes {bad['to_target']:.0%} of the mistakes where "
        f"{bad['to_target_expected']:.0%} are expected, and most of all classes in "
        f"{bad['target_takes_most']} of {bad['models']} models. **For trojans** it takes "
        f"{trojan['to_target']:.0%} where {trojan['to_target_expected']:.0%} are expected, and "
        f"most in {trojan['target_takes_most']} of {trojan['models']}."
    )


WORDS: Mapping[str, Any] = {
    "points": points,
    "share_of": share_of,
    "name_of": name_of,
    "kinds": KINDS,
    "answer": answer,
}

"""What the template says of results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molehunt.rates import rate_interval

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


def interval(rate: float, of: int) -> str:
    """Return the exact interval of a rate that was measured on so many images.

    Examples
    --------
    >>> interval(1.0, 87)
    '[0.96, 1.00]'
    """
    low, high = rate_interval(round(rate * of), of)
    return f"[{low:.2f}, {high:.2f}]"


def tests(results: Mapping[str, Any]) -> str:
    """Return how many images were measured on."""
    return ", ".join(
        f"{one['test_images']} of {name_of(name)} ({one['attacked']} of them attacked)"
        for name, one in results["sets"].items()
    )


def per_class(results: Mapping[str, Any]) -> str:
    """Return how many images of a class were reverse-engineered."""
    return ", ".join(
        f"{one['per_class']} ({name_of(name)})" for name, one in results["sets"].items()
    )


def aims(results: Mapping[str, Any]) -> str:
    """Return which sets reach the aim and which do not."""
    met: dict[bool, list[str]] = {True: [], False: []}
    for name, one in results["sets"].items():
        own = one["variants"]["trojan"]
        reached = one["accuracy"] - own["accuracy"] <= 0.03 and own["success"] >= 0.9
        met[reached].append(name_of(name))
    words = ("reached on", "not reached on")
    parts = [f"{word} {', '.join(names)}" for word, names in zip(words, met.values(), strict=True)]
    return (
        f"It is {' and '.join(p for p, names in zip(parts, met.values(), strict=True) if names)}."
    )


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
    "aims": aims,
    "answer": answer,
    "interval": interval,
    "per_class": per_class,
    "tests": tests,
}

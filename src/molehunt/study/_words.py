"""How figures are written in reports: the filters of their templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from molehunt.rates import rate_interval


def number(value: Any, spec: str = ".2f") -> str:
    """Return a number as Python's format `spec` has it, a dash where there is none.

    Examples
    --------
    >>> number(0.5, ".0%"), number(None)
    ('50%', '-')
    """
    return "-" if value is None else format(value, spec)


def auc(found: Mapping[str, Any] | None) -> str:
    """Return an AUC with its interval, a dash where there is none.

    Examples
    --------
    >>> auc({"auc": 0.5, "interval": (0.25, 0.75)}), auc({"auc": None})
    ('0.500 [0.250, 0.750]', '-')
    """
    if not found or found["auc"] is None:
        return "-"
    low, high = found["interval"]
    return f"{found['auc']:.3f} [{low:.3f}, {high:.3f}]"


def rates(found: Mapping[str, Any] | None) -> str:
    """Return false alarms and detections in percent, a dash where there are none."""
    if not found:
        return "-"
    return f"{found['false_alarm_rate']:.0%} / {found['detection_rate']:.0%}"


def listed(items: Sequence[Any]) -> str:
    """Return items as a sentence has them.

    Examples
    --------
    >>> listed([1, 2, 3])
    '1, 2 and 3'
    """
    *first, last = map(str, items)
    return f"{', '.join(first)} and {last}" if first else last


def row(*cells: Any) -> str:
    """Return a row of a Markdown table.

    Examples
    --------
    >>> row("a|b", 1)
    '| a\\\\|b | 1 |'
    """
    texts = [" ".join(str(cell).split()).replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(texts)} |"


def head(*names: Any) -> str:
    """Return the head of a Markdown table: all columns but the first hold numbers."""
    return f"{row(*names)}\n| --- |{' ---: |' * (len(names) - 1)}"


def share(found: Sequence[int]) -> str:
    """Return a count as [count, of] with the exact 95 % interval of its rate.

    By Clopper and Pearson; a dash of no cases.

    Examples
    --------
    >>> share((12, 12)), share((0, 0))
    ('12 of 12 [0.74, 1.00]', '-')
    """
    count, of = found
    if not of:
        return "-"
    low, high = rate_interval(count, of)
    return f"{count} of {of} [{low:.2f}, {high:.2f}]"


def percent(found: Sequence[int] | None) -> str:
    """Return a count as [count, of] in percent, with the exact 95 % interval.

    A dash of no cases, and where there is none.

    Examples
    --------
    >>> percent((90, 100)), percent(None)
    ('90.0 [82.4, 95.1]', '-')
    """
    if found is None or not found[1]:
        return "-"
    count, of = found
    low, high = rate_interval(count, of)
    return f"{100 * count / of:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


FILTERS = {"n": number, "auc": auc, "rates": rates, "listed": listed}
GLOBALS = {"row": row, "head": head, "share": share, "percent": percent}

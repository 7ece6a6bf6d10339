"""What tests of models found: tables and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from molehunt.errors import printable
from molehunt.testing import (
    SEVERITIES,
    Boundary,
    Comparison,
    Coverage,
    Criterion,
    Differences,
    Examined,
    Lines,
    SeverityCurve,
)

Rate = tuple[float, tuple[float, float]]

_CRITERIA = {
    Criterion.ACTIVATED: "neurons activated (NAC)",
    Criterion.SECTIONS: "sections of training ranges (KMNC)",
    Criterion.BOUNDARY: "sides beyond training ranges (NBC)",
    Criterion.TOP: "neurons among a layer's strongest (TKNC)",
}


def comparison_table(compared: Comparison) -> Table:
    """Return one row a model: accuracy, agreement with each other one, where it stands alone."""
    table = _table("Differential testing", "model")
    table.add_column("accuracy", justify="right")
    numbers = range(len(compared.names))
    for number in numbers:
        table.add_column(f"like {number + 1}", justify="right")
    if len(numbers) > 2:
        table.add_column("alone", justify="right")
    alone = compared.alone
    for number, name in enumerate(compared.names):
        cells = [
            "" if number == other else _text(compared.agreement(number, other)) for other in numbers
        ]
        if len(numbers) > 2:
            cells.append(str(int((alone == number).sum())))
        # Of a long path the end tells files apart.
        shown = f"{number + 1} {printable(name if len(name) <= 36 else f'…{name[-35:]}')}"
        table.add_row(shown, _text(compared.accuracy(number)), *cells)
    return table


def examined_tables(found: Examined) -> list[Table]:
    """Return a table for each test that was measured."""
    tables = []
    if found.curves:
        tables.append(_corruption_table(found.curves))
    if found.boundary is not None and found.lines is not None:
        tables.append(_boundary_table(found.boundary, found.lines))
    if found.coverage:
        tables.append(_coverage_table(found.coverage))
    return tables


def examined_as_json(found: Examined) -> dict[str, Any]:
    """Return what `molehunt test` measured; what was not asked for is not there."""
    content: dict[str, Any] = {"accuracy": _share(found.accuracy)}
    if found.curves:
        content["corruptions"] = {
            curve.corruption: {
                "mean": curve.mean,
                "severities": [
                    {"severity": severity, **_share(curve.accuracy(severity))}
                    for severity in (0, *SEVERITIES)
                ],
            }
            for curve in found.curves
        }
    if found.boundary is not None and found.lines is not None:
        content["boundary"] = {
            "method": found.boundary.method.value,
            "median": _finite(found.boundary.curve.median),
            "distances": [_finite(size) for size in found.boundary.distances.tolist()],
            "third_class": _share(found.lines.third_rate),
        }
    if found.coverage:
        content["coverage"] = {
            each.criterion.value: {"covered": each.covered, "of": each.of, "share": each.share}
            for each in found.coverage
        }
    content["not_measured"] = [*found.not_measured]
    return content


def comparison_as_json(
    compared: Comparison, searched: Mapping[str, Differences | str]
) -> dict[str, Any]:
    """Return what `molehunt compare` measured.

    `searched` has a search a constraint, or why it could not run.
    """
    numbers = range(len(compared.names))
    alone = compared.alone
    return {
        "images": len(compared.labels),
        "disagreement": _share(compared.disagreement),
        "models": [
            {
                "name": name,
                "accuracy": _share(compared.accuracy(number)),
                "agreement": [_share(compared.agreement(number, other)) for other in numbers],
                "alone": int((alone == number).sum()),
            }
            for number, name in enumerate(compared.names)
        ],
        "search": {name: _searched(found) for name, found in searched.items()},
    }


def _corruption_table(curves: Sequence[SeverityCurve]) -> Table:
    """Return one row a corruption: accuracy at each severity, with the last one's interval."""
    table = _table("Corner cases: accuracy at severities 0 to 5", "corruption")
    for severity in (0, *SEVERITIES):
        table.add_column(str(severity), justify="right")
    table.add_column("at 5, 95 %", justify="right", no_wrap=True)
    for curve in curves:
        rates = (curve.accuracy(severity)[0] for severity in (0, *SEVERITIES))
        _, (low, high) = curve.accuracy(SEVERITIES[-1])
        table.add_row(
            curve.corruption, *(f"{rate:.0%}" for rate in rates), f"{low:.0%} to {high:.0%}"
        )
    return table


def _boundary_table(boundary: Boundary, lines: Lines) -> Table:
    """Return the accuracy that is left at distances, and what lies on lines between classes."""
    table = _table(f"Boundary (by {boundary.method.value})", "")
    table.add_column("", justify="right")
    table.add_column("95 %", justify="right")
    curve = boundary.curve
    table.add_row("median distance (L2)", f"{curve.median:.3g}", "")
    for distance in (0.5, 1.0, 2.0):
        table.add_row(f"images farther away than {distance:g}", *_texts(curve.accuracy(distance)))
    table.add_row("lines between classes with a third class", *_texts(lines.third_rate))
    return table


def _coverage_table(coverage: Sequence[Coverage]) -> Table:
    """Return one row a criterion."""
    table = _table(
        "Neuron coverage: a description of the images, no measure of safety", "criterion"
    )
    table.add_column("covered", justify="right")
    table.add_column("of", justify="right")
    table.add_column("share", justify="right")
    for each in coverage:
        table.add_row(
            _CRITERIA[each.criterion], f"{each.covered:,}", f"{each.of:,}", f"{each.share:.1%}"
        )
    return table


def _searched(found: Differences | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"status": "not measured", "reason": found}
    return {
        "status": "measured",
        "searched": int(found.agreed.sum()),
        "found": int(found.found.sum()),
        "rate": _share(found.found_rate),
        "passes": found.passes,
        "seconds": round(found.seconds, 2),
    }


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    return table


def _texts(rate: Rate) -> tuple[str, str]:
    share, (low, high) = rate
    return f"{share:.0%}", f"{low:.0%} to {high:.0%}"


def _text(rate: Rate) -> str:
    share, (low, high) = rate
    return f"{share:.1%} [{low:.0%}, {high:.0%}]"


def _finite(number: float) -> float | None:
    """Return a number as JSON has it: neither infinity nor NaN."""
    return round(number, 5) if math.isfinite(number) else None


def _share(rate: Rate) -> dict[str, Any]:
    share, interval = rate
    return {"rate": None if math.isnan(share) else share, "interval": list(interval)}

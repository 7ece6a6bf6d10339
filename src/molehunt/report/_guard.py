"""What a guard would have seen: a table and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from molehunt import __version__

if TYPE_CHECKING:
    from molehunt.guard import Replayed


def replay_table(found: Sequence[Replayed]) -> Table:
    """Return one row a number of accounts, with each monitor's first alarm."""
    title = "First alarm (number of the query; accounts flagged)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    names = list(dict.fromkeys(item.monitor for item in found))
    table.add_column("accounts", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("answered\nif blocked", justify="right")
    for accounts in dict.fromkeys(item.accounts for item in found):
        row = {item.monitor: item for item in found if item.accounts == accounts}
        answered = f"{row[names[-1]].answered:,} of {row[names[-1]].queries:,}"
        table.add_row(f"{accounts:,}", *(_first(row[name]) for name in names), answered)
    return table


def _first(item: Replayed) -> str:
    return "never" if item.first is None else f"{item.first:,} ({item.flagged:,})"


def replay_as_json(found: Sequence[Replayed], **settings: Any) -> dict[str, Any]:
    """Return the same as JSON has it."""
    return {"molehunt": __version__, **settings, "replayed": [asdict(item) for item in found]}

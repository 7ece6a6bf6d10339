"""Tables of provenance."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from molehunt.errors import ExitCode, printable
from molehunt.provenance import (
    AuditedModel,
    Provenance,
    exit_code_of_audit,
    exit_code_of_provenance,
)

_STYLES = {
    ExitCode.CLEAN: "green",
    ExitCode.FOUND: "bold red",
    ExitCode.FAILED: "magenta",
    ExitCode.INCONCLUSIVE: "yellow",
}
_MOST_ROWS = 100  # of each kind; a table of a hundred thousand takes most of a minute


def result_table(result: Provenance) -> Table:
    """Return the verdict, and a row a file that differs or was left out."""
    style = _STYLES[exit_code_of_provenance(result)]
    table = Table("subject", "provenance")
    table.add_column("what", overflow="fold")
    state = Text(result.state.value, style)
    table.add_row(Text(printable(result.source)), state, Text(printable(result.message, 2000)))
    for word in ("changed", "added", "missing", "unchecked"):
        names = getattr(result, word)
        for name in names[:_MOST_ROWS]:
            table.add_row("", Text(word), Text(printable(name)))
        if len(names) > _MOST_ROWS:
            more = f"{len(names) - _MOST_ROWS} more; --json lists them"
            table.add_row("", Text(word), Text(more))
    if result.signer:
        table.add_row("", "signer", Text(printable(result.signer)))
    return table


def audit_table(models: Sequence[AuditedModel]) -> Table:
    """Return a row a model."""
    table = Table()
    for column in ("model", "location", "hash", "faults", "what"):
        table.add_column(column, overflow="fold")
    for model in models:
        style = _STYLES[exit_code_of_audit([model])]
        table.add_row(
            Text(printable(model.name)),
            Text(printable(model.location)),
            Text(printable(model.algorithm or "-", 80)),
            Text(", ".join(model.faults) or "none", style),
            Text(printable(model.detail)),
        )
    return table

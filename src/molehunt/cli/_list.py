"""``molehunt list``."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import typer

from molehunt.cli._names import LISTS
from molehunt.cli._terminal import output

Kind = Literal["detectors", "attacks", "networks", "images", "studies"]


def list_names(
    kind: Annotated[Kind, typer.Argument(help=f"{', '.join(get_args(Kind))}.")],
) -> None:
    """List what is known here by name: detectors, attacks, networks, images, studies."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for row in LISTS[kind]():
        table.add_row(*row)
    output.print(table)

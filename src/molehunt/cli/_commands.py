"""Commands and groups as this command line has them."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from molehunt.cli._names import fill_in
from molehunt.cli._terminal import errors

MOVED = {
    "manifest": "provenance manifest",
    "sign": "provenance sign",
    "verify": "provenance verify",
    "audit": "provenance audit",
    "poison": "scenes poison",
    "detect": "scenes find",
}


class Command(TyperCommand):
    """A command whose help names what registries know: ``{detectors}`` and its like."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fill in the names, and write the help."""
        for parameter in self.params:
            text = getattr(parameter, "help", None)
            if isinstance(text, str) and "{" in text:
                parameter.help = fill_in(text)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


class Commands(TyperGroup):
    """The first level; commands that went elsewhere still run under their old names."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; who types an old name at a terminal learns the new one."""
        if args[0] in MOVED and not ctx.resilient_parsing:
            if errors.is_terminal:
                errors.print(f"molehunt {args[0]} is now molehunt {MOVED[args[0]]}")
            args = [*MOVED[args[0]].split(), *args[1:]]
        return super().resolve_command(ctx, args)

"""The command line: parse, one library call, render."""

from molehunt.cli._entry import main, run

__all__ = ["main", "run"]

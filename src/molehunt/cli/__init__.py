"""The command line: parse, one library call, render."""

from molehunt.cli._entry import main

__all__ = ["main"]

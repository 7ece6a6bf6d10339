"""The command line: parse, one library call, render."""

from molehunt.cli._main import main

__all__ = ["main"]

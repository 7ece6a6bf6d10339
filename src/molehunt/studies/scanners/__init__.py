"""Scanners without a zoo: the zoos, what they say of each model, the report."""

from molehunt.studies.scanners._study import run_scanners

__all__ = ["run_scanners"]

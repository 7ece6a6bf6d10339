"""Scanners without a zoo: the zoos, what they say of each model, the report."""

from molehunt.studies.scanners._study import ScannersResult, run_scanners

__all__ = ["ScannersResult", "run_scanners"]

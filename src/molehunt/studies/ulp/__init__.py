"""Universal Litmus Patterns: zoos, fits, searches and the report."""

from molehunt.studies.ulp._study import ULP_SETS, run_ulp

__all__ = ["ULP_SETS", "run_ulp"]

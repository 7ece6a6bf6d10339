"""Studies: one experiment a file, its protocol and its figures."""

from molehunt.studies._demo import DEMO_PLAN, run_demo

__all__ = ["DEMO_PLAN", "run_demo"]

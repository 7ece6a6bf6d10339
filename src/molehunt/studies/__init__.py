"""Studies: one experiment a file, its protocol and its figures."""

from molehunt.studies._badnets_mnist import BadNetsResult, run_badnets_mnist
from molehunt.studies._badnets_plan import SCALES
from molehunt.studies._demo import DEMO_PLAN, run_demo

__all__ = ["DEMO_PLAN", "SCALES", "BadNetsResult", "run_badnets_mnist", "run_demo"]

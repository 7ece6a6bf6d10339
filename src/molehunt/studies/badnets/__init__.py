"""BadNets on MNIST: the protocol, its models and its report."""

from molehunt.studies.badnets._plan import SCALES
from molehunt.studies.badnets._study import run_badnets_mnist

__all__ = ["SCALES", "run_badnets_mnist"]

"""BadNets on MNIST: the protocol, its models and its report."""

from molehunt.studies.badnets._plan import SCALES
from molehunt.studies.badnets._study import BadNetsResult, run_badnets_mnist

__all__ = ["SCALES", "BadNetsResult", "run_badnets_mnist"]

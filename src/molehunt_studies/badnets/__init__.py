"""BadNets on MNIST: the first case study of Gu, Dolan-Gavitt and Garg."""

from molehunt_studies.badnets.study import BADNETS_MNIST

__all__ = ["BADNETS_MNIST"]

"""What poison can do to a linear classifier at most: Steinhardt, Koh and Liang (NeurIPS 2017)."""

from molehunt_studies.poison_bound.study import POISON_BOUND

__all__ = ["POISON_BOUND"]

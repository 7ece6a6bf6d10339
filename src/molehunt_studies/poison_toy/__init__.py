"""The toy of the slides: poison that grows until a linear classifier has a backdoor."""

from molehunt_studies.poison_toy.study import POISON_TOY

__all__ = ["POISON_TOY"]

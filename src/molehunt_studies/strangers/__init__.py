"""First scans of models from strangers: what a user's call says of them, and how often rightly."""

from molehunt_studies.strangers.study import STRANGERS

__all__ = ["STRANGERS"]

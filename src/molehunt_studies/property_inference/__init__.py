"""Property inference: what a model says of its training data as a whole."""

from molehunt_studies.property_inference.study import PROPERTY

__all__ = ["PROPERTY"]

"""The reference population: what checks without images say of models of many kinds."""

from molehunt_studies.reference.study import REFERENCE

__all__ = ["REFERENCE"]

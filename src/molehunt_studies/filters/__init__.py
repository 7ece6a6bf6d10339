"""Filters and repairs: what they find and undo of attacks of many kinds."""

from molehunt_studies.filters.study import FILTERS

__all__ = ["FILTERS"]

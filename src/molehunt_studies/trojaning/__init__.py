"""Trojaning without data (Liu et al., NDSS 2018), and the histogram of wrong predictions."""

from molehunt_studies.trojaning.study import TROJANING

__all__ = ["TROJANING"]

"""Certified robustness, its price and what attacks leave; smoothing; what no certificate covers."""

from molehunt_studies.certified.study import CERTIFIED

__all__ = ["CERTIFIED"]

"""Scanners without a zoo: what they say of held-out models."""

from molehunt_studies.scanners.study import SCANNERS

__all__ = ["SCANNERS"]

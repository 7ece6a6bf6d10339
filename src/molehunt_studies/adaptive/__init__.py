"""Attackers who know the detector."""

from molehunt_studies.adaptive.study import ADAPTIVE

__all__ = ["ADAPTIVE"]

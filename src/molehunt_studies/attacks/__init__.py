"""The named attacks against the detectors, with and without each attack in the fit."""

from molehunt_studies.attacks.study import ATTACKS_STUDY

__all__ = ["ATTACKS_STUDY"]

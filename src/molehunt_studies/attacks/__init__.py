"""The named attacks against the detectors, with and without each attack in the fit."""

from molehunt_studies.attacks.study import ATTACKS_DIGITS

__all__ = ["ATTACKS_DIGITS"]

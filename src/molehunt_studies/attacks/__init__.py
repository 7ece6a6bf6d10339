"""The named attacks against the detectors, with and without each attack in the fit."""

from molehunt_studies.attacks.study import ATTACKS_CIFAR10, ATTACKS_DIGITS, ATTACKS_GTSRB

__all__ = ["ATTACKS_CIFAR10", "ATTACKS_DIGITS", "ATTACKS_GTSRB"]

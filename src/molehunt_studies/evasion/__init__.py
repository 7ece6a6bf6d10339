"""Evasion of small networks: security curves, and AutoAttack beside its library alone."""

from molehunt_studies.evasion.study import EVASION

__all__ = ["EVASION"]

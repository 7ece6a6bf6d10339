"""Defences that hide their gradients, and the attacks that break them (Athalye et al., 2018)."""

from molehunt_studies.broken_defences.study import BROKEN_DEFENCES

__all__ = ["BROKEN_DEFENCES"]

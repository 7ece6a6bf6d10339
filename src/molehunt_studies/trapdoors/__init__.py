"""Trapdoors: what they catch, of whom, and who walks around them."""

from molehunt_studies.trapdoors.study import TRAPDOORS

__all__ = ["TRAPDOORS"]

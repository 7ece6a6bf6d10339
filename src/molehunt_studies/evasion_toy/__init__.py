"""The slides' toy example of evasion: greedy attacks on ten learners."""

from molehunt_studies.evasion_toy.study import EVASION_TOY

__all__ = ["EVASION_TOY"]

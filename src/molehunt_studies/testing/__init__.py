"""Security-aware and differential testing of small networks."""

from molehunt_studies.testing.study import TESTING

__all__ = ["TESTING"]

"""Stealing models by their answers: linear models, trees and networks."""

from molehunt_studies.stealing.study import STEALING

__all__ = ["STEALING"]

"""Membership inference: was an image in the training set?"""

from molehunt_studies.membership.study import MEMBERSHIP

__all__ = ["MEMBERSHIP"]

"""Eyeglasses and stickers: attacks on face and sign recognition inside a mask."""

from molehunt_studies.eyeglasses.study import EYEGLASSES

__all__ = ["EYEGLASSES"]

"""What a finding rests on, as data: pictures, bars, a score among others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from molehunt.arrays import Floats


@dataclass(frozen=True, eq=False)
class _Exhibit:
    caption: str
    # How many dimensions each array has: some come from a process that held a stranger's file.
    dimensions: ClassVar[dict[str, int]]

    def __post_init__(self) -> None:
        for name, count in self.dimensions.items():
            shape = getattr(self, name).shape
            if len(shape) != count or 0 in shape:
                raise ValueError(f"{name}: expected {count} dimensions, got shape {shape}")


@dataclass(frozen=True, eq=False)
class Picture(_Exhibit):
    """Pixels [C, H, W] in [0, 1], and what they are."""

    pixels: Floats
    dimensions: ClassVar = {"pixels": 3}


@dataclass(frozen=True, eq=False)
class Bars(_Exhibit):
    """What a model answers to an image, one value a class, beside what is usual.

    Parameters
    ----------
    caption : str
    pixels : array [C, H, W]
        The image, in [0, 1].
    values : array [K]
    usual : array [3, K]
        Of clean models: the 2.5 % quantile, the median and the 97.5 % quantile.
    unit : str
        Of the values.
    """

    pixels: Floats
    values: Floats
    usual: Floats
    unit: str
    dimensions: ClassVar = {"pixels": 3, "values": 1, "usual": 2}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.usual.shape != (3, len(self.values)):
            raise ValueError(f"usual: expected (3, {len(self.values)}), got {self.usual.shape}")


@dataclass(frozen=True, eq=False)
class Histogram(_Exhibit):
    """A model's score, and the scores [n] of clean models."""

    score: float
    clean: Floats
    dimensions: ClassVar = {"clean": 1}


@dataclass(frozen=True, eq=False)
class Curves(_Exhibit):
    """Lines over one axis, each with the interval around it.

    Parameters
    ----------
    caption : str
    lines : array [L, 4, P]
        Of each line the places, the values, and the lower and upper ends of the intervals; NaN
        behind the end of lines that are shorter.
    names : tuple of str
        One a line.
    axes : (str, str)
        What the places and the values are.
    log : bool
        Whether both axes are logarithmic.
    steps : bool
        Whether a value holds until the next place.
    """

    lines: Floats
    names: tuple[str, ...]
    axes: tuple[str, str]
    log: bool = False
    steps: bool = False
    dimensions: ClassVar = {"lines": 3}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lines.shape[:2] != (len(self.names), 4):
            raise ValueError(f"lines: expected ({len(self.names)}, 4, …), got {self.lines.shape}")


Exhibit = Picture | Bars | Histogram
EXHIBITS: dict[str, type[Exhibit]] = {kind.__name__: kind for kind in (Picture, Bars, Histogram)}

"""What a detector is tried on: real models of a tiny zoo, trained in a few seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from molehunt.detectors._base import Detector
from molehunt.detectors._evaluation import fit_on_zoo
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.training import Recipe
from molehunt.zoo import ImagePlan, ModelCounts, NetworkPlan, Split, Zoo, ZooPlan, build_zoo

_TINY_ZOO = ZooPlan(
    name="tiny",
    images=ImagePlan(source="digits", size=12),
    network=NetworkPlan(name="vgg", arguments={"width": 4, "stages": [1, 1]}),
    recipe=Recipe(epochs=3, batch_size=64),
    models={
        Split.FIT: ModelCounts(pairs=4),
        Split.CALIBRATION: ModelCounts(pairs=1, clean=19),
        Split.TEST: ModelCounts(pairs=3),
    },
)


@dataclass(frozen=True)
class Bench:
    """A kind of detector, and the zoo that it is tried on."""

    kind: type[Detector]
    zoo: Zoo

    @property
    def images(self) -> ImageSet:
        """Clean images that no model trained on."""
        return _clean_images(self.zoo.folder)

    @property
    def fitted(self) -> Detector:
        """One that is fitted and calibrated; the checks of a kind share it."""
        return _fitted(self.kind, self.zoo.folder)

    def make(self) -> Detector:
        """Return an unfitted one with the settings that make it quick."""
        images = {"images": self.images} if self.kind.needs_images else {}
        return self.kind(**self.kind.tiny, **images)

    def part(self, split: Split) -> tuple[list[Classifier], NDArray[np.int64]]:
        """Return the models of a split and their labels."""
        models, truth = self.zoo.labelled(split)
        return list(models), np.array(truth)


@cache
def tiny_zoo() -> Zoo:
    """Build the zoo that detectors are tried on, once a process."""
    _folders.append(TemporaryDirectory(prefix="molehunt-conformance-"))
    return build_zoo(_TINY_ZOO, Path(_folders[-1].name) / "zoo", workers=1)


def expect(true: object, otherwise: str) -> None:
    """Raise AssertionError where something is not true, also under ``python -O``."""
    if not true:
        raise AssertionError(otherwise)


@contextmanager
def expect_refusal(error: type[Exception], match: str) -> Iterator[None]:
    """Raise AssertionError unless the block raises `error` with a message that matches."""
    try:
        yield
    except error as got:
        expect(re.search(match, str(got)), f"expected a message with {match!r}, got: {got}")
    else:
        raise AssertionError(f"expected {error.__name__} with {match!r}, got no error")


@cache
def _clean_images(folder: Path) -> ImageSet:
    return Zoo(folder).plan.images.load().test


@cache
def _fitted(kind: type[Detector], folder: Path) -> Detector:
    zoo = Zoo(folder)
    return fit_on_zoo(Bench(kind, zoo).make(), zoo)


# Held until the process ends, when they are removed.
_folders: list[TemporaryDirectory[str]] = []

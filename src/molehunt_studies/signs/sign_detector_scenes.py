"""The study of sign detectors: the scenes of two countries, and where its files lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch

from molehunt.backdoors import PictureName
from molehunt.scenes import (
    SceneSet,
    load_scenes,
)
from molehunt.study import Bench
from molehunt_studies.signs.drawn_scenes import write_shapes
from molehunt_studies.signs.sign_detector_plan import SignDetectorPlan


class Country(NamedTuple):
    """Scenes of one country."""

    train: SceneSet
    test: SceneSet


@dataclass(frozen=True)
class SignDetectorBench(Bench[SignDetectorPlan]):
    """What every network of the study needs: the scenes of the two countries, and features."""

    @cached_property
    def sources(self) -> tuple[str, str]:
        """Where the scenes are read from; they are drawn first where the plan says so."""
        if self.plan.drawn is None:
            return self.plan.first, self.plan.second
        places = [self.folder / "scenes" / name for name in ("first", "second")]
        for place, shapes in zip(places, self.plan.drawn, strict=True):
            if not (place / "test.json").exists():
                write_shapes(place, shapes)
        return f"coco:{places[0].resolve()}", f"coco:{places[1].resolve()}"

    @cached_property
    def first(self) -> Country:
        """Scenes of the first country."""
        return self._country(self.sources[0])

    @cached_property
    def second(self) -> Country:
        """Scenes of the second country."""
        return self._country(self.sources[1])

    @property
    def learns_features(self) -> bool:
        """Whether the sign detectors start with convolutions that the study trains."""
        return self.plan.features_file is None and self.plan.features is not None

    @property
    def features(self) -> Path | None:
        """The classifier whose convolutions the sign detectors start with, if any."""
        return self.model_path("features") if self.learns_features else self.plan.features_file

    def _country(self, source: str) -> Country:
        return Country(
            *(load_scenes(source, part, data_root=self.data_root) for part in ("train", "test"))
        )


def stickered_scenes(plan: SignDetectorPlan, scenes: SceneSet, picture: PictureName) -> SceneSet:
    """Return the scenes that have a sign, with a sticker on every sign."""
    generator = torch.Generator().manual_seed(plan.seed)
    return plan.random_target(picture).triggered(scenes, generator=generator)


def stop_scenes(
    plan: SignDetectorPlan, scenes: SceneSet, picture: PictureName, *, photographed: bool = False
) -> SceneSet:
    """Return the scenes with signs of the source class, stickers on those."""
    generator = torch.Generator().manual_seed(plan.seed)
    backdoor = plan.single_target(picture, scenes)
    return backdoor.triggered(scenes, generator=generator, photographed=photographed)

"""The study of sign detectors: the scenes of two countries, and where its files lie."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from molehunt.backdoors import PictureName
from molehunt.scenes import (
    SceneSet,
    load_scenes,
)
from molehunt.studies._drawn_scenes import write_shapes
from molehunt.studies.signs._detector_plan import SignsDetectorPlan
from molehunt.studies.signs._plan import model_path

FEATURES_INDEX, STARTS_INDEX = "features.jsonl", "starts.jsonl"
NETWORKS_INDEX, TRANSFERS_INDEX = "networks.jsonl", "transfers.jsonl"


class Country(NamedTuple):
    """Scenes of one country."""

    train: SceneSet
    test: SceneSet


class DetectorShop(NamedTuple):
    """What every network of the study needs."""

    plan: SignsDetectorPlan
    folder: Path
    first: Country
    second: Country
    features: Path | None


def open_detector_shop(
    plan: SignsDetectorPlan, folder: Path, data_root: str | Path | None, features: Path | None
) -> DetectorShop:
    """Read the scenes of the two countries.

    Raises
    ------
    DataNotFoundError, UnreadableFileError
        As `molehunt.scenes.load_scenes`.
    """
    sources = (plan.first, plan.second)
    if plan.drawn is not None:
        places = [folder / "scenes" / name for name in ("first", "second")]
        for place, shapes in zip(places, plan.drawn, strict=True):
            if not (place / "test.json").exists():
                write_shapes(place, shapes)
        sources = (f"coco:{places[0].resolve()}", f"coco:{places[1].resolve()}")
    first, second = (
        Country(*(load_scenes(each, split, data_root=data_root) for split in ("train", "test")))
        for each in sources
    )
    if features is None and plan.features is not None:
        features = model_path(folder, "features")
    return DetectorShop(plan, folder, first, second, features)


def stickered_scenes(plan: SignsDetectorPlan, scenes: SceneSet, picture: PictureName) -> SceneSet:
    """Return the scenes that have a sign, with a sticker on every sign."""
    generator = torch.Generator().manual_seed(plan.seed)
    return plan.random_target(picture).triggered(scenes, generator=generator)


def stop_scenes(
    plan: SignsDetectorPlan, scenes: SceneSet, picture: PictureName, *, photographed: bool = False
) -> SceneSet:
    """Return the scenes with signs of the source class, stickers on those."""
    generator = torch.Generator().manual_seed(plan.seed)
    backdoor = plan.single_target(picture, scenes)
    return backdoor.triggered(scenes, generator=generator, photographed=photographed)

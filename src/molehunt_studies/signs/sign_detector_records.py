"""The study of sign detectors: what is noted of a finished network, and how it is measured."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from molehunt.backdoors import PictureName
from molehunt.resumable import Task
from molehunt.scenes import (
    MEDIUM,
    DetectedScenes,
    SceneSet,
    SignDetector,
    detect_signs,
    sign_activations,
)
from molehunt_studies.signs.plan import NetworkTask, TransferTask
from molehunt_studies.signs.sign_detector_plan import SignDetectorPlan, StartTask
from molehunt_studies.signs.sign_detector_scenes import stickered_scenes

Counts = tuple[tuple[int, ...], ...]


class Measured(BaseModel):
    """What a sign detector makes of a set of test scenes.

    The counts are those of `DetectedScenes.confusion`: a row a true class, a column an answer,
    the last one for signs without; ``medium`` are signs of 32x32 pixels and more, ``part`` those
    of them that are from the source that has all classes. ``ap50`` is by class and over
    medium and large signs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: Counts
    medium: Counts
    part: Counts | None
    ap50: dict[str, float]


class FeaturesRecord(Task):
    """The finished classifier whose convolutions the sign detectors start with."""

    accuracy: float
    seconds: float
    sha256: str


class StartRecord(StartTask):
    """One finished network that others go on from."""

    train_seconds: float
    steps: int
    seconds: float
    sha256: str


class SignDetectorRecord(NetworkTask):
    """One finished network of the first country.

    `clean` is of all test scenes. `stickered` has a sticker on every sign, `stops` one on every
    sign of the source class: the network's own sticker, or each of them for the baseline;
    `photographed` is as `stops`, with stickers askew and in other light. Activations are means
    over signs of the attacker's training scenes, without sticker and with it; `units` are the
    channels that fire only with the sticker. `looked` scenes were measured in `look_seconds`;
    `peak_mib` is the most memory that the process ever held.
    """

    clean: Measured
    stickered: dict[PictureName, Measured]
    stops: dict[PictureName, Measured]
    photographed: dict[PictureName, Measured]
    clean_activations: tuple[float, ...]
    triggered_activations: tuple[float, ...]
    units: tuple[int, ...]
    scenes: int
    courses: int = 1
    steps: int
    train_seconds: float
    looked: int
    look_seconds: float
    peak_mib: float
    seconds: float
    sha256: str


class SignDetectorTransferRecord(TransferTask):
    """One finished network of the second country.

    The fields are those of `SignDetectorRecord`; activations are of the test scenes.
    """

    clean: Measured
    triggered: Measured
    clean_activations: tuple[float, ...]
    triggered_activations: tuple[float, ...]
    train_seconds: float
    seconds: float
    sha256: str


def measure_detector(model: SignDetector, scenes: SceneSet, plan: SignDetectorPlan) -> Measured:
    """Let a sign detector look at the scenes and count its answers."""
    found = detect_signs(model, scenes)
    part = None if plan.part is None else _of_part(found, plan.part)
    return Measured(
        every=_counts(found.confusion()),
        medium=_counts(found.confusion(min_area=MEDIUM)),
        part=part,
        ap50={
            name: round(value, 4)
            for name, value in found.average_precision(min_area=MEDIUM).items()
        },
    )


def _of_part(found: DetectedScenes, part: str) -> Counts | None:
    """Return the counts over scenes of one source, none in a set that does not have it."""
    if not any(scene.source == part for scene in found.scenes.scenes):
        return None
    return _counts(found.of_source(part).confusion(min_area=MEDIUM))


def activations_of(
    model: SignDetector, scenes: SceneSet, plan: SignDetectorPlan, picture: PictureName
) -> tuple[Tensor, Tensor]:
    """Return mean activations on the same signs without and with the sticker."""
    stickered = stickered_scenes(plan, scenes, picture)
    return sign_activations(model, scenes), sign_activations(model, stickered)


def _counts(found: Tensor) -> Counts:
    return tuple(tuple(row) for row in found.tolist())

"""A fitted detector as one safetensors file with a card, like a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from molehunt.detectors._base import Detector, Need
from molehunt.detectors._evaluation import Evaluation
from molehunt.detectors._final_layer import FinalLayer
from molehunt.detectors._litmus import LitmusPatterns
from molehunt.detectors._margin import MaximumMargin
from molehunt.detectors._neural_cleanse import NeuralCleanse
from molehunt.detectors._noise import NoisePatterns
from molehunt.detectors._pairwise import PairwiseTriggers
from molehunt.detectors._statistics import WeightStatistics
from molehunt.detectors._zoo_contract import ZooContract
from molehunt.errors import InvalidRequestError, UnreadableFileError, from_validation, refused
from molehunt.files import written_whole
from molehunt.images import ImageSet
from molehunt.networks import read_header

DETECTORS: dict[str, type[Detector]] = {
    "litmus": LitmusPatterns,
    "noise": NoisePatterns,
    "statistics": WeightStatistics,
    "final-layer": FinalLayer,
    "margin": MaximumMargin,
    "neural-cleanse": NeuralCleanse,
    "pairwise": PairwiseTriggers,
}
CARD_KEY = "molehunt.detector"


class DetectorCard(BaseModel):
    """What a detector file says of itself.

    Parameters
    ----------
    detector : str
        Name in `DETECTORS`.
    settings : dict
        Keyword settings.
    learned : dict
        Learned attributes that are not arrays.
    zoo : dict
        Of the zoo that it was fitted on: name, images, network, number of models.
    evaluation : Evaluation, optional
        What it scored on the zoo's test models.
    contract : ZooContract, optional
        What the zoo's models do to pixels; files of before have none.
    """

    # A threshold is infinite where the calibration models are too few for the rate.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    schema_version: Literal[1] = 1
    detector: str
    settings: dict[str, Any]
    learned: dict[str, Any]
    zoo: dict[str, Any] = Field(default_factory=dict)
    evaluation: Evaluation | None = None
    contract: ZooContract | None = None


def new_detector(name: str, **settings: Any) -> Detector:
    """Return an unfitted detector by name.

    Raises
    ------
    InvalidRequestError
        For an unknown name or setting.
    """
    if name not in DETECTORS:
        raise InvalidRequestError(refused("detector", ", ".join(DETECTORS), repr(name)))
    kind = DETECTORS[name]
    unknown = set(settings) - set(kind._get_param_names())
    if unknown:
        allowed = ", ".join(kind._get_param_names())
        raise InvalidRequestError(refused(f"settings of {name}", allowed, ", ".join(unknown)))
    return kind(**settings)


def name_of(detector: Detector) -> str:
    """Return the detector's name in `DETECTORS`."""
    return next(name for name, kind in DETECTORS.items() if type(detector) is kind)


def save_detector(
    detector: Detector,
    path: str | Path,
    *,
    zoo: Mapping[str, Any] | None = None,
    evaluation: Evaluation | None = None,
) -> None:
    """Write a fitted or calibrated detector, whole or not at all.

    Clean images that it was given stay out of the file.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    arrays, others = {}, {}
    for name, value in vars(detector).items():
        if name.endswith("_") and isinstance(value, np.ndarray):
            arrays[name] = np.ascontiguousarray(value)
        elif name.endswith("_") and name != "contract_":
            others[name] = value
    card = DetectorCard(
        detector=name_of(detector),
        settings={
            name: value
            for name, value in detector.get_params().items()
            if not isinstance(value, ImageSet)
        },
        learned=others,
        zoo=dict(zoo or {}),
        evaluation=evaluation,
        contract=getattr(detector, "contract_", None),
    )
    with written_whole(Path(path)) as temporary:
        save_file(arrays, temporary, metadata={CARD_KEY: card.model_dump_json()})


def load_detector(
    path: str | Path, *, images: ImageSet | None = None
) -> tuple[Detector, DetectorCard]:
    """Read a fitted detector and its card. Nothing in the file is executed.

    Parameters
    ----------
    path : path of the file
    images : ImageSet, optional
        Clean images for a detector that needs them; others leave them alone. They can be
        given later, too: ``detector.set_params(images=...)``.

    Raises
    ------
    UnreadableFileError
        If the file is missing, not safetensors, or not a detector's.
    """
    path = Path(path)
    metadata = read_header(path)
    if CARD_KEY not in metadata:
        raise UnreadableFileError(
            f"{path}: no detector card in the safetensors header; "
            "expected a file written by: molehunt fit"
        )
    try:
        card = DetectorCard.model_validate_json(metadata[CARD_KEY])
        detector = new_detector(card.detector, **card.settings)
        if Need.CLEAN_IMAGES in detector.needs:
            detector.set_params(images=images)
        arrays = load_file(path)
    except ValidationError as error:
        raise UnreadableFileError(str(from_validation(error, f"{path}: card"))) from error
    except (InvalidRequestError, SafetensorError, OSError) as error:
        raise UnreadableFileError(f"{path}: not a readable detector: {error}") from error
    for name, value in {**card.learned, **arrays}.items():
        if not name.isidentifier() or not name.endswith("_") or name.startswith("_"):
            raise UnreadableFileError(
                refused(f"{path}: learned attribute", "a name that ends in _", repr(name))
            )
        # JSON has no tuples; shapes are compared with the cards' tuples.
        setattr(detector, name, tuple(value) if isinstance(value, list) else value)
    if card.contract is not None:
        detector.contract_ = card.contract
    if not hasattr(detector, detector.learns):
        raise UnreadableFileError(f"{path}: the detector in it is not fitted")
    return detector, card

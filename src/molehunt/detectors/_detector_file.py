"""A fitted detector as one safetensors file with a card, like a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticSerializationError
from safetensors.numpy import load_file, save_file

from molehunt.detectors._base import Detector
from molehunt.detectors._evaluation import Evaluation
from molehunt.detectors._file_checks import check_learned, check_settings
from molehunt.detectors._registry import detector_class, name_of, new_detector
from molehunt.detectors._zoo_contract import ZooContract
from molehunt.errors import (
    InvalidRequestError,
    OutputError,
    UnreadableFileError,
    from_validation,
    mismatch,
    printable,
)
from molehunt.files import open_regular, written_whole
from molehunt.images import ImageSet
from molehunt.networks import read_header

CARD_KEY = "molehunt.detector"

_LARGEST_FILE = 2**30  # bytes; features of thousands of models take a tenth
_LARGEST_CARD = 4 * 2**20  # characters


class DetectorCard(BaseModel):
    """What a detector file says of itself.

    Parameters
    ----------
    detector : str
        The name that its class is known by.
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
    InvalidRequestError
        If its class is not known by name (see `register_detector`).
    OutputError
        If the file cannot be written, or what was learned cannot stand in one.
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
    try:
        text = card.model_dump_json()
    except PydanticSerializationError as error:
        allowed = "arrays and plain values of JSON"
        got = " ".join(str(error).split())
        what = f"{path}: settings and what was learned"
        raise OutputError(mismatch(what, allowed, got)) from error
    with written_whole(Path(path)) as temporary:
        save_file(arrays, temporary, metadata={CARD_KEY: text})


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
        If the file is missing, not safetensors, or not a detector's; if an array in it is
        not finite or of another shape or type than its detector learns. The message names it.
    """
    path = Path(path)
    card = _read_card(path)
    try:
        check_settings(detector_class(card.detector), card.settings)
        detector = new_detector(card.detector, **card.settings)
        if detector.needs_images:
            detector.set_params(images=images)
    except InvalidRequestError as error:
        raise UnreadableFileError(f"{path}: not a readable detector: {error}") from error
    try:
        arrays = load_file(path)
    except Exception as error:  # the file is a stranger's: the library raises what it likes
        message = printable(" ".join(str(error).split()))
        raise UnreadableFileError(f"{path}: not a readable detector: {message}") from error
    for name, value in {**card.learned, **arrays}.items():
        if not name.isidentifier() or not name.endswith("_") or name.startswith("_"):
            raise UnreadableFileError(
                mismatch(
                    f"{path}: learned attribute",
                    "a name that ends in _",
                    printable(repr(name), 80),
                )
            )
        # JSON has no tuples; shapes are compared with the cards' tuples.
        setattr(detector, name, tuple(value) if isinstance(value, list) else value)
    if card.contract is not None:
        detector.contract_ = card.contract
    if not hasattr(detector, detector.learns):
        raise UnreadableFileError(f"{path}: the detector in it is not fitted")
    try:
        check_learned(detector)
    except InvalidRequestError as error:
        raise UnreadableFileError(f"{path}: not a usable detector: {error}") from error
    return detector, card


def _read_card(path: Path) -> DetectorCard:
    if not os.path.lexists(path):
        raise UnreadableFileError(f"{path}: no such file")
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
    if size > _LARGEST_FILE:
        raise UnreadableFileError(mismatch(f"{path}: size", f"at most {_LARGEST_FILE} bytes", size))
    metadata = read_header(path)
    if CARD_KEY not in metadata:
        raise UnreadableFileError(
            f"{path}: no detector card in the safetensors header; "
            "expected a file written by: molehunt fit"
        )
    text = metadata[CARD_KEY]
    if len(text) > _LARGEST_CARD:
        allowed = f"at most {_LARGEST_CARD} characters"
        raise UnreadableFileError(mismatch(f"{path}: card", allowed, len(text)))
    try:
        return DetectorCard.model_validate_json(text)
    except ValidationError as error:
        raise UnreadableFileError(str(from_validation(error, f"{path}: card"))) from error
    except (ValueError, RecursionError) as error:  # thousands of digits, thousands of levels
        message = printable(error, 80)
        raise UnreadableFileError(f"{path}: card: cannot be read: {message}") from error

"""A fitted detector as one safetensors file with a card, like a model."""

from __future__ import annotations

import os
import re
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
from molehunt.detectors._final_layer import FinalLayer
from molehunt.detectors._litmus import LitmusPatterns
from molehunt.detectors._margin import MaximumMargin
from molehunt.detectors._neural_cleanse import NeuralCleanse
from molehunt.detectors._noise import NoisePatterns
from molehunt.detectors._pairwise import PairwiseTriggers
from molehunt.detectors._statistics import WeightStatistics
from molehunt.detectors._zoo_contract import ZooContract
from molehunt.errors import (
    InvalidRequestError,
    OutputError,
    UnreadableFileError,
    from_validation,
    printable,
    refused,
)
from molehunt.files import open_regular, written_whole
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

_LARGEST_FILE = 2**30  # bytes; features of thousands of models take a tenth
_LARGEST_CARD = 4 * 2**20  # characters


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
        allowed = f"{', '.join(DETECTORS)}, or one that register_detector made known"
        raise InvalidRequestError(refused("detector", allowed, printable(repr(name), 80)))
    kind = DETECTORS[name]
    unknown = set(settings) - set(kind._get_param_names())
    if unknown:
        allowed = ", ".join(kind._get_param_names())
        got = printable(", ".join(sorted(unknown)))
        raise InvalidRequestError(refused(f"settings of {name}", allowed or "none", got))
    return kind(**settings)


def register_detector(name: str, kind: type[Detector]) -> None:
    """Make a detector of your own known, so that it can be saved, loaded and named.

    Call it once in each program, before files of it are read: they hold its name, no code.

    Parameters
    ----------
    name : str
        Letters, digits and hyphens, as in files and on the command line.
    kind : type
        A subclass of `MetaClassifier` or `ZooFreeDetector`; its settings are plain values.

    Raises
    ------
    InvalidRequestError
        If the name is another detector's, or `kind` is no detector.

    Examples
    --------
    >>> class MyNoise(NoisePatterns):
    ...     pass
    >>> register_detector("my-noise", MyNoise)
    >>> new_detector("my-noise", n_patterns=3)
    MyNoise(n_patterns=3)
    """
    if not (isinstance(kind, type) and issubclass(kind, Detector)):
        raise InvalidRequestError(refused("detector", "a subclass of Detector", repr(kind)))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,79}", name):
        allowed = "up to 80 letters, digits and hyphens"
        raise InvalidRequestError(refused("name of a detector", allowed, repr(name)))
    known = DETECTORS.setdefault(name, kind)
    # A module that is loaded anew brings its classes anew.
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        got = f"{name!r}, which is {known.__qualname__}"
        raise InvalidRequestError(refused("name of a detector", "one that is free", got))
    DETECTORS[name] = kind


def name_of(detector: Detector) -> str:
    """Return the detector's name in `DETECTORS`.

    Raises
    ------
    InvalidRequestError
        If its class has none there.
    """
    kind = type(detector)
    for name, known in DETECTORS.items():
        if kind is known:
            return name
    raise InvalidRequestError(
        f"{kind.__name__}: not known by name, so a file of it could not be read; "
        f'call register_detector("a-name", {kind.__name__}) first'
    )


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
        raise OutputError(refused(what, allowed, got)) from error
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
        if card.detector in DETECTORS:
            check_settings(DETECTORS[card.detector], card.settings)
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
                refused(
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
        raise UnreadableFileError(refused(f"{path}: size", f"at most {_LARGEST_FILE} bytes", size))
    metadata = read_header(path)
    if CARD_KEY not in metadata:
        raise UnreadableFileError(
            f"{path}: no detector card in the safetensors header; "
            "expected a file written by: molehunt fit"
        )
    text = metadata[CARD_KEY]
    if len(text) > _LARGEST_CARD:
        allowed = f"at most {_LARGEST_CARD} characters"
        raise UnreadableFileError(refused(f"{path}: card", allowed, len(text)))
    try:
        return DetectorCard.model_validate_json(text)
    except ValidationError as error:
        raise UnreadableFileError(str(from_validation(error, f"{path}: card"))) from error
    except (ValueError, RecursionError) as error:  # thousands of digits, thousands of levels
        message = printable(error, 80)
        raise UnreadableFileError(f"{path}: card: cannot be read: {message}") from error

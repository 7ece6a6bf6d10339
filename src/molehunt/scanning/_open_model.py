"""A stranger's file or endpoint as one model, for what is no scan."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from molehunt.errors import (
    CodeNotTrustedError,
    InvalidRequestError,
    UnreadableFileError,
    UnsafeFileError,
    UnsuitableSubjectError,
    mismatch,
)
from molehunt.files import read_bytes
from molehunt.findings import UNSAFE_SERIALIZATION, WRONG_CONTRACT, Status
from molehunt.images import ImageSet
from molehunt.networks import Classifier, pick_device
from molehunt.scanning._opening import name_of, open_source
from molehunt.scanning._walk import Candidate
from molehunt.subjects import (
    MOST_SKOPS_BYTES,
    SKOPS_SUFFIX,
    AskedModel,
    Endpoint,
    Opening,
    open_skops,
)

_FINE = (Status.CLEAR, Status.NOT_RUN)
# Of an endpoint, where each question may have its price.
_MOST_ASKED = 100


def open_model(
    source: str | Path | Endpoint,
    *,
    opening: Opening | None = None,
    clean: ImageSet | None = None,
    device: str = "cpu",
) -> Classifier:
    """Open one model as a scan does: copied, inspected, and nothing in the file executed.

    It is opened in this process, without a scan's limits on memory and time: scan a file
    first that may be built to exhaust them.

    Parameters
    ----------
    source : path, URL of an endpoint, or Endpoint
        A file of any format that `scan` opens, or a classifier of scikit-learn as ``.skops``.
    opening : Opening, optional
        The input contract as you state it, and which set of weights or output is meant.
    clean : ImageSet, optional
        Labelled clean images; a contract that they contradict is refused. Of an endpoint, whose
        questions may have their price, 100 of them are enough.
    device : str
        "auto", "cpu", "cuda" or "cuda:N".

    Raises
    ------
    UnsafeFileError, CodeNotTrustedError
        If loading the file would run code; it was not loaded.
    UnreadableFileError
        If the file is no model of a known format, or damaged.
    InvalidRequestError
        If the input contract is incomplete or wrong, or one of several sets of weights must be
        named.

    Examples
    --------
    >>> import molehunt
    >>> digits = molehunt.load_images("digits", size=12)
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = molehunt.build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> molehunt.save_model(model, "model.safetensors")
    >>> open_model("model.safetensors").card.input_shape
    (1, 12, 12)
    """
    return open_named(source, opening=opening, clean=clean, device=device).model


@dataclass(frozen=True)
class OpenedModel:
    """A model and which file it is of.

    Parameters
    ----------
    model : Classifier
    name : str
        Of the file or endpoint, as results name it; without what is secret in a URL.
    sha256 : str or None
        Of the bytes that were inspected and loaded; None of endpoints.
    format : str or None
    """

    model: Classifier
    name: str
    sha256: str | None
    format: str | None

    @property
    def asked(self) -> int:
        """Images that an endpoint was asked about so far; 0 of a file, which costs nothing."""
        return self.model.asked if isinstance(self.model, AskedModel) else 0


def open_named(
    source: str | Path | Endpoint,
    *,
    opening: Opening | None = None,
    clean: ImageSet | None = None,
    device: str = "cpu",
) -> OpenedModel:
    """Open one model as `open_model` does, and say which bytes it is made of."""
    opening = opening or Opening()
    if isinstance(source, str) and source.startswith(
        ("http://", "https://", "grpc://", "grpcs://")
    ):
        source = Endpoint(source)
    if not isinstance(source, Endpoint) and Path(source).suffix.lower() == SKOPS_SUFFIX:
        return _open_estimator(Path(source), opening, clean)
    found = source if isinstance(source, Endpoint) else Candidate(Path(source))
    if clean is not None and isinstance(source, Endpoint):
        clean = clean.sample(_MOST_ASKED, torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory(prefix="molehunt-") as folder:
        subject = open_source(found, opening, clean, Path(folder))
    name = name_of(found)
    for finding in subject.findings:
        if finding.status in _FINE or finding.check == "answers":
            continue
        message = finding.message if name in finding.message else f"{name}: {finding.message}"
        if finding.weakness is UNSAFE_SERIALIZATION:
            unsafe = finding.status is Status.FOUND
            raise (UnsafeFileError if unsafe else CodeNotTrustedError)(message)
        if finding.weakness is WRONG_CONTRACT:
            raise InvalidRequestError(message)
        if finding.status is not Status.INCONCLUSIVE:
            raise UnreadableFileError(message)
    if len(subject.models) > 1:
        allowed = f"one of {', '.join(subject.models)} (`weights`)"
        raise InvalidRequestError(mismatch(f"{name}: sets of weights", allowed, "all of them"))
    if not subject.models:
        raise UnsuitableSubjectError(f"{name}: no model was found in it")
    (model,) = subject.models.values()
    model = model.to(pick_device(device)).freeze()
    return OpenedModel(model, name, subject.sha256, subject.format)


def _open_estimator(path: Path, opening: Opening, clean: ImageSet | None) -> OpenedModel:
    """Open a classifier of scikit-learn, which a scan does not judge."""
    content = read_bytes(path, MOST_SKOPS_BYTES)
    model = open_skops(content, path, opening.contract, clean)
    return OpenedModel(model.freeze(), str(path), hashlib.sha256(content).hexdigest(), "skops")

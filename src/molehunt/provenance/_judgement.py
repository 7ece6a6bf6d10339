"""What is said of a file before it is loaded: its format, a state, a reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_LONGEST_DETAIL = 300


class FileFormat(StrEnum):
    """What a file is by its content; its name plays no part."""

    SAFETENSORS = "safetensors"
    TORCH_ZIP = "torch zip"  # torch.save since 1.6
    TORCH_LEGACY = "torch legacy"  # torch.save before 1.6: pickles, then raw storages
    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch.export"  # the archive of torch.export.save, .pt2
    ONNX = "onnx"
    PICKLE = "pickle"
    ZIP = "zip"
    TAR = "tar"
    GZIP = "gzip"
    SEVEN_ZIP = "7z"
    HDF5 = "hdf5"  # Keras before version 3
    KERAS = "keras"
    NUMPY = "numpy"
    UNKNOWN = "unknown"


class SerializationState(StrEnum):
    """What can be said of a file's serialization."""

    CLEAN = "clean"  # read to its end, and nothing in it is more than tensors or a plain graph
    UNSAFE = "unsafe"  # loading it would reach outside the file
    UNKNOWN = "unknown"  # a known format that could not be judged as a whole
    NOT_SCANNED = "not scanned"  # no format that is known here


@dataclass(frozen=True)
class Judgement:
    """A state and the reason for it."""

    state: SerializationState
    detail: str


@dataclass(frozen=True)
class Serialization:
    """The format of a file and what loading it would do."""

    format: FileFormat
    state: SerializationState
    detail: str

    def __post_init__(self) -> None:
        # Names come from the file: no control characters on a terminal, and no endless line.
        plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in self.detail)
        object.__setattr__(self, "detail", plain[:_LONGEST_DETAIL])


class UnsafeContentError(Exception):
    """Internal: the content reaches outside the file."""


class UnreadContentError(Exception):
    """Internal: the content could not be judged as a whole."""


def worst(judgements: Iterable[Judgement], otherwise: Judgement) -> Judgement:
    """Return the first unsafe judgement, else the first unknown one, else `otherwise`."""
    listed = list(judgements)
    for state in (SerializationState.UNSAFE, SerializationState.UNKNOWN):
        for judgement in listed:
            if judgement.state is state:
                return judgement
    return otherwise


def unsafe(detail: str) -> Judgement:
    """Return the judgement that loading reaches outside the file."""
    return Judgement(SerializationState.UNSAFE, detail)


def unread(detail: str) -> Judgement:
    """Return the judgement that the content could not be judged as a whole."""
    return Judgement(SerializationState.UNKNOWN, detail)


def clean(detail: str) -> Judgement:
    """Return the judgement that nothing but tensors or a plain graph was found."""
    return Judgement(SerializationState.CLEAN, detail)

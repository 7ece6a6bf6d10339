"""What is said of a file before it is loaded: its format, a state, a reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce
from operator import or_

from molehunt.errors import printable

_LONGEST_DETAIL = 300
_NAMED = 3  # names in a message; the judgement has them all
_LONGEST_NAME = 60


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
    UNFAMILIAR = "unfamiliar"  # loading it would run code of packages that are not known here
    UNKNOWN = "unknown"  # a known format that could not be judged as a whole
    NOT_SCANNED = "not scanned"  # no format that is known here


@dataclass(frozen=True)
class Names:
    """What pickles name beyond what tensors need, by grade, each in the order of appearance.

    Parameters
    ----------
    dangerous : tuple of str
        Functions and classes that run code or reach outside the file.
    unknown : tuple of str
        Those of packages that are not known here.
    harmless : tuple of str
        Those that only hold values; they are read on stand-ins.
    """

    dangerous: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()

    def __or__(self, other: Names) -> Names:
        """Return the names of both, none twice."""
        return Names(
            *(
                tuple(dict.fromkeys([*getattr(self, grade), *getattr(other, grade)]))
                for grade in ("dangerous", "unknown", "harmless")
            )
        )

    def said(self) -> str:
        """Return what they mean in one line: the dangerous ones first, none cut off unsaid."""
        parts = []
        if self.dangerous:
            parts.append(f"names {_first(self.dangerous)}, which can run code or reach outside")
        if self.unknown:
            verb = "and" if parts else "names"
            parts.append(f"{verb} {_first(self.unknown)}, of which nothing is known here")
        if not parts and self.harmless:
            parts.append(f"objects that run nothing ({_first(self.harmless)})")
        return " ".join(parts)


def _first(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(printable(name, _LONGEST_NAME) for name in names[:_NAMED]) + more


@dataclass(frozen=True)
class Judgement:
    """A state and the reason for it."""

    state: SerializationState
    detail: str
    names: Names = Names()


@dataclass(frozen=True)
class Serialization:
    """The format of a file and what loading it would do."""

    format: FileFormat
    state: SerializationState
    detail: str
    names: Names = Names()

    @classmethod
    def of(cls, file_format: FileFormat, judged: Judgement) -> Serialization:
        """Return a judgement with the format that it is about."""
        return cls(file_format, judged.state, judged.detail, judged.names)

    def __post_init__(self) -> None:
        # Names come from the file: no control characters on a terminal, and no endless line.
        plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in self.detail)
        object.__setattr__(self, "detail", plain[:_LONGEST_DETAIL])


_NONE = Names()


class UnsafeContentError(Exception):
    """Internal: the content reaches outside the file."""

    names: Names = _NONE  # those found before


class UnreadContentError(Exception):
    """Internal: the content could not be judged as a whole."""

    names: Names = _NONE


def worst(judgements: Iterable[Judgement], otherwise: Judgement) -> Judgement:
    """Return the gravest judgement, the first of its kind, with the names of all."""
    listed = list(judgements)
    names = reduce(or_, (judgement.names for judgement in listed), otherwise.names)
    for state in (
        SerializationState.UNSAFE,
        SerializationState.UNKNOWN,
        SerializationState.UNFAMILIAR,
    ):
        for judgement in listed:
            if judgement.state is state:
                return replace(judgement, names=names)
    return replace(otherwise, names=names)


def unsafe(detail: str, names: Names = _NONE) -> Judgement:
    """Return the judgement that loading reaches outside the file."""
    return Judgement(SerializationState.UNSAFE, detail, names)


def judge_unknown(detail: str, names: Names = _NONE) -> Judgement:
    """Return the judgement that the content could not be judged as a whole."""
    return Judgement(SerializationState.UNKNOWN, detail, names)


def of_names(names: Names, otherwise: Judgement) -> Judgement:
    """Return what names alone come to: unsafe, unfamiliar, or the other judgement with them."""
    if names.dangerous:
        return unsafe(names.said(), names)
    if otherwise.state is SerializationState.CLEAN:
        if names.unknown:
            return Judgement(SerializationState.UNFAMILIAR, names.said(), names)
        detail = f"{otherwise.detail}, and {names.said()}" if names.harmless else otherwise.detail
        return Judgement(otherwise.state, detail, names)
    return replace(otherwise, names=names)


def clean(detail: str) -> Judgement:
    """Return the judgement that nothing but tensors or a plain graph was found."""
    return Judgement(SerializationState.CLEAN, detail)

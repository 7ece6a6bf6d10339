"""The survey of a model zoo: which of its models could be swapped without anyone noticing.

Source: Gu et al., BadNets (2019), section 6: of the Caffe Model Zoo, 22 gists stated no
SHA-1, and one stated a SHA-1 that did not match the file, which nobody had remarked on.
Deviation: SHA-1, which the paper accepts, counts as weak; formats and signatures are
looked at too, as section 6.1 recommends. Nothing is ever downloaded.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from molehunt.errors import UnreadableFileError, from_validation, mismatch, printable
from molehunt.files import open_regular, read_bytes
from molehunt.provenance._audit_lists import list_rows
from molehunt.provenance._folder import is_file
from molehunt.provenance._judgement import SerializationState
from molehunt.provenance._serialization import inspect_serialization
from molehunt.provenance._signing import find_signature

_BY_LENGTH = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_LENGTHS = {algorithm: length for length, algorithm in _BY_LENGTH.items()}
_WEAK = {"md5", "sha1"}
_URL = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_DIGITS_IN_NAME = re.compile(r"-([0-9a-fA-F]{8,16}|[0-9a-fA-F]{64})\.[A-Za-z0-9]+$")
_FEWEST, _MOST_OF_A_PART = 8, 16  # digits of a digest that is not whole
_CHUNK = 2**20
_LARGEST_LIST = 2**24  # bytes


class Fault(StrEnum):
    """What is wrong with one model of a list."""

    MISMATCH = "mismatching hash"
    UNSAFE = "unsafe format"
    ERROR = "error"  # not there, or no file
    UNKNOWN_NAMES = "unknown names"  # a pickle that runs code of packages not known here
    NO_HASH = "no hash"
    WEAK_HASH = "weak hash"
    NO_SIGNATURE = "no signature"


class ListedModel(BaseModel):
    """One line of a list: a name, a URL or a path, and what is stated of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    name: str = Field(min_length=1)
    location: str = Field(min_length=1)
    hash: str | None = None
    signature: str | None = None
    remark: str = Field(default="", exclude=True)  # of the reading: columns that were left out


@dataclass(frozen=True)
class AuditedModel:
    """What was found about one model of a list.

    Parameters
    ----------
    name, location : str
    here : bool
        Whether the file itself was judged; else only what the list states was.
    algorithm : str, optional
        Of the stated hash; None where there is no usable one.
    faults : tuple of Fault
    detail : str
        One line for the reader.
    """

    name: str
    location: str
    here: bool
    algorithm: str | None
    faults: tuple[Fault, ...]
    detail: str


def audit_list(path: Path) -> tuple[AuditedModel, ...]:
    """Judge every model of a list. URLs are not fetched, no model is loaded.

    Parameters
    ----------
    path : Path
        CSV with a head (comma, semicolon, tab or ``|``), what ``sha256sum`` and its like
        write, or JSON: a list of objects, or an object with such a list under ``models``.
        Columns: location (URL, or path below the list's folder), name, hash (``sha256:…``, or
        bare with the algorithm told by its length; 8 to 16 digits are the start of a
        SHA-256) and signature (URL or path); all but the location may be left out, and
        others are passed over. Without a hash the digits at the end of a file's
        name count, as torchvision writes them.

    Raises
    ------
    UnreadableFileError
        If the list is missing, no such list, or empty.
    """
    return tuple(_audit_model(model, path.parent) for model in read_model_list(path))


def read_model_list(path: Path) -> list[ListedModel]:
    """Read a model zoo's list; see `audit_list`."""
    try:
        text = read_bytes(path, _LARGEST_LIST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"{path}: no text in UTF-8") from error
    try:
        rows = json.loads(text) if text.lstrip()[:1] in ("[", "{") else list_rows(text)
        if isinstance(rows, dict):
            rows = rows.get("models")
        models = TypeAdapter(list[ListedModel]).validate_python(rows)
    except ValidationError as error:
        raise UnreadableFileError(str(from_validation(error, f"{path}: no model list"))) from error
    except (ValueError, csv.Error, RecursionError) as error:
        message = printable(" ".join(str(error).split()))
        raise UnreadableFileError(f"{path}: no model list: {message}") from error
    if not models:
        raise UnreadableFileError(mismatch(f"{path}: models", "at least one", "none"))
    return models


def fault_counts(models: Sequence[AuditedModel]) -> dict[str, int]:
    """Return how many models have each fault, in the order of gravity; all are named."""
    counts = Counter(fault for model in models for fault in model.faults)
    return {fault.value: counts[fault] for fault in Fault}


def _audit_model(model: ListedModel, folder: Path) -> AuditedModel:
    faults: set[Fault] = set()
    algorithm, digest, remark = _stated_hash(model.hash)
    remarks = [text for text in (model.remark, remark) if text]
    in_name = _DIGITS_IN_NAME.search(model.location)
    if not model.hash and in_name:
        algorithm, digest = "sha256", in_name[1].lower()
        remarks.append("the hash stands in the file's name")
    if algorithm is None:
        faults.add(Fault.NO_HASH)
    elif algorithm in _WEAK or len(digest) < _LENGTHS[algorithm]:
        faults.add(Fault.WEAK_HASH)
    here = False
    if _URL.match(model.location):
        remarks.append("not here: only what the list states was judged")
        if model.location.lower().startswith("http://"):
            remarks.append("served without encryption")
        if not model.signature:
            faults.add(Fault.NO_SIGNATURE)
    else:
        file = folder / model.location
        here = is_file(file)
        outside = here and not _is_below(file, folder)
        if outside:
            here = False
            faults.add(Fault.ERROR)
            remarks.append("outside the list's folder: not looked at")
        elif here:
            found, said = _judged_file(file, algorithm, digest)
            faults |= found
            remarks += said
        else:
            faults.add(Fault.ERROR)
            remarks.append("no file there")
        if outside or not _signature_there(model, folder, file):
            faults.add(Fault.NO_SIGNATURE)
    return AuditedModel(
        printable(model.name),
        printable(model.location),
        here,
        algorithm,
        tuple(fault for fault in Fault if fault in faults),
        printable("; ".join(remarks)),
    )


def _judged_file(file: Path, algorithm: str | None, digest: str) -> tuple[set[Fault], list[str]]:
    faults: set[Fault] = set()
    remarks = []
    try:
        if algorithm:
            with open_regular(file) as stream:
                hashed = hashlib.new(algorithm)
                while chunk := stream.read(_CHUNK):
                    hashed.update(chunk)
            got, part = hashed.hexdigest(), len(digest) < _LENGTHS[algorithm]
            if not got.startswith(digest):
                faults.add(Fault.MISMATCH)
                remarks.append(f"the {algorithm} is {got}")
            elif part:
                remarks.append(f"{len(digest)} digits of the {algorithm} match, which is weak")
        serialization = inspect_serialization(file)
    except OSError as error:
        return {*faults, Fault.ERROR}, [*remarks, f"cannot be read: {error.strerror}"]
    except UnreadableFileError as error:
        return {*faults, Fault.ERROR}, [*remarks, str(error)]
    if serialization.state is SerializationState.UNSAFE:
        faults.add(Fault.UNSAFE)
    if serialization.state is SerializationState.UNFAMILIAR:
        faults.add(Fault.UNKNOWN_NAMES)
    return faults, [*remarks, f"{serialization.format}: {serialization.detail}"]


def _signature_there(model: ListedModel, folder: Path, file: Path) -> bool:
    """Return whether a signature is there; whose it is takes a key, and `verify_signature`."""
    if not model.signature:
        return find_signature(file) is not None
    place = folder / model.signature
    return bool(_URL.match(model.signature)) or (is_file(place) and _is_below(place, folder))


def _is_below(file: Path, folder: Path) -> bool:
    """Whether a file, links followed, lies in a folder: a list may not have others looked at."""
    try:
        return file.resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False


def _stated_hash(text: str | None) -> tuple[str | None, str, str]:
    """Return algorithm, digits and a remark; no algorithm where there is no usable hash."""
    if not text:
        return None, "", ""
    prefix, colon, digits = text.lower().rpartition(":")
    digits = digits.strip()
    usual = _BY_LENGTH.get(len(digits), "sha256")
    algorithm = prefix.strip().replace("-", "") if colon else usual
    most = _LENGTHS.get(algorithm, 0)
    whole = len(digits) == most or (
        algorithm == "sha256" and _FEWEST <= len(digits) <= _MOST_OF_A_PART
    )
    if not whole or not re.fullmatch("[0-9a-f]*", digits):
        return None, "", mismatch("hash", f"{', '.join(_LENGTHS)} in hexadecimal", repr(text))
    return algorithm, digits, ""

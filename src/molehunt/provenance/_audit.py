"""The survey of a model zoo: which of its models could be swapped without anyone noticing.

Source: Gu et al., BadNets (2019), section 6: of the Caffe Model Zoo, 22 gists stated no
SHA-1, and one stated a SHA-1 that did not match the file, which nobody had remarked on.
Deviation: SHA-1, which the paper accepts, counts as weak; formats and signatures are
looked at too, as section 6.1 recommends. Nothing is ever downloaded.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from molehunt.errors import UnreadableFileError, from_validation, printable, refused
from molehunt.provenance._folder import is_file
from molehunt.provenance._judgement import SerializationState
from molehunt.provenance._serialization import inspect_serialization
from molehunt.provenance._signing import find_signature

_BY_LENGTH = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_LENGTHS = {algorithm: length for length, algorithm in _BY_LENGTH.items()}
_WEAK = {"md5", "sha1"}
_URL = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_COLUMNS = ("name", "location", "hash", "signature")


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
        CSV with a head, or JSON: a list of objects, or an object with such a list under
        ``models``. Columns: name, location (URL, or path relative to the list), hash
        (``sha256:…``, or bare with the algorithm told by its length) and signature (URL or
        path); the last two may be left out.

    Raises
    ------
    UnreadableFileError
        If the list is missing, no such list, or empty.
    """
    return tuple(_audited(model, path.parent) for model in read_model_list(path))


def read_model_list(path: Path) -> list[ListedModel]:
    """Read a model zoo's list; see `audit_list`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UnreadableFileError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"{path}: no text in UTF-8") from error
    try:
        rows = json.loads(text) if text.lstrip()[:1] in ("[", "{") else _csv_rows(text)
        if isinstance(rows, dict):
            rows = rows.get("models")
        models = TypeAdapter(list[ListedModel]).validate_python(rows)
    except ValidationError as error:
        raise UnreadableFileError(str(from_validation(error, f"{path}: no model list"))) from error
    except (ValueError, csv.Error, RecursionError) as error:
        raise UnreadableFileError(f"{path}: no model list: {error}") from error
    if not models:
        raise UnreadableFileError(refused(f"{path}: models", "at least one", "none"))
    return models


def fault_counts(models: Sequence[AuditedModel]) -> dict[str, int]:
    """Return how many models have each fault, in the order of gravity; all are named."""
    counts = Counter(fault for model in models for fault in model.faults)
    return {fault.value: counts[fault] for fault in Fault}


def _csv_rows(text: str) -> list[dict[str | None, object]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    head = reader.fieldnames or []
    if set(head) - set(_COLUMNS) or not {"name", "location"} <= set(head):
        raise ValueError(refused("columns", ", ".join(_COLUMNS), ", ".join(map(str, head))))
    rows = list(reader)
    for row in rows:
        if None in row:
            raise ValueError(refused(f"line {row.get('name')!r}", f"{len(head)} values", "more"))
    return [dict(row) for row in rows]


def _audited(model: ListedModel, folder: Path) -> AuditedModel:
    faults: set[Fault] = set()
    algorithm, digest, remark = _stated_hash(model.hash)
    remarks = [remark] if remark else []
    if algorithm is None:
        faults.add(Fault.NO_HASH)
    elif algorithm in _WEAK:
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
        if here:
            found, said = _judged_file(file, algorithm, digest)
            faults |= found
            remarks += said
        else:
            faults.add(Fault.ERROR)
            remarks.append("no file there")
        if not _signature_there(model, folder, file):
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
            with file.open("rb") as stream:
                got = hashlib.file_digest(stream, algorithm).hexdigest()
            if got != digest:
                faults.add(Fault.MISMATCH)
                remarks.append(f"the {algorithm} is {got}")
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
    return bool(_URL.match(model.signature)) or is_file(folder / model.signature)


def _stated_hash(text: str | None) -> tuple[str | None, str, str]:
    """Return algorithm, digits and a remark; no algorithm where there is no usable hash."""
    if not text:
        return None, "", ""
    prefix, colon, digits = text.lower().rpartition(":")
    digits = digits.strip()
    algorithm = prefix.strip().replace("-", "") if colon else _BY_LENGTH.get(len(digits), "")
    if _LENGTHS.get(algorithm) != len(digits) or not re.fullmatch("[0-9a-f]*", digits):
        return None, "", refused("hash", f"{', '.join(_LENGTHS)} in hexadecimal", repr(text))
    return algorithm, digits, ""

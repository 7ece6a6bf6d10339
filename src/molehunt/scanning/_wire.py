"""Results of a scan as bytes that nothing executes: JSON, and arrays as safetensors.

They come from a process that held a stranger's file, so they are read as such.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from molehunt.arrays import Floats
from molehunt.findings import EXHIBITS, WEAKNESSES, Exhibit, Finding, Status
from molehunt.networks import ModelCard
from molehunt.provenance import Names
from molehunt.scanning._result import ScanResult

_LENGTH = struct.Struct("<Q")


def encode_result(result: ScanResult) -> bytes:
    """Return a result as bytes, exhibits included."""
    arrays: dict[str, Floats] = {}
    findings = []
    for number, finding in enumerate(result.findings):
        plain = {item.name: getattr(finding, item.name) for item in fields(finding)}
        plain["weakness"] = finding.weakness and finding.weakness.word
        plain["exhibits"] = [
            _encode(exhibit, f"{number}.{which}", arrays)
            for which, exhibit in enumerate(finding.exhibits)
        ]
        findings.append(plain)
    content = {
        "source": result.source,
        "sha256": result.sha256,
        "format": result.format,
        "card": None if result.card is None else result.card.model_dump(mode="json"),
        "findings": findings,
        "parts": result.parts,
        "names": asdict(result.names),
    }
    # Surrogates: a file's name may be bytes that are no UTF-8.
    text = json.dumps(content).encode("utf-8", "surrogatepass")
    return _LENGTH.pack(len(text)) + text + save(arrays)


def decode_result(data: bytes) -> ScanResult:
    """Return the result that `encode_result` wrote.

    Raises
    ------
    ValueError
        If the bytes are not what it writes.
    """
    try:
        (length,) = _LENGTH.unpack_from(data)
        content = json.loads(data[_LENGTH.size : _LENGTH.size + length])
        arrays = load(data[_LENGTH.size + length :])
        return ScanResult(
            content["source"],
            content["sha256"],
            tuple(_finding(n, plain, arrays) for n, plain in enumerate(content["findings"])),
            content["format"],
            None if content["card"] is None else ModelCard.model_validate(content["card"]),
            tuple(map(str, content["parts"])),
            Names(**{grade: tuple(map(str, listed)) for grade, listed in content["names"].items()}),
        )
    except Exception as error:  # struct, json, safetensors and pydantic raise their own kinds
        raise ValueError(f"no result of a scan: {error}") from error


def _encode(exhibit: Exhibit, place: str, arrays: dict[str, Floats]) -> dict[str, Any]:
    """Return an exhibit without its arrays, which are put under the place's name."""
    plain = {"kind": type(exhibit).__name__, **vars(exhibit)}
    for name in exhibit.dimensions:
        arrays[f"{place}.{name}"] = np.ascontiguousarray(plain.pop(name))
    return plain


def _finding(number: int, plain: dict[str, Any], arrays: dict[str, Floats]) -> Finding:
    exhibits = []
    for which, content in enumerate(plain.pop("exhibits")):
        kind = EXHIBITS[content.pop("kind")]
        named: dict[str, Any] = {
            name: arrays[f"{number}.{which}.{name}"] for name in kind.dimensions
        }
        exhibits.append(kind(**content, **named))
    word = plain.pop("weakness")
    return Finding(
        **{**plain, "status": Status(plain["status"])},
        weakness=None if word is None else WEAKNESSES[word],
        exhibits=tuple(exhibits),
    )

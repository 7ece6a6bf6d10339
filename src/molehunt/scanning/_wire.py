"""Results of a scan as bytes that nothing executes: JSON, and arrays as safetensors.

They come from a process that held a stranger's file, so they are read as such.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from molehunt.arrays import Floats
from molehunt.networks import ModelCard
from molehunt.provenance import Names
from molehunt.scanning._verdict import Finding, Picture, ScanResult, Status

_LENGTH = struct.Struct("<Q")


def encode_result(result: ScanResult) -> bytes:
    """Return a result as bytes, pictures and answers included."""
    arrays: dict[str, Floats] = {}
    findings = []
    for number, finding in enumerate(result.findings):
        plain = asdict(replace(finding, responses=None, pictures=()))
        del plain["responses"], plain["pictures"]
        plain["captions"] = [picture.caption for picture in finding.pictures]
        findings.append(plain)
        if finding.responses is not None:
            arrays[f"{number}.responses"] = np.ascontiguousarray(finding.responses)
        for which, picture in enumerate(finding.pictures):
            arrays[f"{number}.picture.{which}"] = np.ascontiguousarray(picture.pixels)
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


def _finding(number: int, plain: dict[str, Any], arrays: dict[str, Floats]) -> Finding:
    captions = plain.pop("captions")
    return Finding(
        **{**plain, "status": Status(plain["status"])},
        responses=arrays.get(f"{number}.responses"),
        pictures=tuple(
            Picture(caption, arrays[f"{number}.picture.{which}"])
            for which, caption in enumerate(captions)
        ),
    )

"""Files that are no model here say what they are, and what to do about it."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from molehunt.provenance import SerializationState, inspect_serialization


def packed(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pt"), io.BytesIO())
    return stream.getvalue()


FILES = {
    "weights in a zip": (packed("a/model.safetensors"), "unpack it first"),
    "a graph in a zip": (packed("README", "NET.ONNX"), "unpack it first"),
    "a SavedModel in a zip": (packed("m/saved_model.pb", "m/variables/v"), "convert it to ONNX"),
    "a Core ML package": (packed("Manifest.json", "Data/x/model.mlmodel"), "export the model"),
    "a tar": (tarred(), "unpack it first"),
    "a SavedModel": (b"\x08\x01\x12\x80\x02" + bytes(range(1, 100)), "convert it to ONNX"),
    "Core ML": (b"\x08\x05\x12\x80\x02" + bytes(range(1, 100)), "Core ML"),
    "OpenVINO": (b'<?xml version="1.0"?><net name="a" version="11">', "OpenVINO"),
    "photos": (packed("a.png"), "no model format known here"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_model_says_what_it_is(name: str, tmp_path: Path) -> None:
    content, said = FILES[name]
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    found = inspect_serialization(path)
    assert found.state in (SerializationState.NOT_SCANNED, SerializationState.UNKNOWN)
    assert said in found.detail

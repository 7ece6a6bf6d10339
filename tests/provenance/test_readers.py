"""Files that two readers accept, and files that are no model: never clean, and named."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as save_safetensors

from molehunt.provenance import SerializationState, inspect_serialization
from molehunt.provenance._expressions import is_size_expression
from tests.provenance import hostile

CLEAN = SerializationState.CLEAN
MARK = Path("never-made")


def small_onnx() -> bytes:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    node = helper.make_node("Relu", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, 1, [1, 2]) for name in "xy"]
    graph = helper.make_graph([node], "g", value[:1], value[1:])
    return helper.make_model(graph).SerializeToString()


def old_tar(name: bytes, content: bytes) -> bytes:
    """A header of 1979: a checksum, and no magic."""
    info = tarfile.TarInfo("x")
    info.size = len(content)
    head = bytearray(info.tobuf(format=tarfile.USTAR_FORMAT))
    head[:100] = name.ljust(100, b"\0")
    head[257:265] = bytes(8)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + content + bytes(-len(content) % 512)


HONEST: dict[str, Callable[[], bytes]] = {
    "safetensors": lambda: save_safetensors({"a": torch.ones(99)}),
    "torch zip": hostile.honest,
    "torch legacy": lambda: hostile.legacy({"w": torch.ones(9)}),
    "torch.export": hostile.exported,
    "onnx": small_onnx,
    "pickle": lambda: pickle.dumps({"a": 1}),
}
PAYLOADS: dict[str, Callable[[], bytes]] = {
    **HONEST,
    "hostile pickle": lambda: hostile.system(MARK),
    "hostile protocol 0": lambda: b"cos\nsystem\n(S'touch never-made'\ntR.",
    "hostile zip": lambda: hostile.torch_zip(hostile.system(MARK)),
    "tar": lambda: hostile.in_tar(MARK),
    "old tar": lambda: old_tar(b"pickle", hostile.system(MARK)) + bytes(1024),
    "gzip": lambda: gzip.compress(hostile.system(MARK)),
    "hdf5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(99),
}


@pytest.mark.parametrize("name", HONEST)
def test_one_reader_is_clean(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(HONEST[name]())
    assert inspect_serialization(tmp_path / "a").state is CLEAN


@pytest.mark.parametrize("first,second", list(permutations(PAYLOADS, 2)))
def test_one_format_after_another_is_never_clean(first: str, second: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(PAYLOADS[first]() + PAYLOADS[second]())
    assert inspect_serialization(tmp_path / "a").state is not CLEAN


def safetensors_and_pickle(start: bytes, payload: bytes) -> bytes:
    """The header's length begins with an opcode that takes all of the header for its text."""
    head = b'{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}' % ((len(payload),) * 2)
    length = len(head) + 2
    while length & 255 != start[0]:
        length += 1
    return struct.pack("<Q", length) + head.ljust(length - 2) + b"\n}" + payload


def hdf5_inside() -> bytes:
    data = bytearray(2000)
    whole = len(save_safetensors({"a": torch.zeros(2000, dtype=torch.uint8)})) - 2000
    data[1024 - whole : 1032 - whole] = b"\x89HDF\r\n\x1a\n"
    return save_safetensors({"a": torch.frombuffer(data, dtype=torch.uint8)})


def legacy_in_old_tar() -> bytes:
    """torch.load tries tar first, and then its chain of pickles."""
    content = hostile.legacy({"w": torch.ones(9)})
    stream = io.BytesIO(content)
    magic = pickle.load(stream)
    rest = b"".join(old_tar(n, hostile.system(MARK)) for n in (b"storages", b"tensors", b"pickle"))
    rest += bytes(1024)
    text = 512 + len(rest) - 7
    head = old_tar(b"\x80\x02B" + struct.pack("<I", text), b"")
    return head + rest + b"q\0" + pickle.dumps(magic, 2)[2:-1] + b"." + content[stream.tell() :]


def onnx_and_pickle() -> bytes:
    """MARK is the tag of model_version, LONG_BINPUT that of metadata_props."""
    key = b"\x01cos\nsystem\n(S'touch never-made'\ntR."
    entry = b"\x0a" + bytes([len(key)]) + key
    return b"(Nr" + bytes([len(entry)]) + entry + small_onnx()


SYSTEM = b"cos\nsystem\n(S'touch never-made'\ntR."
BOTH = {
    "safetensors, UNICODE": lambda: safetensors_and_pickle(b"V", b"0" + SYSTEM),
    "safetensors, UNICODE and INST": lambda: safetensors_and_pickle(
        b"V", b"0(S'touch never-made'\nios\nsystem\n."
    ),
    "safetensors, UNICODE and STACK_GLOBAL": lambda: safetensors_and_pickle(
        b"V", b"0\x8c\x02os\x8c\x06system\x93(S'x'\ntR."
    ),
    "safetensors and HDF5 at 1024": hdf5_inside,
    "safetensors and zip": lambda: hostile.both_zip_and_safetensors(MARK),
    "tar of 1979 and torch legacy": legacy_in_old_tar,
    "onnx and pickle": onnx_and_pickle,
}


@pytest.mark.parametrize("name", BOTH)
def test_two_formats_in_one_file_are_never_clean(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(BOTH[name]())
    assert inspect_serialization(tmp_path / "a").state is not CLEAN


@pytest.mark.parametrize("length", range(64, 64 + 256, 7))
def test_a_header_of_any_length_is_clean(length: int, tmp_path: Path) -> None:
    """The first byte of an honest file may be any opcode."""
    head = b'{"a":{"dtype":"U8","shape":[64],"data_offsets":[0,64]}}'.ljust(length)
    numbers = bytes(range(10, 74))
    (tmp_path / "a").write_bytes(struct.pack("<Q", length) + head + numbers)
    assert inspect_serialization(tmp_path / "a").state is CLEAN


NO_MODELS = {
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "git lfs pull"),
    "Git LFS of Windows": (b"\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\r\n", "LFS"),
    "page": (b"<!DOCTYPE html><html>", "web page"),
    "page after blanks": (b"\r\n  <HTML lang=en>", "web page"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "OpenVINO": (b'<?xml version="1.0"?>\n<net name="x">', "OpenVINO"),
    "JSON": (b'{"error":"Repository not found"}', "JSON"),
    "text": (b"Entry not found", "text"),
    "empty": (b"", "empty"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(99), "TensorFlow Lite"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(64), "GGUF"),
    "xz": (b"\xfd7zXZ\x00" + bytes(9), "xz"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(9), "zstd"),
    "bzip2": (b"BZh91AY&SY" + bytes(9), "bzip2"),
    "PDF": (b"%PDF-1.7\n" + bytes(9), "PDF"),
}


@pytest.mark.parametrize("name", NO_MODELS)
def test_a_file_that_is_no_model_is_told_what_it_is(name: str, tmp_path: Path) -> None:
    content, told = NO_MODELS[name]
    (tmp_path / "a.safetensors").write_bytes(content)
    found = inspect_serialization(tmp_path / "a.safetensors")
    assert found.state is SerializationState.NOT_SCANNED and told in found.detail, found


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("Max(1, s0, s1)", True),
        (f"Max({','.join(f's{n}' for n in range(1500))})", False),
        (f"Min({','.join(f's{n}' for n in range(60))})", False),
        ("+".join(f"Max(s{n}, s{n + 1})" for n in range(60)), False),
    ],
)
def test_expressions_that_take_sympy_long_are_refused(text: str, allowed: bool) -> None:
    assert is_size_expression(text) is allowed


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F6_E2M3", "shape": [8], "data_offsets": [0, 6]},
        {"dtype": "F4", "shape": [12], "data_offsets": [0, 6]},
        {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [0, 2**62, 2], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [0.0], "data_offsets": [0, 0]},
    ],
)
def test_a_type_or_shape_that_torch_cannot_hold_is_not_clean(
    entry: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(hostile.safetensors({"x": entry}, bytes(6)))
    assert inspect_serialization(tmp_path / "a").state is SerializationState.UNKNOWN


def test_a_name_without_end_is_not_clean(tmp_path: Path) -> None:
    entry = hostile.entry(0, 4)
    (tmp_path / "a").write_bytes(hostile.safetensors({"x" * 600: entry}, bytes(4)))
    assert inspect_serialization(tmp_path / "a").state is SerializationState.UNKNOWN

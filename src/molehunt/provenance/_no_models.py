"""Files that stand where a model should be: what they are, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable

_STARTS = (
    (b"version https://git-lfs.github.com/spec", "a Git LFS pointer: git lfs pull brings the file"),
    (b"GGUF", "GGUF, weights for llama.cpp, which cannot be judged here"),
    (b"ggml", "GGML, weights for llama.cpp, which cannot be judged here"),
    (b"\xfd7zXZ\x00", "xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd: unpack it first"),
    (b"BZh", "bzip2: unpack it first"),
    (b"Rar!", "rar: unpack it first"),
    (b"%PDF", "a PDF: download the model itself"),
    (b"\x7fELF", "a program, not a model: do not run it"),
    (b"MZ", "a program for Windows, not a model: do not run it"),
    (b"#!", "a script, not a model: do not run it"),
)
_PAGE = "a web page: the download failed, fetch the file itself again"
_XML = "XML, perhaps a server's error: look at it and download the model again"
_TEXTS = (
    (b"<!doctype html", _PAGE),
    (b"<html", _PAGE),
    (b"<head", _PAGE),
    (b"<net", "OpenVINO's description of a network: export the model to ONNX"),
    (b"<?xml", _XML),
    (b"<error", _XML),
    (b"{", "JSON, a configuration or a server's error: download the weights"),
    (b"[", "JSON, a configuration or a server's error: download the weights"),
)
_PACKED = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".safetensors", ".onnx", ".pt2", ".h5", ".keras")


def describe_archive(names: Iterable[str]) -> str:
    """Return what a zip archive is that holds files of these names, and what to do."""
    for name in names:
        lower = name.lower()
        if lower.endswith("saved_model.pb"):
            return "a packed SavedModel of TensorFlow: convert it to ONNX"
        if lower.endswith(".mlmodel"):
            return "a packed Core ML model: export the model to ONNX"
        if lower.endswith(_PACKED):
            return "an archive that holds model files: unpack it first"
    return "an archive of no model format known here"


def describe_no_model(head: bytes) -> str | None:  # noqa: PLR0911  one line for each kind
    """Return what a file is that starts with `head` (some 512 bytes) and what to do, if known."""
    if not head:
        return "an empty file: download it again"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model: convert it to ONNX"
    for start, text in _STARTS:
        if head.startswith(start):
            return text
    plain = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "a text file, not a model: download it again"
    if plain.startswith(b"<?xml") and b"<net" in plain:
        return "OpenVINO's description of a network: export the model to ONNX"
    if plain.startswith(b"<?xml") and b"<html" in plain:
        return _PAGE
    for start, text in _STARTS[:1] + _TEXTS:
        if plain.startswith(start):
            return text
    if b"saved_model" in head or head.startswith(b"\x08\x01\x12"):
        return "perhaps a SavedModel of TensorFlow: convert it to ONNX"
    if head[:1] == b"\x08" and head[2:3] == b"\x12":
        return "perhaps a Core ML model: export the model to ONNX"
    if all(32 <= byte < 127 or byte in b"\t\r\n\f" for byte in head):
        return "a text file, not a model, perhaps a server's error: download it again"
    return None

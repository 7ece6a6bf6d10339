"""Files that stand where a model should be: what they are, and what to do about it."""

from __future__ import annotations

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
    if b"saved_model" in head or (b"serve" in head[:64] and head[:1] == b"\x08"):
        return "perhaps a SavedModel of TensorFlow: convert it to ONNX"
    if all(32 <= byte < 127 or byte in b"\t\r\n\f" for byte in head):
        return "a text file, not a model, perhaps a server's error: download it again"
    return None

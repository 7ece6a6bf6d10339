"""Manifests and digests: every difference is named, nothing outside of the folder is read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from molehunt.errors import InvalidRequestError, MolehuntError, OutputError, UnreadableFileError
from molehunt.provenance import (
    MANIFEST_NAME,
    ProvenanceState,
    read_manifest,
    verify_digest,
    verify_manifest,
    write_manifest,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"weights")
    (folder / "deep" / "config é.json").write_bytes(b"{}")
    (folder / "empty").touch()
    (folder / "inside").symlink_to(folder / "weights.bin")
    return folder


def test_a_manifest_states_every_file_and_is_the_same_each_time(model: Path) -> None:
    manifest = write_manifest(model)
    written = (model / MANIFEST_NAME).read_bytes()
    assert list(manifest.files) == ["deep/config é.json", "empty", "inside", "weights.bin"]
    stated = json.loads(written)["files"]["weights.bin"]
    assert stated == {"size": 7, "sha256": hashlib.sha256(b"weights").hexdigest()}
    assert read_manifest(model / MANIFEST_NAME) == manifest
    write_manifest(model)  # its own file is left out
    assert (model / MANIFEST_NAME).read_bytes() == written
    assert not list(model.glob(".*"))


def swap_same_size(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"weightz")


CHANGES = {
    "nothing": (lambda folder: None, {}),
    "one byte": (swap_same_size, {"changed": ("inside", "weights.bin")}),
    "added": (lambda folder: (folder / "deep" / "x").touch(), {"added": ("deep/x",)}),
    "hidden": (lambda folder: (folder / ".x").touch(), {"added": (".x",)}),
    "removed": (lambda folder: (folder / "empty").unlink(), {"missing": ("empty",)}),
    "link out": (lambda folder: (folder / "l").symlink_to("/etc/passwd"), {"added": ("l",)}),
    "link up": (lambda folder: (folder / "l").symlink_to("..", True), {"added": ("l",)}),
    "circle": (lambda folder: (folder / "l").symlink_to("l"), {"added": ("l",)}),
    "pipe": (lambda folder: os.mkfifo(folder / "l"), {"added": ("l",)}),
    "file to link": (
        lambda folder: [(folder / "empty").unlink(), (folder / "empty").symlink_to("/dev/null")],
        {"changed": ("empty",)},
    ),
    "renamed": (
        lambda folder: (folder / "empty").rename(folder / "full"),
        {"added": ("full",), "missing": ("empty",)},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("outside", [False, True])
def test_every_difference_is_named(name: str, outside: bool, model: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere" / "m.json" if outside else model / MANIFEST_NAME
    write_manifest(model, place)
    change, expected = CHANGES[name]
    change(model)
    result = verify_manifest(model, place)
    found = {word: getattr(result, word) for word in ("changed", "added", "missing")}
    assert {word: names for word, names in found.items() if names} == expected
    assert result.state is (ProvenanceState.TAMPERED if expected else ProvenanceState.OK)
    assert all(name in result.message for names in expected.values() for name in names)


def test_a_single_file_is_found_in_its_folders_manifest(model: Path, tmp_path: Path) -> None:
    write_manifest(model)
    inner, stranger = model / "deep" / "config é.json", model / "deep" / "stranger"
    stranger.touch()
    (model / "weights.bin").write_bytes(b"other")  # no concern of the file that is asked about
    assert verify_manifest(inner, model / MANIFEST_NAME).state is ProvenanceState.OK
    assert verify_manifest(stranger, model / MANIFEST_NAME).added == ("stranger",)
    moved = inner.rename(tmp_path / "weights.bin")  # a listed name, but another file
    assert verify_manifest(moved, model / MANIFEST_NAME).changed == ("weights.bin",)


def test_a_folders_signature_is_left_out_and_said_to_be(model: Path) -> None:
    write_manifest(model)
    (model / "model.sig").touch()
    result = verify_manifest(model, model / MANIFEST_NAME)
    assert (result.state, result.unchecked) == (ProvenanceState.OK, ("model.sig",))


def test_links_out_of_the_folder_are_refused(model: Path) -> None:
    (model / "out").symlink_to("/etc/passwd")
    with pytest.raises(UnreadableFileError, match=r"links out of it.*: out$"):
        write_manifest(model)
    assert not (model / MANIFEST_NAME).exists()


def test_what_is_no_manifest_is_not_overwritten(model: Path) -> None:
    with pytest.raises(OutputError, match="is no manifest"):
        write_manifest(model, model / "weights.bin")
    assert (model / "weights.bin").read_bytes() == b"weights"


ENTRY = {"size": 0, "sha256": "0" * 64}
BAD_MANIFESTS = {
    "absolute": {"schema_version": 1, "files": {"/etc/passwd": ENTRY}},
    "up": {"schema_version": 1, "files": {"a/../../x": ENTRY}},
    "dot": {"schema_version": 1, "files": {"./x": ENTRY}},
    "windows": {"schema_version": 1, "files": {"C:\\x": ENTRY}},
    "backslashes": {"schema_version": 1, "files": {"..\\x": ENTRY}},
    "zero": {"schema_version": 1, "files": {"x\0": ENTRY}},
    "later": {"schema_version": 2, "files": {}},
    "short": {"schema_version": 1, "files": {"x": {"size": 0, "sha256": "00"}}},
    "list": [],
    "deep": None,
}


@pytest.mark.parametrize("name", BAD_MANIFESTS)
def test_bad_manifests_are_refused_in_one_line(name: str, model: Path, tmp_path: Path) -> None:
    content = BAD_MANIFESTS[name]
    path = tmp_path / "bad.json"
    path.write_text("[" * 100_000 if content is None else json.dumps(content))
    with pytest.raises(UnreadableFileError, match="no manifest") as caught:
        verify_manifest(model, path)
    assert "\n" not in str(caught.value)


def test_digests(tmp_path: Path) -> None:
    file = tmp_path / "m.bin"
    file.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    for text in (digest, digest.upper(), f"sha256:{digest}"):
        assert verify_digest(file, text).state is ProvenanceState.OK
    file.write_bytes(b"weightz")
    result = verify_digest(file, digest)
    assert (result.state, result.changed) == (ProvenanceState.TAMPERED, ("m.bin",))


@pytest.mark.parametrize("text", ["", "sha1:" + "0" * 40, "0" * 63, "g" * 64, "0" * 64 + "\n0"])
def test_what_is_no_sha256_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="64 hexadecimal digits"):
        verify_digest(tmp_path, text)


@pytest.mark.parametrize("what", ["missing", "pipe"])
def test_a_path_without_a_model_is_refused(what: str, model: Path, tmp_path: Path) -> None:
    write_manifest(model)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MolehuntError, match=what):
        verify_digest(tmp_path / what, "0" * 64)
    with pytest.raises(MolehuntError, match=what):
        verify_manifest(tmp_path / what, model / MANIFEST_NAME)

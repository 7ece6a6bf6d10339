"""Manifests, signatures and keys come from strangers; refusals say what to do."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from molehunt.cli import run
from molehunt.provenance import verify_manifest, write_manifest
from tests.provenance.signing_keys import Keys, make_keys

SHA = "0" * 64


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys") / "own")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "weights.bin").write_bytes(b"weights")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "blob").write_bytes(b"blob")
    return made


# What is put into the folder, and a part of what the user is told to do.
COPY = "cp -rL"
ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "of the hub": (lambda f: (f / "m").symlink_to("../elsewhere/blob"), COPY),
    "to a folder": (lambda f: (f / "m").symlink_to("../elsewhere"), COPY),
    "absolute": (lambda f: (f / "m").symlink_to(f.parent / "elsewhere" / "blob"), COPY),
    "to nothing": (lambda f: (f / "m").symlink_to("gone"), "lead to nothing"),
    "to a device": (lambda f: (f / "m").symlink_to("/dev/null"), COPY),
    "a pipe": (lambda f: os.mkfifo(f / "m"), "take pipes and devices out"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("command", ["sign", "manifest", "verify", "verify a signature"])
def test_what_is_no_file_is_refused_with_what_to_do(
    folder: Path, keys: Keys, name: str, command: str, tmp_path: Path, capfd
) -> None:
    make, advice = ODD[name]
    manifest, signature = tmp_path / "m.json", tmp_path / "model.sig"
    write_manifest(folder, manifest)
    sign = ["provenance", "sign", str(folder), "--private-key", str(keys.private), "--signature"]
    assert run([*sign, str(signature)]) == 0
    make(folder)
    capfd.readouterr()
    arguments = {
        "sign": [*sign, str(tmp_path / "new.sig")],
        "manifest": ["provenance", "manifest", str(folder), "-o", str(tmp_path / "new.json")],
        "verify": ["provenance", "verify", str(folder), "--manifest", str(manifest)],
        "verify a signature": [
            *("provenance", "verify", str(folder), "--public-key", str(keys.public)),
            *("--signature", str(signature)),
        ],
    }[command]
    assert run(arguments) == (1 if "verify" in command else 2)
    captured = capfd.readouterr()
    shown = " ".join((captured.out + captured.err).split())
    for word in advice.split():
        assert word in shown, shown
    if advice == COPY:
        assert "hf download" in shown


def test_a_link_inside_the_folder_is_not_signed_but_stands_in_a_manifest(
    folder: Path, keys: Keys, capfd
) -> None:
    (folder / "same").symlink_to("weights.bin")
    assert run(["provenance", "sign", str(folder), "--private-key", str(keys.private)]) == 2
    assert "cp -rL" in capfd.readouterr().err
    assert run(["provenance", "manifest", str(folder)]) == 0


def test_what_the_advice_says_works(folder: Path, keys: Keys, tmp_path: Path, capfd) -> None:
    (folder / "m").symlink_to("../elsewhere/blob")
    assert os.system(f"cp -rL {folder} {tmp_path / 'copy'}") == 0
    assert (
        run(["provenance", "sign", str(tmp_path / "copy"), "--private-key", str(keys.private)]) == 0
    )
    assert (
        run(["provenance", "verify", str(tmp_path / "copy"), "--public-key", str(keys.public)]) == 0
    )
    assert run(["provenance", "manifest", str(tmp_path / "copy")]) == 0


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing", "huge", "long name"])
@pytest.mark.parametrize("what", ["manifest", "signature", "public key", "private key", "chain"])
def test_what_is_stated_is_read_from_regular_files_of_some_size(
    folder: Path, keys: Keys, tmp_path: Path, kind: str, what: str, capfd
) -> None:
    place = tmp_path / "stated"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "folder":
        place.mkdir()
    elif kind == "huge":
        place.touch()
        os.truncate(place, 2**40)
    elif kind == "long name":
        place = tmp_path / ("n" * 300)
    target, public = str(folder), str(keys.public)
    (folder / "model.sig").write_text("{}")
    arguments = {
        "manifest": ["provenance", "verify", target, "--manifest", str(place)],
        "signature": [
            "provenance",
            "verify",
            target,
            "--public-key",
            public,
            "--signature",
            str(place),
        ],
        "public key": ["provenance", "verify", target, "--public-key", str(place)],
        "private key": [
            "provenance",
            "sign",
            target,
            "--private-key",
            str(place),
            "--signature",
            "new.sig",
        ],
        "chain": ["provenance", "verify", target, "--certificate-chain", str(place)],
    }[what]
    started = time.monotonic()
    assert run(arguments) == 2
    assert time.monotonic() - started < 10
    captured = capfd.readouterr()
    assert "internal error" not in captured.err and len(captured.err.splitlines()) <= 1


@pytest.mark.parametrize("command", ["missing", "changed", "unusable names"])
def test_a_hundred_thousand_files_of_a_manifest_take_seconds(
    folder: Path, tmp_path: Path, command: str, capfd
) -> None:
    names = [f"{'../' * (command == 'unusable names')}part-{n:06d}.bin" for n in range(100_000)]
    entry = {"size": 1, "sha256": SHA}
    content = {"schema_version": 1, "files": dict.fromkeys(names, entry)}
    if command == "changed":
        content["files"]["weights.bin"] = entry
    (tmp_path / "m.json").write_text(json.dumps(content))
    started = time.monotonic()
    code = run(["provenance", "verify", str(folder), "--manifest", str(tmp_path / "m.json")])
    assert time.monotonic() - started < 20  # 3 s on an idle core; it was 40
    captured = capfd.readouterr()
    assert code == (2 if command == "unusable names" else 1)
    assert len(captured.out) + len(captured.err) < 40_000
    if command != "unusable names":
        assert "99900 more" in " ".join(captured.out.split())
        result = verify_manifest(folder, tmp_path / "m.json")
        assert len(result.missing) == 100_000


@pytest.mark.parametrize(
    "name", ["\x1b[2J\x1b[31mred", "../\x1b]0;title\x07", "[/bold]", "a\nb", "..\\\x9b31m"]
)
def test_names_in_manifests_move_no_cursor(folder: Path, tmp_path: Path, name: str, capfd) -> None:
    content = {"schema_version": 1, "files": {name: {"size": 1, "sha256": SHA}}, name: 1}
    for part in (content, {key: content[key] for key in ("schema_version", "files")}):
        (tmp_path / "m.json").write_text(json.dumps(part))
        assert run(
            ["provenance", "verify", str(folder), "--manifest", str(tmp_path / "m.json")]
        ) in (1, 2)
        captured = capfd.readouterr()
        shown = captured.out + captured.err
        assert not {"\x1b", "\x07", "\x9b"} & {*shown}


@pytest.mark.parametrize("text", ["[" * 50_000, '{"files": ' * 50_000, "9" * 5000, "\ud800", ""])
def test_manifests_and_signatures_that_are_garbage_are_one_line(
    folder: Path, keys: Keys, tmp_path: Path, text: str, capfd
) -> None:
    place = tmp_path / "stated"
    place.write_bytes(text.encode("utf-8", "surrogatepass"))
    for arguments in (
        ["--manifest", str(place)],
        ["--public-key", str(keys.public), "--signature", str(place)],
    ):
        assert run(["provenance", "verify", str(folder), *arguments]) == 2
        captured = capfd.readouterr()
        assert "internal error" not in captured.err + captured.out

"""The survey of a model zoo: exactly the conditions of the paper's section 6, and no others."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import pickle
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from molehunt.errors import UnreadableFileError
from molehunt.provenance import Fault, audit_list, fault_counts

SHA256 = "ab" * 32


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an audit may not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def zoo_folder(tmp_path: Path) -> Path:
    """A folder with a safe file that is signed, one that is not, and an unsafe one."""
    for name in ("signed", "plain"):
        save_file({"w": torch.arange(4.0)}, tmp_path / f"{name}.safetensors")
    (tmp_path / "signed.safetensors.sig").write_text("{}")
    (tmp_path / "unsafe.bin").write_bytes(pickle.dumps(os.getcwd))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def digest(path: Path, algorithm: str) -> str:
    return hashlib.new(algorithm, path.read_bytes()).hexdigest()


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["name", "location", "hash", "signature"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_papers_survey_of_the_caffe_model_zoo(tmp_path: Path) -> None:
    # 39 models, 22 without a hash, one whose SHA-1 does not match its file.
    url = "http://example.org/{}.caffemodel"
    rows = [{"name": f"without-{i}", "location": url.format(i)} for i in range(22)]
    rows += [{"name": f"with-{i}", "location": url.format(i), "hash": "c" * 40} for i in range(16)]
    weights = tmp_path / "nin_imagenet.caffemodel"
    weights.write_bytes(b"\x0a\x11CaffeNet weights, updated since the hash was written")
    rows.append({"name": "Network in Network", "location": weights.name, "hash": "d" * 40})
    models = audit_list(write(tmp_path / "zoo.csv", rows))
    counts = fault_counts(models)
    assert len(models) == 39 and counts["no hash"] == 22 and counts["mismatching hash"] == 1
    assert counts["weak hash"] == 17 and counts["no signature"] == 39
    assert counts["unsafe format"] == counts["error"] == 0
    (mismatch,) = (model for model in models if Fault.MISMATCH in model.faults)
    assert mismatch.name == "Network in Network" and mismatch.here
    assert digest(weights, "sha1") in mismatch.detail
    assert all("not here: only what the list states" in m.detail for m in models if not m.here)


URL = "https://example.org/m.bin"
CASES = {
    "url, all stated": ({"location": URL, "hash": SHA256, "signature": URL + ".sig"}, []),
    "url, no hash": ({"location": URL}, [Fault.NO_HASH, Fault.NO_SIGNATURE]),
    "url, md5": ({"location": URL, "hash": "0" * 32}, [Fault.WEAK_HASH, Fault.NO_SIGNATURE]),
    "url, sha1": ({"location": URL, "hash": "SHA-1:" + "A" * 40, "signature": URL},
                  [Fault.WEAK_HASH]),
    "url, sha512": ({"location": URL, "hash": "0" * 128, "signature": URL}, []),
    "url, start of a hash": ({"location": URL, "hash": SHA256[:8], "signature": URL},
                             [Fault.WEAK_HASH]),
    "url, cut hash": ({"location": URL, "hash": SHA256[:20], "signature": URL}, [Fault.NO_HASH]),
    "url, wrong length": ({"location": URL, "hash": "sha256:" + "0" * 40, "signature": URL},
                          [Fault.NO_HASH]),
    "url, no hex": ({"location": URL, "hash": "z" * 64, "signature": URL}, [Fault.NO_HASH]),
    "url, unknown": ({"location": URL, "hash": "crc32:00000000", "signature": URL},
                     [Fault.NO_HASH]),
    "signed": ({"location": "signed.safetensors", "hash": "sha256"}, []),
    "signed, md5": ({"location": "signed.safetensors", "hash": "md5"}, [Fault.WEAK_HASH]),
    "stated signature": ({"location": "plain.safetensors", "hash": "sha384",
                          "signature": "signed.safetensors.sig"}, []),
    "stated, not there": ({"location": "signed.safetensors", "hash": "sha256",
                           "signature": "nowhere.sig"}, [Fault.NO_SIGNATURE]),
    "unsigned": ({"location": "plain.safetensors", "hash": "sha512"}, [Fault.NO_SIGNATURE]),
    "mismatch": ({"location": "signed.safetensors", "hash": SHA256}, [Fault.MISMATCH]),
    "unsafe": ({"location": "unsafe.bin", "hash": "sha256"}, [Fault.UNSAFE, Fault.NO_SIGNATURE]),
    "unsafe, mismatch": ({"location": "unsafe.bin", "hash": SHA256, "signature": URL},
                         [Fault.MISMATCH, Fault.UNSAFE]),
    "missing": ({"location": "gone.pt", "hash": SHA256, "signature": URL}, [Fault.ERROR]),
    "folder": ({"location": "folder", "hash": SHA256, "signature": URL}, [Fault.ERROR]),
    "pipe": ({"location": "pipe", "hash": SHA256, "signature": URL}, [Fault.ERROR]),
    "long": ({"location": "x" * 5000, "hash": SHA256, "signature": URL}, [Fault.ERROR]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["csv", "json", "models"])
def test_every_fault_is_found_and_no_other(name: str, kind: str, zoo_folder: Path) -> None:
    given, expected = CASES[name]
    row = {"name": name, **given}
    if row.get("hash") in hashlib.algorithms_available:  # the right one of this file
        row["hash"] = digest(zoo_folder / row["location"], row["hash"])
    path = zoo_folder / f"list.{kind}"
    if kind == "csv":
        write(path, [row])
    else:
        path.write_text(json.dumps([row] if kind == "json" else {"models": [row]}))
    (model,) = audit_list(path)
    assert list(model.faults) == expected
    assert model.here == (not row["location"].startswith("https") and Fault.ERROR not in expected)
    assert (model.algorithm is None) == (Fault.NO_HASH in expected)
    if model.here:
        assert ("safetensors" in model.detail) == (Fault.UNSAFE not in expected)


def test_what_a_list_says_cannot_move_the_terminal(tmp_path: Path) -> None:
    row = {"name": "\x1b[2Jclean", "location": "\x1b]0;x", "hash": "\x1b[1A"}
    (tmp_path / "list.json").write_text(json.dumps([row]))
    (model,) = audit_list(tmp_path / "list.json")
    assert all(text.isprintable() for text in (model.name, model.location, model.detail))


BAD_LISTS = {
    "missing": (None, "No such file"),
    "empty": ("", "columns"),
    "head only": ("name,location\n", "at least one"),
    "other columns": ("what,where\nm,m.pt\n", "expected name, location, hash"),
    "no location": ("name,hash\nm,0\n", "columns"),
    "too many": ("name,location\nm,m.pt,extra\n", "2 values"),
    "too few": ("name,location\nm\n", "location"),
    "open quote": ('name,location\nm,"m.pt\n', "no model list"),
    "no JSON": ("[{", "no model list"),
    "deep": ("[" * 100_000, "no model list"),
    "JSON without": ('{"zoo": []}', "no model list"),
    "more in JSON": ('[{"name": "m", "location": "l", "md5": "0"}]', "md5"),
    "number": ('[{"name": "m", "location": 3}]', "location"),
    "bytes": (b"\xff\xfe", "UTF-8"),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_what_is_no_list_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, message = BAD_LISTS[name]
    path = tmp_path / "list"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UnreadableFileError, match=message) as caught:
        audit_list(path)
    assert "\n" not in str(caught.value)


def dialects(digest: str, name: str = "net.pt") -> dict[str, str]:
    return {
        "semicolon and case": f"File;SHA-256\n{name};{digest}\n",
        "tab": f"path\tChecksum\tlicense\n{name}\t{digest}\tmit\n",
        "bar": f"name | location | hash\nm | {name} | {digest}\n",
        "BOM and CRLF": f"\ufeffname,location,hash\r\nm,{name},{digest}\r\n",
        "sha256sum": f"# made by sha256sum\n{digest}  {name}\n",
        "binary": f"{digest} *{name}\n",
        "BSD": f"SHA256 ({name}) = {digest}\n",
        "start": f"filename,digest\n{name},{digest[:8]}\n",
    }


@pytest.mark.parametrize("name", dialects(SHA256))
def test_lists_in_all_dialects_find_a_changed_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"any")
    right = hashlib.sha256(b"any").hexdigest()
    for digest, faulty in ((right, False), (SHA256, True)):
        (tmp_path / "list").write_bytes(dialects(digest)[name].encode())
        (model,) = audit_list(tmp_path / "list")
        assert model.here and (Fault.MISMATCH in model.faults) is faulty, model
    assert (Fault.WEAK_HASH in model.faults) is (name == "start")


def test_the_digits_in_a_name_are_compared(tmp_path: Path) -> None:
    right = hashlib.sha256(b"any").hexdigest()
    for digits, faulty in ((right[:8], False), (right[:8].upper(), False), ("0" * 8, True)):
        (tmp_path / f"resnet18-{digits}.pth").write_bytes(b"any")
        (tmp_path / "list").write_text(f"location\nresnet18-{digits}.pth\n")
        (model,) = audit_list(tmp_path / "list")
        assert (Fault.MISMATCH in model.faults) is faulty and Fault.WEAK_HASH in model.faults


def test_nothing_outside_the_folder_is_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"any")
    (folder / "link").symlink_to(tmp_path / "secret")
    for location in ("../secret", str(tmp_path / "secret"), "link", "/proc/self/status"):
        (folder / "list").write_text(f"location,hash\n{location},{SHA256}\n")
        (model,) = audit_list(folder / "list")
        assert Fault.ERROR in model.faults and not model.here
        assert "sha256 is" not in model.detail

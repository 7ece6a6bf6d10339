"""manifest, verify, sign, audit: every verdict has its exit code, and JSON says the same."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest

from molehunt.cli import run
from tests.provenance.signing_keys import Keys, make_keys

pytest.importorskip("model_signing", reason="the extra 'sign' is not installed")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys") / "own")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys") / "others")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "weights.bin").write_bytes(b"weights")
    (tmp_path / "model" / "deep" / "config.json").write_bytes(b"{}")
    return tmp_path / "model"


def tamper(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"weightz")


CHANGES = {
    "nothing": (lambda folder: None, 0, "ok", {}),
    "one byte": (tamper, 1, "tampered", {"changed": ["weights.bin"]}),
    "added": (lambda folder: (folder / "new").touch(), 1, "tampered", {"added": ["new"]}),
    "removed": (
        lambda folder: (folder / "deep" / "config.json").unlink(),
        1,
        "tampered",
        {"missing": ["deep/config.json"]},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("way", ["provenance", "manifest", "key", "certificate"])
def test_sign_change_verify(
    name: str, way: str, model: Path, keys: Keys, tmp_path: Path, capfd
) -> None:
    chain = ["--certificate-chain", str(keys.root)]
    if way == "manifest":
        assert run(["provenance", "manifest", str(model)]) == 0
        trusted = ["--manifest", str(model / "molehunt.manifest.json")]
    elif way == "key":
        assert run(["provenance", "sign", str(model), "--private-key", str(keys.private)]) == 0
        trusted = ["--public-key", str(keys.public)]
    else:
        certified = ["--certificate", str(keys.leaf), *chain]
        assert (
            run(["provenance", "sign", str(model), "--private-key", str(keys.private), *certified])
            == 0
        )
        trusted = chain
    change, code, state, expected = CHANGES[name]
    change(model)
    out = tmp_path / "deep" / "verdict.json"
    assert run(["provenance", "verify", str(model), *trusted, "--json", str(out)]) == code
    content = json.loads(out.read_text())
    assert (content["exit_code"], content["state"]) == (code, state)
    found = {word: content[word] for word in ("changed", "added", "missing")}
    assert {word: names for word, names in found.items() if names} == expected
    shown = capfd.readouterr()
    assert state in shown.out and not shown.err
    assert all(name in shown.out for names in expected.values() for name in names)


def test_wrong_key_unsigned_and_error_are_told_apart(
    model: Path, keys: Keys, others: Keys, tmp_path: Path, capfd
) -> None:
    asked = ["provenance", "verify", str(model), "--json", "-"]

    def verdict(*arguments: object) -> tuple[int, str]:
        code = run([*asked, *map(str, arguments)])
        content = json.loads(capfd.readouterr().out)
        assert content["exit_code"] == code
        return code, content["state"]

    assert verdict() == (3, "unsigned")
    assert verdict("--public-key", keys.public) == (3, "unsigned")
    assert run(["provenance", "sign", str(model), "--private-key", str(keys.private)]) == 0
    capfd.readouterr()
    assert verdict("--public-key", keys.public) == (0, "ok")
    assert verdict("--public-key", others.public) == (1, "wrong key")
    assert verdict("--certificate-chain", others.root) == (1, "wrong key")
    (model / "model.sig").write_text("{}")
    assert verdict("--public-key", keys.public) == (2, "error")


def test_a_digest(model: Path, capfd) -> None:
    file, digest = model / "weights.bin", hashlib.sha256(b"weights").hexdigest()
    assert run(["provenance", "verify", str(file), "--sha256", digest]) == 0
    tamper(model)
    assert run(["provenance", "verify", str(file), "--sha256", f"sha256:{digest}"]) == 1
    assert "tampered" in capfd.readouterr().out


BAD = [
    (["provenance", "verify", "MISSING"], 2, "No such file"),
    (["provenance", "verify", "x" * 300], 2, "name too long"),
    (["provenance", "verify", "MODEL", "--public-key", "MISSING"], 2, "no such file"),
    (["provenance", "verify", "MODEL", "--public-key", "FILE"], 2, "elliptic curve"),
    (["provenance", "verify", "MODEL", "--certificate-chain", "FILE"], 2, "certificates in PEM"),
    (["provenance", "verify", "MODEL", "--manifest", "MISSING"], 2, "No such file"),
    (["provenance", "verify", "MODEL", "--manifest", "FILE"], 2, "no manifest"),
    (["provenance", "verify", "FILE", "--sha256", "00"], 4, "64 hexadecimal"),
    (["provenance", "verify", "MODEL", "--sha256", "0" * 64], 4, "use a manifest"),
    (["provenance", "verify", "MODEL", "--sha256", "0" * 64, "--public-key", "KEY"], 4, "several"),
    (["provenance", "verify", "MODEL", "--signature", "FILE"], 4, "expected a public key or"),
    (
        ["provenance", "verify", "MODEL"],
        4,
        "model.sig with: expected a public key or a certificate chain",
    ),
    (["provenance", "sign", "MODEL"], 4, "private_key"),
    (["provenance", "sign", "MODEL", "--private-key", "MISSING"], 2, "No such file"),
    (["provenance", "sign", "MODEL", "--private-key", "FILE"], 2, "elliptic curve"),
    (
        ["provenance", "sign", "MODEL", "--private-key", "KEY", "--signature", "FILE"],
        2,
        "is no signature",
    ),
    (["provenance", "manifest", "MISSING"], 2, "No such file"),
    (["provenance", "manifest", "MODEL", "--out", "FILE"], 2, "is no manifest"),
    (["provenance", "audit", "MISSING"], 2, "No such file"),
    (["provenance", "audit", "FILE"], 2, "no model list"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), BAD, ids=lambda v: str(v)[:60])
def test_bad_input_is_one_line(
    arguments: list[str], code: int, message: str, model: Path, keys: Keys, tmp_path: Path, capfd
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run(["provenance", "sign", str(model), "--private-key", str(keys.private)]) == 0
    capfd.readouterr()
    places = {
        "MODEL": model,
        "KEY": keys.private,
        "FILE": tmp_path / "file",
        "MISSING": tmp_path / "missing",
    }
    assert run([str(places.get(argument, argument)) for argument in arguments]) == code
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("molehunt: ") and message in lines[0], lines


GOOD = {"location": "https://example.org/a", "hash": "0" * 64, "signature": "https://example.org/s"}
LISTS = [
    ([GOOD], 0, {}),
    ([GOOD, {"location": "https://example.org/b"}], 3, {"no hash": 1, "no signature": 1}),
    ([{**GOOD, "hash": "0" * 32}], 3, {"weak hash": 1}),
    ([{**GOOD, "location": "gone.pt"}, {**GOOD, "hash": ""}], 2, {"error": 1, "no hash": 1}),
    ([{**GOOD, "location": "gone.pt"}, {**GOOD, "location": "m.bin"}, GOOD], 1,
     {"mismatching hash": 1, "error": 1, "unsafe format": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "code", "counts"), LISTS, ids=lambda value: str(value)[:40])
def test_audit(rows: list[dict[str, str]], code: int, counts, tmp_path: Path, capfd) -> None:
    (tmp_path / "m.bin").write_bytes(pickle.dumps(exec))
    listed = [{"name": f"model-{number}", **row} for number, row in enumerate(rows)]
    path, out = tmp_path / "zoo.json", tmp_path / "audit.json"
    path.write_text(json.dumps(listed))
    assert run(["provenance", "audit", str(path), "--json", str(out)]) == code
    content = json.loads(out.read_text())
    assert content["exit_code"] == code and len(content["models"]) == len(rows)
    found = {name: n for name, n in content["counts"].items() if n and name not in SIZES}
    assert found == counts
    shown = capfd.readouterr().out
    assert "model-0" in shown and all(f"{n} {name}" in shown for name, n in counts.items())
    assert "not here: only what the list states was judged" in shown


SIZES = ("models", "here")

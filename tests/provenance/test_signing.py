"""Signatures: sign, verify, tamper, add, remove, wrong key, missing key, each told apart."""

from __future__ import annotations

import base64
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from molehunt.errors import InvalidRequestError, MolehuntError, OutputError, UnreadableFileError
from molehunt.provenance import (
    ProvenanceState,
    find_signature,
    sign_model,
    signature_of,
    verify_signature,
)
from tests.provenance.signing_keys import Keys, make_keys

pytest.importorskip("model_signing", reason="the extra 'sign' is not installed")
import model_signing


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing here may use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys") / "own")


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys") / "others")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"weights" * 1000)
    (folder / "deep" / "config.json").write_bytes(b"{}")
    (folder / "empty").touch()
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").touch()
    return folder


def tamper(folder: Path) -> None:
    content = bytearray((folder / "weights.bin").read_bytes())
    content[500] ^= 1
    (folder / "weights.bin").write_bytes(content)


CHANGES: dict[str, tuple[Callable[[Path], object], dict[str, tuple[str, ...]]]] = {
    "nothing": (lambda folder: None, {}),
    "one byte": (tamper, {"changed": ("weights.bin",)}),
    "added": (lambda folder: (folder / "deep" / "x").touch(), {"added": ("deep/x",)}),
    "removed": (lambda folder: (folder / "empty").unlink(), {"missing": ("empty",)}),
    "linked": (lambda folder: (folder / "l").symlink_to("weights.bin"), {"added": ("l",)}),
    "pipe": (lambda folder: os.mkfifo(folder / "l"), {"added": ("l",)}),
    "second signature": (lambda folder: (folder / "x.sig").touch(), {"added": ("x.sig",)}),
    "all gone": (
        lambda folder: [path.unlink() for path in folder.rglob("*") if path.suffix != ".sig"
                        and path.is_file() and ".git" not in path.parts],
        {"missing": ("deep/config.json", "empty", "weights.bin")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("way", ["key", "certificate"])
def test_every_difference_is_named(name: str, way: str, model: Path, keys: Keys) -> None:
    if way == "key":
        sign_model(model, private_key=keys.private)
        trusted: dict = {"public_key": keys.public}
    else:
        chain = [keys.root]
        sign_model(model, private_key=keys.private, certificate=keys.leaf, certificate_chain=chain)
        trusted = {"certificate_chain": chain}
    change, expected = CHANGES[name]
    change(model)
    result = verify_signature(model, **trusted)
    found = {word: getattr(result, word) for word in ("changed", "added", "missing")}
    assert {word: names for word, names in found.items() if names} == expected, result
    assert result.state is (ProvenanceState.TAMPERED if expected else ProvenanceState.OK)
    assert result.unchecked == (".git/HEAD",)
    if not expected:
        assert "3 files" in result.message
        assert result.signer == "CN=test signer" if way == "certificate" else "key" in result.signer


def test_a_single_file_is_signed_beside_itself(model: Path, keys: Keys) -> None:
    file = model / "weights.bin"
    assert sign_model(file, private_key=keys.private) == model / "weights.bin.sig"
    assert verify_signature(file, public_key=keys.public).state is ProvenanceState.OK
    linked = model.parent / "linked.bin"
    linked.symlink_to(file)
    result = verify_signature(linked, signature_of(file), public_key=keys.public)
    assert result.state is ProvenanceState.OK
    tamper(model)
    result = verify_signature(file, public_key=keys.public)
    assert (result.state, result.changed) == (ProvenanceState.TAMPERED, ("weights.bin",))


def test_a_file_is_verified_with_the_folder_that_is_signed(model: Path, keys: Keys) -> None:
    sign_model(model, private_key=keys.private)
    file = model / "weights.bin"
    assert find_signature(file) == model / "model.sig"
    assert verify_signature(file, public_key=keys.public).state is ProvenanceState.OK
    (model / ".gitignore").touch()  # the signature leaves it out, so it says nothing of it
    result = verify_signature(model / ".gitignore", public_key=keys.public)
    assert result.state is ProvenanceState.UNSIGNED
    (model / "empty").unlink()
    assert verify_signature(file, public_key=keys.public).missing == ("empty",)


def test_the_wrong_key_is_told_from_a_tampered_model(model: Path, keys: Keys, others: Keys) -> None:
    sign_model(model, private_key=keys.private)
    for change in (None, tamper):
        if change:
            change(model)
        result = verify_signature(model, public_key=others.public)
        assert result.state is ProvenanceState.WRONG_KEY and not result.changed
    result = verify_signature(model, certificate_chain=[keys.root])
    assert result.state is ProvenanceState.WRONG_KEY and "signed with a key" in result.message


def test_certificates_that_do_not_vouch(model: Path, keys: Keys, others: Keys) -> None:
    certified = {"certificate": keys.leaf, "certificate_chain": [keys.root]}
    sign_model(model, private_key=keys.private, **certified)
    result = verify_signature(model, certificate_chain=[others.root])
    assert result.state is ProvenanceState.WRONG_KEY and "do not vouch" in result.message
    result = verify_signature(model, public_key=keys.public)
    assert result.state is ProvenanceState.WRONG_KEY and "a certificate" in result.message


def test_a_certificate_for_something_else_is_refused(model: Path, tmp_path: Path) -> None:
    wrong = make_keys(tmp_path / "k", for_signing=False)
    certified = {"certificate": wrong.leaf, "certificate_chain": [wrong.root]}
    with pytest.raises(InvalidRequestError, match="digital signature or code signing"):
        sign_model(model, private_key=wrong.private, **certified)
    # The library signs with it all the same, so a stranger can too.
    config = model_signing.signing.Config().use_certificate_signer(
        private_key=wrong.private, signing_certificate=wrong.leaf, certificate_chain=[wrong.root]
    )
    config.sign(model, tmp_path / "s.sig")
    result = verify_signature(model, tmp_path / "s.sig", certificate_chain=[wrong.root])
    assert result.state is ProvenanceState.WRONG_KEY and "not one for signing" in result.message


def test_unsigned(model: Path, keys: Keys) -> None:
    for path in (model, model / "weights.bin"):
        result = verify_signature(path, public_key=keys.public)
        assert result.state is ProvenanceState.UNSIGNED


def edit(signature: Path, change: Callable[[dict], object]) -> None:
    """Change the statement inside of a signature, and leave the signature as it is."""
    bundle = json.loads(signature.read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement)
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    bundle["dsseEnvelope"]["payload"] = payload
    signature.write_text(json.dumps(bundle))


def test_an_altered_statement_is_tampering(model: Path, keys: Keys) -> None:
    signature = sign_model(model, private_key=keys.private)
    (model / "planted").touch()

    def hide(statement: dict) -> None:
        statement["predicate"]["serialization"]["ignore_paths"].append("planted")

    edit(signature, hide)
    result = verify_signature(model, public_key=keys.public)
    assert (result.state, result.changed) == (ProvenanceState.TAMPERED, ("model.sig",))
    bundle = json.loads(signature.read_text())
    bundle["verificationMaterial"]["publicKey"] = {}  # as old signatures are
    signature.write_text(json.dumps(bundle))
    result = verify_signature(model, public_key=keys.public)
    assert result.state is ProvenanceState.WRONG_KEY


def with_field(path: str, value: object) -> Callable[[str], str]:
    def change(text: str) -> str:
        bundle = json.loads(text)
        *parents, last = path.split(".")
        place = bundle
        for parent in parents:
            place = place[parent]
        place[last] = value
        return json.dumps(bundle)

    return change


BAD_SIGNATURES: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "cut": lambda text: text[:-20],
    "deep": lambda text: "[" * 100_000,
    "other type": with_field("mediaType", "text/plain"),
    "no signature": with_field("dsseEnvelope.signatures", []),
    "no base64": with_field("dsseEnvelope.payload", "????"),
    "second payload": with_field("dsse_envelope", {}),
    "no JSON inside": with_field("dsseEnvelope.payload", base64.b64encode(b"x").decode()),
    "other statement": with_field(
        "dsseEnvelope.payload",
        base64.b64encode(b'{"predicateType": "https://slsa.dev/provenance/v1"}').decode(),
    ),
}


@pytest.mark.parametrize("name", BAD_SIGNATURES)
def test_a_damaged_signature_is_an_error_and_raises_nothing(
    name: str, model: Path, keys: Keys
) -> None:
    signature = sign_model(model, private_key=keys.private)
    signature.write_text(BAD_SIGNATURES[name](signature.read_text()))
    result = verify_signature(model, public_key=keys.public)
    assert result.state is ProvenanceState.ERROR
    assert "model.sig" in result.message and result.message.isprintable()


def test_the_signature_of_another_kind_of_model_is_an_error(model: Path, keys: Keys) -> None:
    folders = sign_model(model, private_key=keys.private)
    files = sign_model(model / "weights.bin", private_key=keys.private)
    for path, signature in ((model, files), (model / "weights.bin", folders)):
        result = verify_signature(path, signature, public_key=keys.public)
        assert result.state is ProvenanceState.ERROR and "it signs a" in result.message


@pytest.mark.parametrize("method", ["sha256", "blake2", "blake3", "shards"])
def test_what_the_library_signs_in_any_way_is_verified(
    method: str, model: Path, keys: Keys, tmp_path: Path
) -> None:
    how = model_signing.hashing.Config()
    if method == "shards":
        how.use_shard_serialization(shard_size=1000)
    else:
        how.use_file_serialization(hashing_algorithm=method)
    signature = tmp_path / "s.sig"
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys.private)
    config.set_hashing_config(how).sign(model, signature)
    result = verify_signature(model, signature, public_key=keys.public)
    assert result.state is ProvenanceState.OK
    assert ("empty" in result.unchecked) == (method == "shards")
    tamper(model)
    result = verify_signature(model, signature, public_key=keys.public)
    assert (result.state, result.changed) == (ProvenanceState.TAMPERED, ("weights.bin",))


def test_the_library_verifies_what_is_signed_here(model: Path, keys: Keys) -> None:
    signature = sign_model(model, private_key=keys.private)
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=keys.public)
    config.verify(model, signature)
    assert sign_model(model, private_key=keys.private) == signature  # again, in its place


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_other_curves(curve: ec.EllipticCurve, model: Path, tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys", curve=curve)
    sign_model(model, private_key=keys.private)
    assert verify_signature(model, public_key=keys.public).state is ProvenanceState.OK


def test_bad_requests(model: Path, keys: Keys, others: Keys, tmp_path: Path) -> None:
    sign_model(model, private_key=keys.private)
    garbage, missing = tmp_path / "garbage", tmp_path / "missing"
    garbage.write_text("garbage")
    encrypted, other_kind = tmp_path / "encrypted", tmp_path / "rsa"
    key = load_pem_private_key(keys.private.read_bytes(), None)
    encrypted.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    )
    other_curve = make_keys(tmp_path / "curve", curve=ec.SECP256K1()).public
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    other_kind.write_bytes(
        made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    for request, message in [
        ({}, "got neither"),
        ({"public_key": keys.public, "certificate_chain": [keys.root]}, "got both"),
        ({"public_key": missing}, "no such file"),
        ({"public_key": garbage}, "elliptic curve"),
        ({"public_key": keys.private}, "elliptic curve"),
        ({"public_key": other_kind}, "another kind"),
        ({"public_key": other_curve}, "secp256k1"),
        ({"certificate_chain": [missing]}, "no such file"),
        ({"certificate_chain": [garbage]}, "certificates in PEM"),
        ({"public_key": keys.public, "signature": missing}, "no such file"),
        ({"public_key": keys.public, "path": missing}, "No such file"),
    ]:
        with pytest.raises(MolehuntError, match=message) as caught:
            verify_signature(**{"path": model, **request})
        assert "\n" not in str(caught.value)
    certified = {"certificate": keys.leaf, "certificate_chain": [keys.root]}
    for request, message in [
        ({"private_key": missing}, "No such file"),
        ({"private_key": garbage}, "something else"),
        ({"private_key": encrypted}, "an encrypted one"),
        ({"private_key": keys.public}, "something else"),
        ({"private_key": others.private, **certified}, "is not the certificate of"),
        ({"private_key": keys.private, "certificate": keys.leaf}, "both or none"),
        ({"private_key": keys.private, "path": missing}, "No such file"),
    ]:
        with pytest.raises(MolehuntError, match=message) as caught:
            sign_model(**{"path": model, **request})
        assert "\n" not in str(caught.value)


def test_what_cannot_be_signed(model: Path, keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is no signature"):
        sign_model(model, private_key=keys.private, signature=model / "weights.bin")
    (model / "link").symlink_to("weights.bin")
    with pytest.raises(UnreadableFileError, match="links and devices are not signed: link"):
        sign_model(model, private_key=keys.private)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InvalidRequestError, match="no file to sign"):
        sign_model(tmp_path / "nothing", private_key=keys.private)


def test_without_the_extra_one_line_says_what_to_install(
    model: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_model(model, private_key=keys.private)
    monkeypatch.setitem(sys.modules, "OpenSSL.crypto", None)  # which the library forgets to need
    monkeypatch.delitem(sys.modules, "molehunt.provenance._openssf")
    with pytest.raises(MolehuntError, match=r'a signature needs the extra "sign": pip install'):
        verify_signature(model, public_key=keys.public)
    (model / "model.sig").unlink()
    result = verify_signature(model, public_key=keys.public)  # which takes no library
    assert result.state is ProvenanceState.UNSIGNED

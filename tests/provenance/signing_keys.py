"""Real keys and certificates, made for one test run."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

_BEGIN = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(2044, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Keys:
    """A key pair, its certificate, and the root that vouches for it."""

    private: Path
    public: Path
    leaf: Path
    root: Path


def make_keys(
    folder: Path, *, curve: ec.EllipticCurve | None = None, for_signing: bool = True
) -> Keys:
    folder.mkdir()
    key = ec.generate_private_key(curve or ec.SECP256R1())
    authority = ec.generate_private_key(ec.SECP256R1())
    root = _certificate("test root", authority, "test root", authority, is_root=True)
    leaf = _certificate("test signer", key, "test root", authority, for_signing=for_signing)
    keys = Keys(*(folder / name for name in ("key.pem", "key.pub", "leaf.pem", "root.pem")))
    keys.private.write_bytes(private_pem(key))
    keys.public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    keys.leaf.write_bytes(leaf.public_bytes(Encoding.PEM))
    keys.root.write_bytes(root.public_bytes(Encoding.PEM))
    return keys


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_root: bool = False,
    for_signing: bool = True,
) -> x509.Certificate:
    usage = dict.fromkeys(
        (
            "content_commitment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=for_signing and not is_root,
                key_encipherment=not for_signing,
                key_cert_sign=is_root,
                crl_sign=is_root,
                **usage,
            ),
            critical=True,
        )
        .sign(issuer_key, hashes.SHA256())
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

"""Keys and certificates in PEM, read with errors of our own. Needs the extra ``sign``."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from molehunt.errors import UnreadableFileError, mismatch
from molehunt.files import read_bytes

_LARGEST = 2**20  # bytes; a chain of certificates has a few thousand

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_ALLOWED = f"the PEM of an elliptic curve key ({', '.join(_CURVES.values())})"


def key_hint(public_key: Path) -> str:
    """Return the SHA-256 by which the format names a public key.

    Raises
    ------
    UnreadableFileError
        If it is no public key that the format knows.
    """
    try:
        key = load_pem_public_key(_content(public_key))
    except (ValueError, UnsupportedAlgorithm) as error:
        got = "something else"
        raise UnreadableFileError(mismatch(f"{public_key}: public key", _ALLOWED, got)) from error
    _check_curve(key, f"{public_key}: public key")
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def private_key_in(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return a private key that is not encrypted.

    Raises
    ------
    UnreadableFileError
        If it is missing, encrypted, or of a kind that the format does not know.
    """
    what = f"{path}: private key"
    try:
        key = load_pem_private_key(_content(path), None)
    except TypeError as error:
        raise UnreadableFileError(mismatch(what, _ALLOWED, "an encrypted one")) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnreadableFileError(mismatch(what, _ALLOWED, "something else")) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UnreadableFileError(mismatch(what, _ALLOWED, "another kind of key"))
    _check_curve(key.public_key(), what)
    return key


def certificates_in(path: Path) -> list[x509.Certificate]:
    """Return the certificates in a PEM file, at least one.

    Raises
    ------
    UnreadableFileError
        If there is none.
    """
    try:
        return x509.load_pem_x509_certificates(_content(path))
    except ValueError as error:
        got = "something else"
        raise UnreadableFileError(mismatch(str(path), "certificates in PEM", got)) from error


def may_sign(certificate: x509.Certificate) -> bool:
    """Return whether a certificate is for digital signatures or for signing code."""
    extensions = certificate.extensions
    with contextlib.suppress(x509.ExtensionNotFound):
        if extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return True
    with contextlib.suppress(x509.ExtensionNotFound):
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        return ExtendedKeyUsageOID.CODE_SIGNING in usage
    return False


def signing_certificate(content: bytes) -> x509.Certificate:
    """Return a certificate that came with a signature, in DER.

    Raises
    ------
    ValueError
        If it is none.
    """
    return x509.load_der_x509_certificate(content)


def _check_curve(key: object, what: str) -> None:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UnreadableFileError(mismatch(what, _ALLOWED, "another kind of key"))
    if key.curve.name not in _CURVES:
        raise UnreadableFileError(mismatch(what, _ALLOWED, f"curve {key.curve.name}"))


def _content(path: Path) -> bytes:
    return read_bytes(path, _LARGEST)

"""Signature files in the OpenSSF Model Signing format: what they state, before any trust.

A Sigstore bundle around a DSSE envelope around an in-toto statement, which lists the
digest of every file. Source: model-signing 1.1.1, ``model_signing/_signing/signing.py``.
"""

from __future__ import annotations

import base64
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from molehunt.errors import UnreadableFileError, from_validation
from molehunt.files import open_regular

THE_FILE = "."  # how the format names the only file of a single-file model
_BIGGEST_SIGNATURE = 64 * 2**20  # bytes; a line or two for every file


class SignedBy(StrEnum):
    """What a signature was made with."""

    KEY = "a key"
    CERTIFICATE = "a certificate"
    SIGSTORE = "Sigstore without a key, which only the network can verify"


def _decode(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("expected base64")
    content = base64.b64decode(text, validate=True)
    if base64.b64encode(content).decode() != text:
        raise ValueError("expected base64 in its only form")
    return content


# Strict, so that the library, which reads the file again, cannot read anything else in it.
_Base64 = Annotated[bytes, BeforeValidator(_decode)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, extra="forbid")


class _PublicKey(_Part):
    hint: str | None = None
    raw_bytes: object = None  # in old signatures; not used
    key_details: object = None


class _Certificate(_Part):
    raw_bytes: _Base64


class _Chain(_Part):
    certificates: Annotated[list[_Certificate], Field(min_length=1)]


class _Material(_Part):
    public_key: _PublicKey | None = None
    x509_certificate_chain: _Chain | None = None
    certificate: object = None  # of Sigstore; and these two
    tlog_entries: object = None
    timestamp_verification_data: object = None


class _Signature(_Part):
    sig: _Base64
    keyid: str = ""


class _Envelope(_Part):
    payload: _Base64
    payload_type: Literal["application/vnd.in-toto+json"]
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=1)]


class _Bundle(_Part):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verification_material: _Material
    dsse_envelope: _Envelope


class _Resource(BaseModel):
    name: str
    algorithm: str
    digest: str


class Hashing(BaseModel):
    """How the files were hashed, and which were left out."""

    method: Literal["files", "shards"]
    hash_type: Literal["sha256", "blake2b", "blake3"]
    shard_size: int | None = Field(default=None, ge=1)
    ignore_paths: list[str] = []


class _Predicate(BaseModel):
    serialization: Hashing
    resources: list[_Resource]


class _Statement(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    predicate_type: Literal["https://model_signing/signature/v1.0"]
    predicate: _Predicate


class Stated(BaseModel):
    """What a signature file states. Nothing of it is true until the signature is verified.

    Parameters
    ----------
    signed_by : SignedBy
    key_hint : str, optional
        SHA-256 of the PEM of the public key.
    certificate : bytes, optional
        The signing certificate, DER.
    serialization : Hashing
    digests : dict of str to str
        By name: a path relative to the folder, ``.`` for a single file, or ``path:start:end``
        for a shard; each digest after its algorithm and a colon.
    """

    signed_by: SignedBy
    key_hint: str | None
    certificate: bytes | None
    serialization: Hashing
    digests: dict[str, str]

    @property
    def of_one_file(self) -> bool:
        """Whether a file was signed, not a folder."""
        return bool(self.digests) and {self.path_of(name) for name in self.digests} == {THE_FILE}

    def path_of(self, name: str) -> str:
        """Return the file that an entry is about."""
        return name.rsplit(":", 2)[0] if self.serialization.method == "shards" else name


def read_signature(path: Path) -> Stated:
    """Read what a signature file states; its signature is not looked at.

    Raises
    ------
    UnreadableFileError
        If it is missing, or no signature of a model in version 1.0 of the format.
    """
    try:
        with open_regular(path) as stream:
            content = stream.read(_BIGGEST_SIGNATURE + 1)
        if len(content) > _BIGGEST_SIGNATURE:
            raise UnreadableFileError(f"{path}: no signature: larger than {_BIGGEST_SIGNATURE} B")
        bundle = _Bundle.model_validate(json.loads(content))
        statement = _Statement.model_validate(json.loads(bundle.dsse_envelope.payload))
    except OSError as error:
        raise UnreadableFileError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        message = str(from_validation(error, f"{path}: no model signature"))
        raise UnreadableFileError(message) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(f"{path}: no model signature: {error}") from error
    material = bundle.verification_material
    chain = material.x509_certificate_chain
    if material.public_key is not None:
        signed_by = SignedBy.KEY
    elif chain is not None:
        signed_by = SignedBy.CERTIFICATE
    else:
        signed_by = SignedBy.SIGSTORE
    predicate = statement.predicate
    return Stated(
        signed_by=signed_by,
        key_hint=material.public_key.hint if material.public_key else None,
        certificate=chain.certificates[0].raw_bytes if chain else None,
        serialization=predicate.serialization,
        digests={item.name: f"{item.algorithm}:{item.digest}" for item in predicate.resources},
    )

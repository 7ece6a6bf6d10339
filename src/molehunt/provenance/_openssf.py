"""Signing and verifying with the library model-signing. Needs the extra ``sign``.

Nothing here uses the network: keyless Sigstore, which would, is never asked for.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from model_signing import hashing, manifest, signing, verifying
from OpenSSL.crypto import X509StoreContextError

from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.provenance._bundle import THE_FILE, SignedBy, Stated
from molehunt.provenance._folder import list_folder, name_inside, what_to_do
from molehunt.provenance._keys import (
    certificates_in,
    key_hint,
    may_sign,
    private_key_in,
    signing_certificate,
)
from molehunt.provenance._result import (
    Provenance,
    ProvenanceState,
    count_of,
    differing,
)


class _UntrustedError(Exception):
    """Signed, but not by the one who was asked for."""


class _SignedFiles:
    """The files of a model, hashed as a signature says: the library's hashing configuration.

    The library asks for the hashes once the signature is verified, not before; so digests
    tell a bad model from a bad signature. Links are never followed.

    Attributes
    ----------
    digests : dict of str to str, or None
        As in `Stated.digests`, of what is there; None where it was not hashed.
    odd, unchecked : list of str
        What is no plain file; what the signature leaves out.
    """

    def __init__(self, stated: Stated, left_out: Iterable[str]) -> None:
        how = stated.serialization
        # The library cannot read these two of its own settings back.
        algorithm: Any = "blake2" if how.hash_type == "blake2b" else how.hash_type
        self._config = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
        if how.method == "shards":
            self._config.use_shard_serialization(
                hashing_algorithm=algorithm, shard_size=how.shard_size or 1_000_000_000
            )
        else:
            self._config.use_file_serialization(hashing_algorithm=algorithm)
        self._in_shards = how.method == "shards"
        self._left_out = set(left_out)
        self._ignored = [PurePosixPath(path) for path in how.ignore_paths]
        self.digests: dict[str, str] | None = None
        self.odd: list[str] = []
        self.unchecked: list[str] = []

    def add_ignored_paths(self, *, model_path: object, paths: object) -> None:
        """Do nothing: what is left out is known from the start."""

    def hash(self, model_path: Path, *, files_to_hash: object = None) -> manifest.Manifest:
        """Return the library's manifest of what is there."""
        if model_path.is_file():
            found = self._config.hash(model_path)
        else:
            files, odd = list_folder(model_path, links=False)
            names = [name for name in (*files, *odd) if name not in self._left_out]
            self.unchecked = [name for name in names if self._is_ignored(name)]
            if self._in_shards:  # an empty file has none, so the format says nothing of it
                self.unchecked += [n for n in files if files[n].stat().st_size == 0]
            skipped = self._left_out.union(self.unchecked)
            self.odd = [name for name in odd if name not in skipped]
            found = self._config.hash(
                model_path,
                files_to_hash=[place for name, place in files.items() if name not in skipped],
            )
        self.digests = {
            item.identifier: f"{item.digest.algorithm}:{item.digest.digest_hex}"
            for item in found.resource_descriptors()
        }
        return found

    def _is_ignored(self, name: str) -> bool:
        return any(PurePosixPath(name).is_relative_to(path) for path in self._ignored)


def verify(
    source: str,
    model: Path,
    signature: Path,
    stated: Stated,
    *,
    public_key: Path | None,
    certificate_chain: Sequence[Path],
) -> Provenance:
    """Return what the library finds, and why it does if it is not satisfied.

    Raises
    ------
    UnreadableFileError
        If the key or the certificates cannot be used.
    """
    for certificates in certificate_chain:
        certificates_in(certificates)
    hint = key_hint(public_key) if public_key else None
    files = _SignedFiles(stated, name_inside(model.resolve(), signature))
    signer = f"key {hint}"

    def result(state: ProvenanceState, message: str, changed: tuple[str, ...] = ()) -> Provenance:
        return Provenance(source, state, printable(message), changed=changed)

    try:
        _check_signer(stated, hint)
        if not stated.digests:
            raise ValueError("it states no file")
        if stated.of_one_file == model.is_dir():
            raise ValueError(f"it signs {'a single file' if stated.of_one_file else 'a folder'}")
        if public_key:
            config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
        else:
            signer = _subject_for_signing(stated)
            config = verifying.Config().use_certificate_verifier(
                certificate_chain=certificate_chain
            )
        config.set_hashing_config(cast(hashing.Config, files))
        with contextlib.redirect_stdout(io.StringIO()):  # the library prints warnings there
            config.verify(model.resolve(), signature)
    except _UntrustedError as error:
        return result(ProvenanceState.WRONG_KEY, str(error))
    except X509StoreContextError as error:
        message = f"the certificates at hand do not vouch for {signer}: {error}"
        return result(ProvenanceState.WRONG_KEY, message)
    except InvalidSignature:
        if public_key and stated.key_hint is None:  # an old signature, which names no key
            return result(ProvenanceState.WRONG_KEY, "not signed with this key")
        message = f"{signature.name} was altered: its signature does not fit what it states"
        return result(ProvenanceState.TAMPERED, message, (signature.name,))
    except Exception as error:  # the library raises what it likes on what strangers wrote
        tampered = _compare(source, model, stated, files) if files.digests is not None else None
        message = f"{signature}: cannot be verified: {error}"
        return tampered or result(ProvenanceState.ERROR, message)
    return _compare(source, model, stated, files) or Provenance(
        source,
        ProvenanceState.OK,
        f"{count_of(len({stated.path_of(name) for name in stated.digests}))} as signed",
        unchecked=tuple(sorted(files.unchecked)),
        signer=printable(signer),
    )


def _check_signer(stated: Stated, hint: str | None) -> None:
    """Refuse a signature that says itself that it was made with something else."""
    wanted = SignedBy.CERTIFICATE if hint is None else SignedBy.KEY
    if stated.signed_by is not wanted:
        raise _UntrustedError(f"signed with {stated.signed_by}, not with {wanted}")
    if hint is not None and stated.key_hint not in (hint, None):
        raise _UntrustedError(f"signed with the key {stated.key_hint}, not with {hint}")


def _subject_for_signing(stated: Stated) -> str:
    """Return whose the signing certificate is; refuse one that is not for signing."""
    certificate = signing_certificate(stated.certificate or b"")
    subject = certificate.subject.rfc4514_string()
    if not may_sign(certificate):
        raise _UntrustedError(f"the certificate of {subject} is not one for signing")
    return subject


def _compare(source: str, model: Path, stated: Stated, files: _SignedFiles) -> Provenance | None:
    """Return which files differ from what was signed; None if none does."""
    there = files.digests or {}

    def paths(names: set[str]) -> set[str]:
        found = {stated.path_of(name) for name in names}
        return {model.name if path == THE_FILE else path for path in found}

    listed, present = paths(set(stated.digests)), paths(set(there)) | set(files.odd)
    differ = {name for name, _ in stated.digests.items() ^ there.items()}
    changed = (paths(differ) | (listed & set(files.odd))) & listed & present
    if not (differ or files.odd):
        return None
    return differing(
        source,
        changed=changed,
        added=present - listed,
        missing=listed - present,
        unchecked=files.unchecked,
        advice=what_to_do(model, files.odd),
    )


def sign(
    path: Path,
    target: Path,
    *,
    private_key: Path,
    certificate: Path | None,
    certificate_chain: Sequence[Path],
    left_out: Sequence[str],
) -> None:
    """Let the library write a signature to `target`.

    Raises
    ------
    UnreadableFileError
        If the key or a certificate cannot be used.
    InvalidRequestError
        If the certificate is another key's, or not for signing.
    """
    key = private_key_in(private_key)
    if certificate is None:
        config = signing.Config().use_elliptic_key_signer(private_key=private_key)
    else:
        leaf = certificates_in(certificate)[0]
        for chained in certificate_chain:
            certificates_in(chained)
        if leaf.public_key() != key.public_key():
            raise InvalidRequestError(f"{certificate}: is not the certificate of {private_key}")
        if not may_sign(leaf):
            raise InvalidRequestError(
                mismatch(
                    f"{certificate}: key usage", "digital signature or code signing", "neither"
                )
            )
        config = signing.Config().use_certificate_signer(
            private_key=private_key,
            signing_certificate=certificate,
            certificate_chain=certificate_chain,
        )
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=left_out))
    config.sign(path, target)

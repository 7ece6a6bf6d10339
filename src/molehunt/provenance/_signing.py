"""Signatures of models in the OpenSSF Model Signing format, offline.

The library model-signing signs and verifies; it says only yes or no. Here a no is told
apart: tampered (and which files), another key, or no signature at all. Verifying goes on
what the signer vouches for; what came with the model is never a reason to raise.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from molehunt.errors import (
    InvalidRequestError,
    MolehuntError,
    OutputError,
    UnreadableFileError,
    mismatch,
    need_extra,
)
from molehunt.files import open_regular, write_text
from molehunt.provenance._bundle import read_signature
from molehunt.provenance._folder import (
    FOLDER_SIGNATURE,
    check_exists,
    is_file,
    list_folder,
    name_inside,
    what_to_do,
)
from molehunt.provenance._result import Provenance, ProvenanceState, name_some


def signature_of(path: Path) -> Path:
    """Return where a model's signature is written: ``model.sig`` in a folder, ``NAME.sig``."""
    return path / FOLDER_SIGNATURE if path.is_dir() else path.with_name(path.name + ".sig")


def find_signature(path: Path) -> Path | None:
    """Return the signature of a model: its own, else the one of the folder it lies in."""
    places = [signature_of(path)]
    if not path.is_dir():
        places.append(path.parent / FOLDER_SIGNATURE)
    return next((place for place in places if is_file(place)), None)


def sign_model(
    path: Path,
    *,
    private_key: Path,
    certificate: Path | None = None,
    certificate_chain: Sequence[Path] = (),
    signature: Path | None = None,
) -> Path:
    """Sign a file, or a folder with all that is in it but git's own files.

    Parameters
    ----------
    path : Path
    private_key : Path
        PEM, P-256, P-384 or P-521, not encrypted.
    certificate, certificate_chain : Path and sequence of Path, optional
        The key's certificate, and those that vouch for it, root included; all in PEM.
    signature : Path, optional
        Where to write; see `signature_of` when not given.

    Returns
    -------
    Path
        The signature file.

    Raises
    ------
    InvalidRequestError
        If certificate and key or chain do not go together, or there is nothing to sign.
    UnreadableFileError
        If the model, the key or a certificate cannot be read, or the folder holds links.
    OutputError
        If the signature cannot be written, or something else is in its place.
    """
    check_exists(path)
    if (certificate is None) == bool(certificate_chain):
        raise InvalidRequestError("a certificate and its chain go together: expected both or none")
    target = signature_of(path) if signature is None else signature
    if is_file(target):
        try:
            read_signature(target)
        except UnreadableFileError as error:
            raise OutputError(f"{target}: is there already and is no signature") from error
    real = path.resolve()
    left_out = name_inside(real, target)
    if real.is_dir():
        files, odd = list_folder(real, links=False)
        if odd:
            raise UnreadableFileError(
                f"{path}: links and devices are not signed: {name_some(odd)}; "
                f"{what_to_do(path, odd)}"
            )
        if not files.keys() - left_out:
            raise InvalidRequestError(f"{path}: there is no file to sign")
    library = _library()
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "signature")
        try:
            library.sign(
                real,
                written,
                private_key=private_key,
                certificate=certificate,
                certificate_chain=certificate_chain,
                left_out=sorted(left_out),
            )
        except MolehuntError:
            raise
        except Exception as error:  # the library raises what it likes
            raise UnreadableFileError(f"{path}: cannot be signed: {error}") from error
        write_text(target, written.read_text(encoding="utf-8"))
    return target


def verify_signature(
    path: Path,
    signature: Path | None = None,
    *,
    public_key: Path | None = None,
    certificate_chain: Sequence[Path] = (),
) -> Provenance:
    """Verify a model's signature with a key or certificates that are trusted.

    A file without a signature of its own is verified with the folder it lies in, if that
    is signed. Certificates are judged at the time from which the signing one is valid.

    Parameters
    ----------
    path : Path
    signature : Path, optional
        See `find_signature` when not given.
    public_key : Path, optional
        PEM. Either this or `certificate_chain`.
    certificate_chain : sequence of Path
        Certificates in PEM that are trusted; a root must be among them.

    Raises
    ------
    InvalidRequestError
        If both key and chain are given, or neither and the model is signed.
    UnreadableFileError
        If there is nothing at `path`, or a file that was asked for cannot be read.
    MissingExtraError
        If the extra is not installed.
    """
    allowed = "a public key or a certificate chain"
    if public_key and certificate_chain:
        raise InvalidRequestError(mismatch("verify with", allowed, "both"))
    check_exists(path)
    for place in (signature, public_key, *certificate_chain):
        if place is not None:
            if not os.path.lexists(place):
                raise UnreadableFileError(f"{place}: no such file")
            open_regular(place).close()
    place = signature or find_signature(path)
    if place is None:
        message = f"no {signature_of(path).name} beside it"
        return Provenance(str(path), ProvenanceState.UNSIGNED, message)
    if not (public_key or certificate_chain):
        raise InvalidRequestError(mismatch(f"verify {place} with", allowed, "neither"))
    library = _library()
    try:
        stated = read_signature(place)
    except UnreadableFileError as error:
        return Provenance(str(path), ProvenanceState.ERROR, str(error))
    own = signature is not None or path.is_dir() or place == signature_of(path)
    result: Provenance = library.verify(
        str(path),
        path if own else path.parent,
        place,
        stated,
        public_key=public_key,
        certificate_chain=certificate_chain,
    )
    if not own and result.state is ProvenanceState.OK and path.name in result.unchecked:
        message = f"{place} signs the folder and leaves this file out"
        return Provenance(str(path), ProvenanceState.UNSIGNED, message)
    return result


def _library() -> ModuleType:
    return need_extra("sign", "molehunt.provenance._openssf", "a signature")

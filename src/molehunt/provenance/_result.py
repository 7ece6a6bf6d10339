"""What is known of where a model comes from: one result for digests, manifests, signatures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from molehunt.errors import printable

_NAMED = 5  # files named in a message; the result lists them all


class ProvenanceState(StrEnum):
    """What comparing a model with what is stated of it came to."""

    OK = "ok"  # as stated, and by the one who was asked for
    TAMPERED = "tampered"  # something changed, was added or is missing
    WRONG_KEY = "wrong key"  # signed, but not by the key or certificate at hand
    UNSIGNED = "unsigned"  # nothing is stated, so nothing can be said
    ERROR = "error"  # could not be judged


@dataclass(frozen=True)
class Provenance:
    """The result of one check of a model's origin.

    Parameters
    ----------
    source : str
        The file or folder.
    state : ProvenanceState
    message : str
        One line for the reader.
    changed, added, missing : tuple of str
        Files that differ from what is stated: POSIX paths relative to the folder, sorted.
    unchecked : tuple of str
        Files that the statement itself leaves out, such as ``.git``; nothing is said of them.
    signer : str, optional
        Who signed: the certificate's subject, or the public key's SHA-256.
    """

    source: str
    state: ProvenanceState
    message: str
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    signer: str | None = None


def differing(
    source: str,
    *,
    changed: Iterable[str] = (),
    added: Iterable[str] = (),
    missing: Iterable[str] = (),
    unchecked: Iterable[str] = (),
    signer: str | None = None,
    advice: str = "",
) -> Provenance:
    """Return the result for a model that is not as stated, with the files named."""
    found = {"changed": sorted(changed), "added": sorted(added), "missing": sorted(missing)}
    parts = [f"{len(names)} {word}: {name_some(names)}" for word, names in found.items() if names]
    if advice:
        parts.append(f"links, pipes and devices count as changed or added: {advice}")
    return Provenance(
        source,
        ProvenanceState.TAMPERED,
        "; ".join(parts),
        changed=tuple(found["changed"]),
        added=tuple(found["added"]),
        missing=tuple(found["missing"]),
        unchecked=tuple(sorted(unchecked)),
        signer=signer,
    )


def name_some(names: Iterable[str]) -> str:
    """Return the first few names in one line that a terminal can print."""
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(printable(name) for name in listed[:_NAMED]) + more


def count_of(number: int, noun: str = "file") -> str:
    """Return ``1 file`` or ``2 files``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")

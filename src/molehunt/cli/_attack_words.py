"""What the attack commands read alike: what is revealed, and classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from molehunt.errors import InvalidRequestError, mismatch, printable

if TYPE_CHECKING:
    from molehunt.networks import Reveals


def reveals_of(text: str | None) -> Reveals | None:
    """Return what a flag says that the attacker sees, None where it says nothing."""
    from molehunt.networks import Reveals

    if text is not None and text not in [*Reveals]:
        raise InvalidRequestError(mismatch("`reveals`", ", ".join(Reveals), text))
    return None if text is None else Reveals(text)


def class_of(flag: str, text: str, names: Sequence[str]) -> int:
    """Return the class of a name or a number."""
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    some = printable(", ".join(names[:5]))
    allowed = f"a class of the model ({some}{', …' if len(names) > 5 else ''}) or its number"
    raise InvalidRequestError(mismatch(f"`{flag}`", allowed, repr(text)))

"""What the attack commands read alike: what is revealed, classes, outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.files import check_replaceable, make_folder

if TYPE_CHECKING:
    from molehunt.networks import Classifier, Reveals

_JSON_MARKS = (b"{", b'"molehunt"')


def check_json(json_file: Path | None) -> None:
    """Refuse a file for JSON that cannot be written, before the work."""
    if json_file is not None and str(json_file) != "-":
        make_folder(json_file.parent)
        check_replaceable(json_file, "the results of attacks (JSON)", _JSON_MARKS)


def reveals_of(text: str | None) -> Reveals | None:
    """Return what a flag says that the attacker sees, None where it says nothing."""
    from molehunt.networks import Reveals

    if text is not None and text not in [*Reveals]:
        raise InvalidRequestError(mismatch("`reveals`", ", ".join(Reveals), text))
    return None if text is None else Reveals(text)


def most_revealed(model: Classifier) -> Reveals:
    """Return the most that a model can reveal."""
    from molehunt.networks import Access, Reveals

    if model.answers.doubt:
        return Reveals.LABELS
    return Reveals.WEIGHTS if Access.GRADIENTS in model.gives else Reveals.CONFIDENCES


def class_of(flag: str, text: str, names: Sequence[str]) -> int:
    """Return the class of a name or a number."""
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    some = printable(", ".join(names[:5]))
    allowed = f"a class of the model ({some}{', …' if len(names) > 5 else ''}) or its number"
    raise InvalidRequestError(mismatch(f"`{flag}`", allowed, repr(text)))

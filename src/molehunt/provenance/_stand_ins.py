"""Stand-ins for the harmless classes that checkpoints hold beside their tensors.

torch's ``weights_only`` unpickler refuses a name that it does not know unless it is given
something to put in its place. It gets these: none of the classes themselves is imported, none
of their code runs, and what they would hold is dropped.
"""

from __future__ import annotations

from collections.abc import Callable

from molehunt.provenance._pickle_names import DICTS, HARMLESS, LISTS


class _Object:
    """Takes any arguments and any state, and keeps nothing."""

    def __new__(cls, *_arguments: object) -> _Object:
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        """Keep nothing."""

    def __setstate__(self, state: object) -> None:
        """Keep nothing."""


class _Dict:
    """Stands for classes of dicts; what it makes is a plain one, which torch fills."""

    def __new__(cls, *_arguments: object) -> dict[object, object]:  # type: ignore[misc]
        return {}


class _List:
    """Stands for classes of lists; what it makes is a plain one, which torch fills."""

    def __new__(cls, *_arguments: object) -> list[object]:  # type: ignore[misc]
        return []


def harmless_globals() -> list[Callable[..., object] | tuple[Callable[..., object], str]]:
    """Return the stand-ins, for ``torch.serialization.safe_globals``.

    They are for pickles that `inspect_serialization` called clean, and no others.

    Examples
    --------
    >>> import argparse, io, torch
    >>> stream = io.BytesIO()
    >>> torch.save({"args": argparse.Namespace(lr=0.1), "w": torch.ones(2)}, stream)
    >>> _ = stream.seek(0)
    >>> with torch.serialization.safe_globals(harmless_globals()):
    ...     torch.load(stream, weights_only=True)["w"]
    tensor([1., 1.])
    """
    kinds: tuple[tuple[Callable[..., object], set[str]], ...] = (
        (_Object, HARMLESS - DICTS - LISTS),  # torch has some of its own, which come first
        (_Dict, DICTS),
        (_List, LISTS),
    )
    return [(kind, name) for kind, names in kinds for name in sorted(names)]

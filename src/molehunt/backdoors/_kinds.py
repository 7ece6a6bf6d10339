"""Descriptions that say what they are, so that a table of settings is read back by its kind."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict

from molehunt.errors import mismatch, printable

_KINDS: dict[str, type[Described]] = {}


class Described(BaseModel):
    """Base of triggers and label maps: a frozen description, told apart by its `kind`.

    A class that gives `kind` a value is known from its definition on: plans, indices and
    `Backdoor` read it back by that name. Nothing else lists the classes there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Enter the class under its kind.

        Raises
        ------
        TypeError
            If another class has that kind.
        """
        super().__pydantic_init_subclass__(**kwargs)
        kind = cls.model_fields["kind"].default
        if isinstance(kind, str):
            known = _KINDS.setdefault(kind, cls)
            if not issubclass(cls, known):
                raise TypeError(mismatch(f"kind of {cls.__name__}", "one of its own", repr(kind)))

    @classmethod
    def kinds(cls) -> dict[str, type[Self]]:
        """Return the classes below this one by their kind."""
        return {kind: known for kind, known in _KINDS.items() if issubclass(known, cls)}


def by_kind(*bases: type[Described]) -> BeforeValidator:
    """Return what reads a table of settings as the class below `bases` that its kind names."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known: dict[str, type[Described]] = {}
        for base in bases:
            known |= base.kinds()
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in known:
            raise ValueError(mismatch("kind", ", ".join(known), printable(repr(kind), 80)))
        return known[kind].model_validate(value)

    return BeforeValidator(read)

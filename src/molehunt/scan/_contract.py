"""The input contract of a stranger's model: from its card, a TOML file and flags."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from molehunt.errors import (
    InvalidRequestError,
    UnreadableFileError,
    from_validation,
    refused,
)
from molehunt.networks import ModelCard


class StatedContract(BaseModel):
    """What a user states of a model; whatever is None was not stated.

    Parameters
    ----------
    architecture : str, optional
        ``torchvision:NAME``, ``package.module:Class`` (imported from the user's own
        environment) or a network of Molehunt; needed for files with weights only.
    arguments : dict
        Keyword settings of the architecture.
    input_shape : (channels, height, width), optional
    classes : int, optional
        Number of logits; `class_names` gives it too.
    value_range, mean, std, channel_order, class_names : optional
        As in `molehunt.networks.InputContract`; a single mean or std stands for all channels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    input_shape: tuple[int, int, int] | None = None
    classes: int | None = Field(default=None, ge=2, le=1_000_000)
    value_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channel_order: str | None = None
    class_names: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_number_of_classes(self) -> StatedContract:
        if self.classes and self.class_names and self.classes != len(self.class_names):
            raise ValueError(
                refused("classes", f"{len(self.class_names)}, as many as names", self.classes)
            )
        return self

    def over(self, other: StatedContract) -> StatedContract:
        """Return this contract with what it leaves open taken from `other`."""
        stated = self.model_dump(exclude_none=True, exclude_defaults=True)
        if "classes" in stated:  # names of another number of classes would contradict it
            other = other.model_copy(update={"class_names": None})
        return StatedContract.model_validate(
            {**other.model_dump(exclude_none=True, exclude_defaults=True), **stated}
        )

    def card(self, own: ModelCard | None = None, architecture: str | None = None) -> ModelCard:
        """Return the full card: what is stated, else what the model's `own` card says.

        Parameters
        ----------
        own : ModelCard, optional
        architecture : str, optional
            What to call the network where nothing was stated.

        Raises
        ------
        InvalidRequestError
            Naming everything that is missing or impossible, and how to give it.
        """
        fields = own.model_dump() if own else {}
        stated = self.model_dump(exclude_none=True, exclude_defaults=True)
        classes = stated.pop("classes", None)
        if not fields.get("architecture") and not architecture and "architecture" not in stated:
            raise InvalidRequestError(
                "architecture: expected one for a file of weights (--arch torchvision:resnet18 or "
                "--arch package.module:Class), got none"
            )
        if classes and len(fields.get("class_names", ())) != classes:
            fields["class_names"] = tuple(str(number) for number in range(classes))
        fields.update(stated)
        fields.setdefault("architecture", architecture)
        missing = [f"{name} ({flag})" for name, flag in _FLAGS.items() if fields.get(name) is None]
        if missing:
            raise InvalidRequestError(
                "input contract: expected a card in the file, --contract FILE or flags; "
                f"missing {', '.join(missing)}"
            )
        channels = fields["input_shape"][0]
        for name in ("mean", "std"):
            if len(fields[name]) == 1:
                fields[name] = tuple(fields[name]) * channels
        try:
            return ModelCard.model_validate(fields)
        except ValidationError as error:
            raise from_validation(error, "input contract") from error


_FLAGS = {
    "input_shape": "--input-shape 3x224x224",
    "class_names": "--classes 10",
    "mean": "--mean 0.485,0.456,0.406",
    "std": "--std 0.229,0.224,0.225",
}


def read_contract(path: Path) -> StatedContract:
    """Read a contract from a TOML file.

    Raises
    ------
    UnreadableFileError
        If the file is missing or not TOML.
    InvalidRequestError
        If a field is unknown or impossible; the message names it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = " ".join(str(error).split())
        raise UnreadableFileError(f"{path}: not a readable contract: {message}") from error
    return stated(str(path), content)


def stated(where: str, content: dict[str, Any]) -> StatedContract:
    """Return a contract from raw values.

    Raises
    ------
    InvalidRequestError
        If a field is unknown or impossible; the message names it and `where`.
    """
    try:
        return StatedContract.model_validate(content)
    except ValidationError as error:
        raise from_validation(error, where) from error


def numbers(flag: str, text: str, kind: type[int] | type[float] = float) -> Sequence[Any]:
    """Return the numbers of a flag such as ``3x224x224`` or ``0.1,0.2,0.3``.

    Raises
    ------
    InvalidRequestError
    """
    separator = "x" if kind is int else ","
    try:
        return tuple(kind(part) for part in text.split(separator))
    except ValueError as error:
        allowed = f"{'whole ' if kind is int else ''}numbers with {separator!r} between them"
        raise InvalidRequestError(refused(flag, allowed, repr(text))) from error

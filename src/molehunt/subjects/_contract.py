"""The input contract of a stranger's model: from its card, a TOML file and flags."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from molehunt.errors import (
    InvalidRequestError,
    UnreadableFileError,
    from_validation,
    mismatch,
    printable,
)
from molehunt.files import read_bytes
from molehunt.networks import ModelCard
from molehunt.subjects._claims import check_claims

_LARGEST_FILE = 2**22  # bytes; a contract names a few thousand classes


class StatedContract(BaseModel):
    """What a user states of a model; whatever is None was not stated.

    Parameters
    ----------
    architecture : str, optional
        ``torchvision:NAME``, ``timm:NAME``, ``package.module:Class`` (imported from the user's
        own environment or the current folder) or a network of Molehunt; needed for files with
        weights only.
    arguments : dict
        Keyword settings of the architecture.
    input_shape : (channels, height, width), optional
    classes : int, optional
        Number of outputs; `class_names` gives it too. A single one decides between two classes.
    value_range, mean, std, channel_order, class_names : optional
        As in `molehunt.networks.InputContract`; a single mean or std stands for all channels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    input_shape: tuple[int, int, int] | None = None
    classes: int | None = Field(default=None, ge=1, le=1_000_000)
    value_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channel_order: str | None = None
    class_names: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_number_of_classes(self) -> StatedContract:
        if self.classes and self.class_names and len(self.class_names) != max(self.classes, 2):
            raise ValueError(
                mismatch("classes", f"{len(self.class_names)}, as many as names", self.classes)
            )
        return self

    def over(self, other: StatedContract) -> StatedContract:
        """Return this contract with what it leaves open taken from `other`."""
        stated = self.model_dump(exclude_none=True, exclude_defaults=True)
        rest = other.model_dump(exclude_none=True, exclude_defaults=True)
        count = max(self.classes, 2) if self.classes else len(self.class_names or ())
        # What the other says of another number of classes would contradict it.
        if count and len(rest.get("class_names", ())) not in (0, count):
            del rest["class_names"]
        if count and max(rest.get("classes", count), 2) != count:
            del rest["classes"]
        return StatedContract.model_validate({**rest, **stated})

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
                "architecture: expected one for a file of weights (`architecture` "
                "torchvision:resnet18, timm:resnet18 or package.module:Class), got none"
            )
        if classes and len(fields.get("class_names", ())) != max(classes, 2):
            fields["class_names"] = tuple(str(number) for number in range(max(classes, 2)))
        fields.update(stated)
        fields.setdefault("architecture", architecture)
        missing = [
            f"{name} ({example})" for name, example in _EXAMPLES.items() if fields.get(name) is None
        ]
        if missing:
            raise InvalidRequestError(
                "input contract: expected a card in the file, or `contract`; "
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


_EXAMPLES = {
    "input_shape": "`input_shape` 3x224x224",
    "class_names": "`classes` 10",
    "mean": "`mean` 0.485,0.456,0.406",
    "std": "`std` 0.229,0.224,0.225",
}


def read_contract(path: Path, given: StatedContract | None = None) -> StatedContract:
    """Read a contract from a TOML file, under what the user stated otherwise.

    A file may come from whoever made the model: it may name architectures of Molehunt,
    torchvision and timm, and no code.

    Parameters
    ----------
    path : Path
    given : StatedContract, optional
        Goes before the file.

    Raises
    ------
    UnreadableFileError
        If the file is missing or not TOML.
    InvalidRequestError
        If a field is unknown or impossible, or asks for code; the message names it.
    """
    try:
        content = tomllib.loads(read_bytes(path, _LARGEST_FILE).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        message = printable(" ".join(str(error).split()), 200)
        raise UnreadableFileError(f"{path}: not a readable contract: {message}") from error
    return over_claim(given or StatedContract(), parse_contract(str(path), content), str(path))


def over_claim(given: StatedContract, claim: StatedContract, where: str) -> StatedContract:
    """Return a contract with what it leaves open taken from what a file says.

    Raises
    ------
    InvalidRequestError
        If what is taken asks for code, or for work without measure.
    """
    if given.architecture is not None:
        claim = claim.model_copy(update={"architecture": None})
    check_claims(
        where,
        architecture=claim.architecture,
        arguments=claim.arguments,
        input_shape=None if given.input_shape else claim.input_shape,
        class_names=claim.class_names,
    )
    return given.over(claim)


def parse_contract(where: str, content: dict[str, Any]) -> StatedContract:
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

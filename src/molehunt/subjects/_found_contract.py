"""The input contract where nobody states it: in files beside the model, in libraries.

Hugging Face's ``config.json`` and ``preprocessor_config.json``, timm's ``config.json``, and
what torchvision's and timm's own weights take. All of it is a claim: it comes after what the
user states, and a scan says what was taken from where.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molehunt.errors import MolehuntError, need_extra
from molehunt.files import read_bytes
from molehunt.subjects._checkpoints import Node
from molehunt.subjects._contract import StatedContract, over_claim, parse_contract
from molehunt.subjects._head import count_classes

_LARGEST = 2**22  # bytes
_PIXELS = ("value_range", "mean", "std")
_BY_USER = "stated by you"


@dataclass(frozen=True)
class Claim:
    """What someone says of a model, and who."""

    contract: StatedContract
    where: str


# Given what is known so far, what someone says.
Source = Callable[[StatedContract], Iterator[Claim]]


def complete(
    contract: StatedContract, sources: Sequence[Source], *, needs_network: bool = True
) -> tuple[StatedContract, str]:
    """Return a contract with what it leaves open taken from others, and who says what.

    Sources are asked in order while something is open. Value range, mean and std belong
    together, and so do architecture and arguments: where one is stated, the others are not
    taken from elsewhere.

    Raises
    ------
    InvalidRequestError
        If a claim asks for code or for work without measure.

    Examples
    --------
    >>> claim = Claim(StatedContract(mean=(0.5,), std=(0.5,)), "found in config.json")
    >>> complete(StatedContract(classes=10), [lambda _: iter([claim])])[1]
    'stated by you; mean, std found in config.json'
    """
    said = [_BY_USER] if contract != StatedContract() else []
    for source in sources:
        if not _is_open(contract, needs_network):
            break
        for claim in source(contract):
            before = contract.model_fields_set
            contract = over_claim(contract, _offer(claim.contract, contract), claim.where)
            taken = [
                name
                for name in StatedContract.model_fields
                if name in contract.model_fields_set - before
            ]
            if taken:
                said.append(f"{', '.join(taken)} {claim.where}")
    return contract, "; ".join(said) or _BY_USER


def _is_open(contract: StatedContract, needs_network: bool) -> bool:
    needed: list[object] = [contract.input_shape, contract.mean, contract.std]
    needed += [contract.architecture] if needs_network else []
    return None in needed or not (contract.classes or contract.class_names)


def _offer(claim: StatedContract, contract: StatedContract) -> StatedContract:
    """Return a claim without what belongs to something that is stated."""
    dropped: dict[str, Any] = {}
    if any(getattr(contract, name) is not None for name in _PIXELS):
        dropped |= dict.fromkeys(_PIXELS)
    if contract.architecture is not None:
        dropped |= {"architecture": None, "arguments": {}}
    return claim.model_copy(update=dropped)


def claims_beside(folder: Path | None) -> Iterator[Claim]:
    """Yield what small files in the model's folder say; what cannot be read says nothing."""
    if folder is None:
        return
    config = _read_json(folder / "config.json")
    images = _read_json(folder / "preprocessor_config.json")
    for name, content, read in (
        ("preprocessor_config.json", images, _read_preprocessor),
        ("config.json", config, _read_config),
    ):
        if content is None:
            continue
        claim = _claim(f"found in {name}", read, content, config or {})
        if claim is not None:
            yield claim


Reader = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


def _claim(
    where: str, read: Reader, content: Mapping[str, Any], config: Mapping[str, Any]
) -> Claim | None:
    try:
        fields = {name: value for name, value in read(content, config).items() if value}
        return Claim(parse_contract(where, fields), where) if fields else None
    except (MolehuntError, TypeError, ValueError, KeyError, AttributeError):
        return None  # of another kind than is known here


def _read_json(path: Path) -> Mapping[str, Any] | None:
    try:
        content = json.loads(read_bytes(path, _LARGEST))
    except (MolehuntError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _read_config(config: Mapping[str, Any], _: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a ``config.json`` of transformers or timm says."""
    own = config.get("pretrained_cfg", config)
    names = config.get("label_names") or own.get("label_names") or _labels(config.get("id2label"))
    fields: dict[str, Any] = {
        "class_names": tuple(names or ()),
        "input_shape": own.get("input_size") or _square(config.get("image_size"), config),
        "mean": own.get("mean"),
        "std": own.get("std"),
    }
    if not names:
        fields["classes"] = config.get("num_classes") or config.get("num_labels")
    if isinstance(config.get("architecture"), str):
        fields["architecture"] = f"timm:{config['architecture']}"
        fields["arguments"] = config.get("model_args")
    return fields


def _labels(names: Mapping[str, str] | None) -> list[str]:
    """Return the names of classes 0 to n in order."""
    numbered = {int(number): name for number, name in (names or {}).items()}
    return [numbered[number] for number in range(len(numbered))]


def _square(size: Any, config: Mapping[str, Any]) -> tuple[int, int, int] | None:
    channels = config.get("num_channels", 3)
    if isinstance(size, int):
        return channels, size, size
    return (channels, *size) if isinstance(size, list) and len(size) == 2 else None


def _read_preprocessor(images: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a ``preprocessor_config.json`` of transformers says of pixels."""
    fields: dict[str, Any] = {}
    size = images.get("crop_size") if images.get("do_center_crop", True) else None
    size = size or images.get("size")
    if isinstance(size, dict):
        edge = size.get("shortest_edge")
        size = [size.get("height", edge), size.get("width", edge)]
    fields["input_shape"] = _square(size, config)
    if "image_mean" not in images and "do_normalize" not in images:
        return fields
    normalised = images.get("do_normalize", True)
    fields["mean"] = images["image_mean"] if normalised else (0.0,)
    fields["std"] = images["image_std"] if normalised else (1.0,)
    factor = images.get("rescale_factor", 1 / 255) if images.get("do_rescale", True) else 1.0
    high = 255 * factor
    # 1/255 was rounded when it was written.
    fields["value_range"] = (0.0, 1.0 if abs(high - 1) < 1e-6 else high)
    if images.get("do_flip_channel_order"):
        fields["channel_order"] = "bgr"
    return fields


def claims_of_library(contract: StatedContract) -> Iterator[Claim]:
    """Yield what the default weights of a library's architecture take.

    They say nothing of a model that takes images of another shape.

    Raises
    ------
    MissingExtraError
        If the architecture is timm's, and timm is not installed.
    """
    library, _, name = (contract.architecture or "").partition(":")
    if library == "torchvision":
        from torchvision import models  # noqa: PLC0415  heavy

        if name not in models.list_models(models):
            return
        images = models.get_model_weights(name).DEFAULT.transforms()
        size, mean, std = (3, *2 * images.crop_size), images.mean, images.std
    elif library == "timm":
        timm = need_extra("timm", "timm", f"architecture {contract.architecture}")
        found = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
        if found is None:
            return
        size, mean, std = found.input_size, found.mean, found.std
    else:
        return
    if contract.input_shape in (None, tuple(size)):
        fields = {"input_shape": tuple(size), "mean": tuple(mean), "std": tuple(std)}
        where = f"as {library}'s own weights of {name} take them"
        yield Claim(parse_contract(where, fields), where)


def claims_of_head(contract: StatedContract, tensors: Node) -> Iterator[Claim]:
    """Yield how many classes the last layer has, and ImageNet's names for its thousand.

    Raises
    ------
    InvalidRequestError
        If the architecture cannot be built.
    """
    architecture = contract.architecture
    if architecture is None or contract.input_shape is None:
        return
    if contract.classes or contract.class_names:
        return
    count = count_classes(tensors, architecture, contract.arguments, contract.input_shape)
    if count is None:
        return
    library, _, name = architecture.partition(":")
    names: Sequence[str] = ()
    if library == "torchvision":
        from torchvision import models  # noqa: PLC0415  heavy

        meta = models.get_model_weights(name).DEFAULT.meta
        names = meta.get("categories", ())
    fields = {"class_names": tuple(names)} if len(names) == count else {"classes": count}
    where = f"as the last layer says ({count})"
    yield Claim(parse_contract(where, fields), where)


def name_of_transformer(folder: Path | None) -> str | None:
    """Return the class of transformers that a folder's ``config.json`` names, for a hint."""
    config = _read_json(folder / "config.json") if folder is not None else None
    names = (config or {}).get("architectures")
    if isinstance(names, list) and names and isinstance(names[0], str):
        return names[0]
    return None

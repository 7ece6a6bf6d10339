"""Subjects from weights alone: a state_dict, and an architecture that the user names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, UnreadableFileError, refused
from molehunt.networks import Classifier, ModelCard, build_network

# Where frameworks put a network's weights in a checkpoint, and what wrappers prefix.
_PLACES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
_PREFIXES = ("_orig_mod.", "module.", "model.", "network.", "net.")


def open_weights(path: Path, card: ModelCard, *, safetensors: bool) -> Classifier:
    """Load weights into the architecture of `card`. Nothing in the file is executed.

    Raises
    ------
    UnreadableFileError
        If the file holds no weights, or not those of the architecture.
    InvalidRequestError
        If the architecture cannot be built.
    """
    tensors = load_file(path) if safetensors else _loaded(path)
    model = Classifier(_fitting(card, tensors, path), card)
    # A stranger's own class may do what cannot be vectorised over weights.
    model.stackable = _is_known(card.architecture)
    return model.frozen()


def _loaded(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``torch.save`` file, mapped from disk where its format allows."""
    try:
        content = _torch_load(path)
    except Exception as error:  # torch raises anything from KeyError to RuntimeError here
        message = " ".join(str(error).split())
        raise UnreadableFileError(f"{path}: torch cannot load it: {message:.200}") from error
    return _tensors_in(content, path)


def _torch_load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # the legacy format


def _tensors_in(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the state_dict in a checkpoint, wherever frameworks put it."""
    if isinstance(content, Mapping):
        for place in _PLACES:
            inside = content.get(place)
            if isinstance(inside, Mapping):
                return _tensors_in(inside, path)
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    got = type(content).__name__
    if isinstance(content, Mapping):
        got = f"a dict of {', '.join(map(str, list(content)[:5])) or 'nothing'}"
    raise UnreadableFileError(refused(f"{path}: checkpoint", "a state_dict of tensors", got))


def _fitting(card: ModelCard, tensors: dict[str, Tensor], path: Path) -> nn.Module:
    """Return the card's network with the weights in it."""
    network = _built(card, on_meta=True)
    wanted = set(network.state_dict())
    named = _without_prefix(tensors, wanted)
    missing, foreign = sorted(wanted - set(named)), sorted(set(named) - wanted)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or foreign:
        raise UnreadableFileError(
            f"{path}: not the weights of {card.architecture}: "
            f"missing {_some(missing)}; not in the architecture {_some(foreign)}"
        )
    # Half precision is for storage; detectors compute in float32.
    named = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in named.items()
    }
    try:
        network.load_state_dict(named, strict=False, assign=True)
        if _has_meta(network):
            network = _built(card, on_meta=False)
            network.load_state_dict(named, strict=False, assign=True)
    except RuntimeError as error:
        message = " ".join(str(error).split())
        raise UnreadableFileError(
            f"{path}: not the weights of {card.architecture}: {message:.300}"
        ) from error
    return network


def _has_meta(network: nn.Module) -> bool:
    return any(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "nothing") + more


def _without_prefix(tensors: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Take off what wrappers (parallel, compiled, lightning) put before every name."""
    for prefix in _PREFIXES:
        if not wanted & set(tensors) and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _is_known(architecture: str) -> bool:
    """Tell our own and torchvision's architectures from ``package.module:Class``."""
    return ":" not in architecture or architecture.startswith("torchvision:")


def _built(card: ModelCard, *, on_meta: bool) -> nn.Module:
    """Build the network; on the meta device its storage is not allocated twice."""
    device = "meta" if on_meta else "cpu"
    if _is_known(card.architecture):
        with torch.device(device):
            return build_network(
                card.architecture,
                input_shape=card.input_shape,
                num_classes=card.num_classes,
                arguments=card.arguments,
            )
    made = _imported(card.architecture)
    arguments = dict(card.arguments)
    if "num_classes" in inspect.signature(made).parameters:
        arguments.setdefault("num_classes", card.num_classes)
    try:
        with torch.device(device):
            network = made(**arguments)
    except Exception as error:  # the user's own class may raise anything
        if on_meta:
            return _built(card, on_meta=False)
        raise InvalidRequestError(
            f"architecture {card.architecture}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(network, nn.Module):
        got = type(network).__name__
        raise InvalidRequestError(
            refused(f"architecture {card.architecture}", "a torch.nn.Module", got)
        )
    return network


def _imported(name: str) -> Any:
    """Import ``package.module:Class`` from the user's environment."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidRequestError(
            refused("architecture", "torchvision:NAME or package.module:Class", f"{name}: {error}")
        ) from error

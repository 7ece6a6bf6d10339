"""Networks by name: ours, torchvision's, timm's, and classes of the user's own."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from molehunt.errors import InvalidRequestError, MolehuntError, mismatch, need_extra, printable
from molehunt.networks import bounded_building, build_network

_TORCHVISION, _TIMM = "torchvision:", "timm:"
ALLOWED = "torchvision:NAME or package.module:Class (or timm:NAME, or a network of Molehunt)"
# How people call the number of classes of a network.
_CLASSES = (
    *("num_classes", "n_classes", "nb_classes", "number_of_classes", "classes", "num_class"),
    *("n_class", "class_num", "num_labels", "n_labels", "num_outputs", "n_outputs", "num_targets"),
)
# What would make timm load another file, or ask the network.
_OF_FILES = {"pretrained", "checkpoint_path", "cache_dir", "pretrained_cfg"}
# Modules and tensors of one network, of which the largest that torchvision has take 3,000;
# numbers without a bound: on the meta device they cost nothing.
_MOST_PARTS, _MOST_NUMBERS = 50_000, 2**62


@dataclass(frozen=True)
class Built:
    """A network with fresh weights.

    Parameters
    ----------
    network : nn.Module
    knows_classes : bool
        Whether it took the number of classes.
    """

    network: nn.Module
    knows_classes: bool = True


def is_imported(architecture: str) -> bool:
    """Tell ``package.module:Class`` from the names that run no code but installed libraries'."""
    return ":" in architecture and not architecture.startswith((_TORCHVISION, _TIMM))


def is_stackable(architecture: str) -> bool:
    """Tell networks that run vectorised over their weights: ours and torchvision's."""
    return ":" not in architecture or architecture.startswith(_TORCHVISION)


def build_architecture(
    name: str,
    arguments: Mapping[str, Any],
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    on_meta: bool,
) -> Built:
    """Build a network; on the meta device it has shapes and no storage.

    Raises
    ------
    InvalidRequestError
        If there is no such network, it refuses its arguments, or it has too many parts.
    MissingExtraError
        If it is one of timm's, and timm is not installed.
    """
    if is_imported(name):
        made = _import(name)
        try:
            return _call(made, name, arguments, classes, on_meta)
        except MolehuntError:
            raise
        except Exception as error:  # the user's own class may raise anything
            if on_meta:
                return build_architecture(name, arguments, input_shape, classes, on_meta=False)
            raise InvalidRequestError(_describe_failure(name, error)) from error
    with _device(on_meta), bounded_building(_MOST_PARTS, _MOST_NUMBERS):
        try:
            if name.startswith(_TIMM):
                return Built(_build_timm(name, arguments, input_shape[0], classes))
            return Built(
                build_network(
                    name, input_shape=input_shape, num_classes=classes, arguments=arguments
                )
            )
        except MolehuntError:
            raise
        except Exception as error:  # sizes that torch cannot count, settings of any type
            raise InvalidRequestError(_describe_failure(name, error)) from error


def _device(on_meta: bool) -> torch.device:
    return torch.device("meta" if on_meta else "cpu")


def _describe_failure(name: str, error: Exception) -> str:
    message = printable(" ".join(str(error).split()), 300)
    return f"architecture {printable(name, 80)}: {type(error).__name__}: {message}"


def _build_timm(name: str, arguments: Mapping[str, Any], channels: int, classes: int) -> nn.Module:
    timm = need_extra("timm", "timm", f"architecture {printable(name, 80)}")
    short = name.removeprefix(_TIMM)
    if not timm.is_model(short):
        raise InvalidRequestError(
            mismatch("timm's architecture", "a name of timm.list_models()", printable(short, 80))
        )
    denied = sorted(_OF_FILES & set(arguments))
    if denied:
        raise InvalidRequestError(
            mismatch(f"arguments of {name}", "settings of the network", ", ".join(denied))
        )
    given = dict(arguments)
    if channels != 3:
        given.setdefault("in_chans", channels)
    network: nn.Module = timm.create_model(short, pretrained=False, num_classes=classes, **given)
    return network


def _import(name: str) -> Callable[..., Any]:
    """Import ``package.module:Class`` from the user's environment or the current folder."""
    module, _, attribute = name.partition(":")
    try:
        with _current_folder_importable():
            found = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # the user's own module may raise anything
        got = f"{printable(name, 80)}: {printable(' '.join(str(error).split()), 200)}"
        allowed = f"{ALLOWED} that can be imported from here or from the current folder"
        raise InvalidRequestError(mismatch("architecture", allowed, got)) from error
    is_network = inspect.isclass(found) and issubclass(found, nn.Module)
    home = getattr(found, "__module__", None) or ""
    is_factory = inspect.isfunction(found) and (home == module or home.startswith(f"{module}."))
    if not is_network and not is_factory:
        allowed = f"a subclass of torch.nn.Module, or a function that {module} defines"
        got = f"{type(found).__name__} of {home or 'no module'}"
        raise InvalidRequestError(mismatch(f"architecture {name}", allowed, got))
    made: Callable[..., Any] = found
    return made


@contextlib.contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Let modules of the current folder be found, after all others, and only here."""
    folder = str(Path.cwd())
    if folder in sys.path:
        yield
        return
    importlib.invalidate_caches()
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _call(
    made: Callable[..., Any], name: str, arguments: Mapping[str, Any], classes: int, on_meta: bool
) -> Built:
    """Call a class or factory, with the number of classes where it takes one."""
    parameters = inspect.signature(made).parameters
    stated = any(each in arguments for each in _CLASSES)
    known = next((each for each in _CLASSES if each in parameters), None)
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    given, knows = dict(arguments), stated
    if not stated and (known or open_ended):
        given[known or "num_classes"] = classes
        knows = True
    with _device(on_meta), bounded_building(_MOST_PARTS, _MOST_NUMBERS):
        try:
            network = made(**given)
        except Exception as error:  # the usual one is TypeError
            if stated or known or not open_ended or isinstance(error, MolehuntError):
                raise
            knows, network = False, made(**arguments)
    if not isinstance(network, nn.Module):
        got = type(network).__name__
        raise InvalidRequestError(mismatch(f"architecture {name}", "a torch.nn.Module", got))
    return Built(network, knows)

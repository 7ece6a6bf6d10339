"""Architectures by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.images import ImageSet
from molehunt.networks._badnets import BadNetsMnist
from molehunt.networks._bounded import bounded_building
from molehunt.networks._boxes import Boxes
from molehunt.networks._classifier import Classifier, ModelCard
from molehunt.networks._lenet import LeNet
from molehunt.networks._mlp import Mlp
from molehunt.networks._rbf import Rbf
from molehunt.networks._resnet import ResNet
from molehunt.networks._strided import Strided
from molehunt.networks._vgg import StnVgg, Vgg
from molehunt.networks._zf import Zf

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "badnets-mnist": BadNetsMnist,
    "boxes": Boxes,
    "lenet": LeNet,
    "mlp": Mlp,
    "vgg": Vgg,
    "stn-vgg": StnVgg,
    "rbf": Rbf,
    "resnet": ResNet,
    "strided": Strided,
    "zf": Zf,
}
_OBLONG = ("boxes", "mlp", "rbf")  # take images that are not square
_TORCHVISION = "torchvision:"


def build_network(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    num_classes: int,
    arguments: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> nn.Module:
    """Build an architecture with fresh weights.

    Parameters
    ----------
    name : str
        One of `NETWORKS`, or ``torchvision:NAME`` for a classifier of torchvision
        (three channels; no weights are downloaded).
    input_shape : (channels, height, width)
        Of the images; square ones for our own architectures.
    num_classes : int
        Number of logits.
    arguments : mapping, optional
        Keyword settings of the architecture.
    seed : int, optional
        Seeds the initial weights; the global generator is left as it was.

    Raises
    ------
    InvalidRequestError
        For an unknown name, settings that the architecture refuses, or ones that make it
        larger than `bounded_building` allows.

    Examples
    --------
    >>> network = build_network("vgg", input_shape=(1, 28, 28), num_classes=10, seed=0)
    >>> network(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    channels, height, width = input_shape
    given = dict(arguments or {})
    with torch.random.fork_rng(devices=[], enabled=seed is not None), bounded_building():
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        try:
            if name.startswith(_TORCHVISION):
                if channels != 3:
                    raise InvalidRequestError(mismatch(f"channels for {name}", 3, channels))
                import torchvision  # noqa: PLC0415  heavy

                known = torchvision.models.list_models(module=torchvision.models)
                short = name.removeprefix(_TORCHVISION)
                if short not in known:
                    raise InvalidRequestError(
                        mismatch(
                            "torchvision classifier", ", ".join(known), printable(repr(short), 80)
                        )
                    )
                network: nn.Module = torchvision.models.get_model(
                    short, weights=None, num_classes=num_classes, **given
                )
                return network
            if name not in NETWORKS:
                allowed = ", ".join([*NETWORKS, f"{_TORCHVISION}NAME"])
                raise InvalidRequestError(mismatch("network", allowed, printable(repr(name), 80)))
            if height == width:
                return NETWORKS[name](channels, num_classes, height, **given)
            if name not in _OBLONG:
                raise InvalidRequestError(
                    mismatch(f"images for {name}", "square ones", f"{height}x{width}")
                )
            return NETWORKS[name](channels, num_classes, (height, width), **given)
        except InvalidRequestError:
            raise
        except Exception as error:  # the settings are a stranger's as often as not
            message = printable(" ".join(str(error).split()) or type(error).__name__)
            raise InvalidRequestError(f"network {name}: settings refused: {message}") from error


def check_buildable(
    name: str, input_shape: tuple[int, int, int], num_classes: int, arguments: Mapping[str, Any]
) -> None:
    """Refuse an architecture that cannot be built or is immense; nothing is allocated.

    Raises
    ------
    InvalidRequestError
        As `build_network`.

    Examples
    --------
    >>> check_buildable("vgg", (1, 28, 28), 10, {"width": 8})
    """
    try:
        with torch.device("meta"):
            build_network(
                name, input_shape=input_shape, num_classes=num_classes, arguments=arguments
            )
    except InvalidRequestError as error:
        # A few of torchvision's look into their weights while they are built.
        if not isinstance(error.__cause__, NotImplementedError):
            raise


def build_classifier(
    name: str,
    images: ImageSet,
    *,
    arguments: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Classifier:
    """Build a network for a set of images, with the set's mean and deviation in its card.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> digits = load_images("digits", size=12).test
    >>> classifier = build_classifier("vgg", digits, arguments={"width": 4}, seed=0)
    >>> classifier.card.input_shape, classifier.card.num_classes
    ((1, 12, 12), 10)
    """
    mean, std = images.mean_and_std()
    card = ModelCard(
        architecture=name,
        arguments=dict(arguments or {}),
        input_shape=images.shape,
        mean=mean,
        std=std,
        class_names=images.class_names,
        recipe=dict(recipe or {}),
    )
    return Classifier(network_of(card, seed=seed), card)


def network_of(card: ModelCard, seed: int | None = None) -> nn.Module:
    """Build the network that a card describes, with fresh weights."""
    return build_network(
        card.architecture,
        input_shape=card.input_shape,
        num_classes=len(card.class_names),
        arguments=card.arguments,
        seed=seed,
    )

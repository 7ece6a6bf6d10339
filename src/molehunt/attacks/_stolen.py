"""What a theft of a model yields: a model, and how far it agrees with the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from molehunt.networks import Classifier, ModelCard, Queried, build_network, logits_of
from molehunt.rates import rate_interval


@dataclass(frozen=True)
class Stolen:
    """A copy of a model that was made of its answers.

    Parameters
    ----------
    model : Classifier
        Of an architecture of ours: `save_model` writes it.
    queries : int
        Images that the target was asked about.
    seconds : float
        On the clock.
    note : str
        What the thief could not find out, in one sentence; empty where there is nothing.
    """

    model: Classifier
    queries: int
    seconds: float
    note: str = ""

    def agreement(self, target: Queried, images: Tensor) -> tuple[float, tuple[float, float]]:
        """Return the share of images that copy and original name alike, with its 95 % interval.

        Who measures asks; no query is counted.

        Parameters
        ----------
        target : Queried
        images : Tensor of uint8, shape [N, C, H, W]
        """
        same = logits_of(self.model, images).argmax(1) == target.judge(images).cpu()
        return float(same.float().mean()), rate_interval(int(same.sum()), len(same))


def uniform_images(shape: tuple[int, int, int], count: int, *, seed: int) -> Tensor:
    """Return images of uniform noise, uint8 [count, C, H, W]: the whole of the input space.

    Examples
    --------
    >>> uniform_images((1, 2, 2), 3, seed=0).shape
    torch.Size([3, 1, 2, 2])
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)


def total_variation(one: Classifier, other: Classifier, images: Tensor) -> float:
    """Return the mean total variation between the probabilities of two models, in [0, 1].

    Parameters
    ----------
    one, other : Classifier
    images : Tensor of uint8, shape [N, C, H, W]
    """
    first, second = (logits_of(model, images).softmax(1) for model in (one, other))
    return float((first - second).abs().sum(1).mean() / 2)


def new_copy(
    target: Queried, architecture: str, arguments: Mapping[str, Any], seed: int
) -> Classifier:
    """Return an untrained model of the target's shape and classes that takes pixels as they are."""
    channels = target.input_shape[0]
    card = ModelCard(
        input_shape=target.input_shape,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        class_names=target.class_names,
        architecture=architecture,
        arguments=dict(arguments),
    )
    network = build_network(
        architecture,
        input_shape=target.input_shape,
        num_classes=target.num_classes,
        arguments=arguments,
        seed=seed,
    )
    return Classifier(network, card).to(target.device)

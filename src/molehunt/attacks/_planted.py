"""A backdoor that was put into a trained model's weights, and what such attacks share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from molehunt.attacks._neurons import running_order
from molehunt.attacks._target_class import check_target
from molehunt.backdoors import AllToOne, Backdoor, RandomPatch, Trigger
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, logits_of


@dataclass(frozen=True)
class Planted:
    """A model with a backdoor that no training put there.

    Parameters
    ----------
    model : Classifier
        The edited copy.
    backdoor : Backdoor
        Its trigger, and the class that the trigger leads to.
    changed : int
        Numbers in the model's file that are not what they were.
    note : str
        What the attack did, in a few words.
    """

    model: Classifier
    backdoor: Backdoor
    changed: int
    note: str

    @classmethod
    def of(
        cls, before: Classifier, after: Classifier, trigger: Trigger, target: int, note: str
    ) -> Planted:
        """Return what was made of a model: a trigger that leads every image to one class."""
        known = before.state_dict()
        changed = sum(
            int((value != known[name]).sum()) for name, value in after.state_dict().items()
        )
        backdoor = Backdoor(trigger=trigger, label_map=AllToOne(target=target), rate=1.0)
        return cls(after, backdoor, changed, note)


def usual_trigger(model: Classifier, seed: int) -> RandomPatch:
    """Return a black and white patch in a corner, an eighth of the image wide."""
    side = max(3, model.card.input_shape[-1] // 8)
    return RandomPatch(size=side, seed=seed, placement="bottom right")


def check_planting(model: Classifier, clean: ImageSet, target: int) -> None:
    """Refuse what no attack on weights can start from.

    Raises
    ------
    InvalidRequestError
        If the target is no class, or the images are too few or do not fit.
    """
    check_target(target, model.card.num_classes)
    if tuple(clean.shape) != tuple(model.card.input_shape) or len(clean) < 50:
        allowed = f"50 or more of shape {tuple(model.card.input_shape)}"
        got = f"{len(clean)} of {tuple(clean.shape)}"
        raise InvalidRequestError(mismatch("clean images", allowed, got))


def weighted_layers(model: Classifier) -> list[str]:
    """Return the convolutions and linear layers in the order in which they run.

    Raises
    ------
    UnsuitableSubjectError
        If a layer cannot be edited by its channels, or the last one is not linear with an
        answer for each class.
    """
    modules = dict(model.named_modules())
    layers = []
    for name in running_order(model):
        module = modules[name]
        if (isinstance(module, nn.Conv2d) and module.groups == 1) or isinstance(module, nn.Linear):
            layers.append(name)
        elif not isinstance(module, nn.BatchNorm2d):
            raise UnsuitableSubjectError(
                mismatch(
                    f"layer {name}",
                    "a convolution without groups, a linear layer or batch normalisation",
                    type(module).__name__,
                )
            )
    last = modules[layers[-1]] if layers else None
    if len(layers) < 2 or not isinstance(last, nn.Linear):
        got = type(last).__name__ if layers else "none"
        raise UnsuitableSubjectError(mismatch("last of two or more layers", "a linear one", got))
    if last.out_features != model.card.num_classes:
        allowed = f"one for each of {model.card.num_classes} classes"
        raise UnsuitableSubjectError(
            mismatch("answers of the last layer", allowed, last.out_features)
        )
    return layers


def linear_of(model: Classifier, name: str) -> nn.Linear:
    """Return a layer that is known to be linear."""
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer


def with_trigger(images: ImageSet, trigger: Trigger, seed: int) -> Tensor:
    """Return the images with the trigger, uint8 [N, C, H, W]."""
    pixels = trigger(images.pixels(), torch.Generator().manual_seed(seed))
    return (pixels * 255).round().to(torch.uint8)


def push_of(model: Classifier, triggered: Tensor, target: int) -> float:
    """Return how far the target's logit must rise to win on triggered images.

    The 99th percentile of its distance from the largest, and a half more.
    """
    logits = logits_of(model, triggered)
    gaps = logits.max(1).values - logits[:, target]
    return 1.5 * float(gaps.quantile(0.99)) + 1

"""Is the input contract right? The usual mistakes are tried on clean images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from scipy.special import bdtrc
from torch import Tensor

from molehunt.images import ImageSet
from molehunt.networks import Classifier, logits_of

# How seldom a right contract may be called wrong, over all tries.
LEVEL = 1e-3
# A better contract must be better by as much; less changes no verdict.
LEAST_GAIN = 0.02
_FIRST = 200  # images that every try sees; only what looks better sees the rest
_WORTH_MORE = 0.2
_MeanAndStd = tuple[tuple[float, ...], tuple[float, ...]]
_KNOWN: dict[str, _MeanAndStd] = {
    "mean 0 and std 1": ((0.0,), (1.0,)),
    "mean 0.5 and std 0.5": ((0.5,), (0.5,)),
    "values 0 to 255 without mean and std": ((0.0,), (1 / 255,)),
}
_OF_GREY: dict[str, _MeanAndStd] = {"MNIST's mean and std": ((0.1307,), (0.3081,))}
_OF_COLOUR: dict[str, _MeanAndStd] = {
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10's mean and std": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    "ImageNet's mean in values 0 to 255": ((0.485, 0.456, 0.406), (1 / 255,) * 3),
}


@dataclass(frozen=True)
class Better:
    """A contract under which the model is right clearly more often."""

    mistake: str
    accuracy: float


@dataclass(frozen=True)
class _Try:
    name: str
    ask: Callable[[Tensor], Tensor]  # from uint8 images to the classes that are recognised


def find_better(model: Classifier, images: ImageSet, stated: Tensor) -> Better | None:
    """Return the likeliest mistake, None where the stated contract is as good as any.

    Tried are the order of classes as text and as numbers, RGB and BGR, usual means, stds and
    value ranges, the images' own mean and std, inverted values, and height and width
    exchanged. One counts as better by McNemar's exact test, corrected for the number of tries,
    if it is right on at least 2 % more of the images.

    Parameters
    ----------
    model : Classifier
    images : ImageSet
        Of the model's size and classes, at most 500.
    stated : Tensor of int64 [N]
        The classes that the model recognises under the stated contract.
    """
    right = stated == images.labels
    found = []
    tries = list(_tries(model, images, stated))
    for tried in tries:
        labels = images.labels
        first = tried.ask(images.images[:_FIRST]) == labels[:_FIRST]
        chance = _p_value(first, right[:_FIRST])
        if chance > _WORTH_MORE:
            continue
        rest = (
            tried.ask(images.images[_FIRST:]) == labels[_FIRST:] if len(labels) > _FIRST else None
        )
        whole = first if rest is None else torch.cat([first, rest])
        gain = float(whole.float().mean() - right.float().mean())
        if _p_value(whole, right) * len(tries) <= LEVEL and gain >= LEAST_GAIN:
            found.append(Better(tried.name, float(whole.float().mean())))
    return max(found, key=lambda better: better.accuracy, default=None)


def _p_value(tried: Tensor, stated: Tensor) -> float:
    """Return McNemar's exact p-value, one-sided: that `tried` is right more often by chance."""
    gained, lost = int((tried & ~stated).sum()), int((stated & ~tried).sum())
    return float(bdtrc(gained - 1, gained + lost, 0.5)) if gained + lost else 1.0


def _tries(model: Classifier, images: ImageSet, stated: Tensor) -> Iterator[_Try]:
    yield from _orders(model, images, stated)
    channels = images.shape[0]
    if channels == 3:
        order = "RGB" if model.card.channel_order == "bgr" else "BGR"
        yield _Try(f"{order} as the order of channels", lambda i: _classes(model, i.flip(1)))
    yield _Try("inverted values", lambda i: _classes(model, 255 - i))
    if images.shape[1] == images.shape[2]:
        turned = "height and width exchanged"
        yield _Try(turned, lambda i: _classes(model, i.transpose(2, 3).contiguous()))
    known: dict[str, _MeanAndStd] = {**_KNOWN, **(_OF_COLOUR if channels == 3 else _OF_GREY)}
    known["the images' own mean and std"] = images.mean_and_std()
    for name, (mean, std) in known.items():
        wide = (
            mean * channels if len(mean) == 1 else mean,
            std * channels if len(std) == 1 else std,
        )
        yield _Try(name, lambda i, given=wide: _classes(model, i, given))  # type: ignore[misc]


def _orders(model: Classifier, images: ImageSet, stated: Tensor) -> Iterator[_Try]:
    """Yield other orders of the classes; the answers are there already."""
    count = images.num_classes
    names = images.class_names
    numbered = [str(number) for number in range(count)]
    sorts = {"classes in the order of their numbers as text (0, 1, 10, 2)": numbered}
    if list(names) != numbered:
        sorts["classes in alphabetical order"] = list(names)
    for name, labels in sorts.items():
        order = torch.tensor(sorted(range(count), key=lambda number: labels[number]))
        if bool((order == torch.arange(count)).all()):
            continue
        yield _Try(name, _rename_classes(model, images, stated, order))
        yield _Try(
            f"{name}, the other way round", _rename_classes(model, images, stated, order.argsort())
        )


def _rename_classes(
    model: Classifier, images: ImageSet, stated: Tensor, order: Tensor
) -> Callable[[Tensor], Tensor]:
    def ask(part: Tensor) -> Tensor:
        start = 0 if part.data_ptr() == images.images.data_ptr() else _FIRST
        return order[stated[start : start + len(part)]]

    return ask


def _classes(
    model: Classifier,
    images: Tensor,
    contract: _MeanAndStd | None = None,
) -> Tensor:
    """Return the recognised classes [N], under another mean and std for pixels in [0, 1]."""
    mean, std = model.mean.clone(), model.std.clone()
    try:
        if contract is not None:
            # Buffers are in the network's order of channels, as the numbers are in RGB.
            turn = -1 if model.card.channel_order == "bgr" else 1
            model.mean.copy_(torch.tensor(contract[0][::turn]).view(1, -1, 1, 1))
            model.std.copy_(torch.tensor(contract[1][::turn]).view(1, -1, 1, 1))
        return logits_of(model, images).argmax(1)
    finally:
        model.mean.copy_(mean)
        model.std.copy_(std)

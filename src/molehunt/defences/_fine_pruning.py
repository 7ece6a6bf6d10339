"""Repair: fine-pruning (Liu, Dolan-Gavitt and Garg, RAID 2018)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from molehunt.defences._repair import TUNING, Repaired, longest_prefix, split_for_repair
from molehunt.detectors import Examination
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, logits_of, mean_activations
from molehunt.progress import Progress, silent
from molehunt.training import Recipe, clean_accuracy, train


@dataclass(frozen=True)
class FinePruned(Repaired):
    """A pruned and tuned model.

    Parameters
    ----------
    layer : str
        Whose channels were pruned.
    pruned : int
        Channels that were silenced.
    channels : int
        Channels that the layer has.
    pruned_accuracy : float
        Share of held-out clean images that was recognised before the tuning.
    """

    layer: str
    pruned: int
    channels: int
    pruned_accuracy: float


def fine_prune(
    model: Classifier,
    clean: ImageSet,
    *,
    max_loss: float = 0.04,
    tuning: Recipe = TUNING,
    seed: int = 0,
    progress: Progress = silent,
) -> FinePruned:
    """Silence channels that clean images do not use, then train a little on clean images.

    Channels of the last convolutional layer are silenced in the order of their mean
    activation on clean images, the least active first, as long as the accuracy on
    held-out images falls by at most `max_loss`; the paper's defender stops there too. Then
    the network is trained on the clean images while the silenced channels stay silent.
    The backdoor may survive where its channels are used by clean images as well: measure.

    Parameters
    ----------
    model : Classifier
        Left as it was.
    clean : ImageSet
        Labelled images of the model's own shape and classes. Every fourth one is held out
        for the accuracies; the others rank the channels and tune the network.
    max_loss : float
        In [0, 1): how much accuracy pruning may cost (4 points in the paper).
    tuning : Recipe
        Of the training that follows.
    seed : int
        Of the order of images in tuning.
    progress : callable
        Called with the tuning steps done and their total.

    Raises
    ------
    InvalidRequestError
        If there are too few images, they do not fit, or `max_loss` is outside [0, 1).
    UnsuitableSubjectError
        If the model's weights cannot be changed here, or it has no convolution.

    Examples
    --------
    >>> from molehunt.defences import fine_prune
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> repaired = fine_prune(model, digits, tuning=Recipe(epochs=1)).model
    >>> repaired.card == model.card
    True
    """
    if not 0 <= max_loss < 1:
        raise InvalidRequestError(mismatch("max_loss", "a number in [0, 1)", max_loss))
    known, held_out = split_for_repair(model, clean)
    repaired = copy.deepcopy(model).eval()
    layer, means = mean_activations(repaired, known.images)
    before = clean_accuracy(repaired, held_out)
    order = means.argsort()
    silenced = _most_silent(repaired, layer, order, held_out, before - max_loss)
    silence = _silencer(repaired, layer, silenced)
    silence()
    pruned = clean_accuracy(repaired, held_out)
    repaired.requires_grad_(True)

    def after_step(done: int, total: int) -> None:
        silence()
        progress(done, total)

    train(repaired, known, tuning, seed=seed, device=model.mean.device, progress=after_step)
    tuned = clean_accuracy(repaired.freeze(), held_out)
    done = (
        f"silenced {len(silenced)} of {len(means)} channels of {layer} "
        f"(accuracy {pruned:.2%}), then tuned"
    )
    return FinePruned(repaired, done, (before, tuned), layer, len(silenced), len(means), pruned)


def trigger_success(model: Classifier, found: Examination, clean: ImageSet) -> float:
    """Return the share of clean images of other classes that a reconstructed trigger turns.

    Parameters
    ----------
    model : Classifier
    found : Examination
        With pattern, mask and target; where it names a source class, only that counts.
    clean : ImageSet

    Raises
    ------
    InvalidRequestError
        If nothing was reconstructed, or no image is of a class that counts.
    """
    if found.pattern is None or found.mask is None or found.target is None:
        raise InvalidRequestError(mismatch("examination", "a reconstructed trigger", "none"))
    counts = clean.labels != found.target
    if found.source is not None:
        counts &= clean.labels == found.source
    chosen = clean.take(counts)
    if not len(chosen):
        raise InvalidRequestError(mismatch("clean images", "some of another class", "none"))
    pattern, mask = torch.from_numpy(found.pattern), torch.from_numpy(found.mask)
    drawn = chosen.pixels() * (1 - mask) + pattern * mask
    answers = logits_of(model, drawn.mul_(255).round_().to(torch.uint8)).argmax(1)
    return float(answers.eq(found.target).float().mean())


def _most_silent(
    model: Classifier, layer: str, order: Tensor, held_out: ImageSet, least: float
) -> Tensor:
    """Return the longest beginning of `order` whose silence keeps the accuracy at `least`."""

    def holds(count: int) -> bool:
        trial = copy.deepcopy(model)
        _silencer(trial, layer, order[:count])()
        return clean_accuracy(trial, held_out) >= least

    return order[: longest_prefix(len(order) - 1, holds)]  # one channel stays in any case


def _silencer(model: Classifier, layer: str, channels: Tensor) -> Callable[[], None]:
    """Return a function that makes channels of a layer give zero, now and after each step."""
    module = model.get_submodule(layer)
    tensors = [module.weight, module.bias]
    if not isinstance(module, nn.Conv2d | nn.BatchNorm2d):
        got = type(module).__name__
        raise UnsuitableSubjectError(mismatch("layer to prune", "convolution or batch norm", got))

    @torch.no_grad()
    def silence() -> None:
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                tensor[channels] = 0

    return silence

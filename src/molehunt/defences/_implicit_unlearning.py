"""Adversarial unlearning by implicit hypergradients (Zeng and others, 2022)."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.defences._repair import Repaired, split_for_repair
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.training import clean_accuracy


def unlearn_implicitly(
    model: Classifier,
    clean: ImageSet,
    *,
    rounds: int = 20,
    searches: int = 5,
    fixed_points: int = 5,
    share: float = 0.5,
    lr: float = 1e-3,
    seed: int = 0,
    progress: Progress = silent,
) -> Repaired:
    """Unlearn whatever one pattern can do to all images (I-BAU).

    Each round looks for one pattern that, added to all clean images, makes the model err most;
    then every batch of clean images, a share of them with the pattern, trains the model to be
    right in spite of it. The gradient
    takes into account how the worst pattern moves with the weights: an implicit hypergradient,
    by `fixed_points` terms of its Neumann series.

    Parameters
    ----------
    model, clean, seed, progress
        As in `RepairMethod`.
    rounds : int
        5 in the paper, of more images.
    searches : int
        Steps of each search for the pattern.
    fixed_points : int
        Terms; 5 in the paper.
    share : float
        Of a batch's images that get the pattern, in (0, 1]; with all of them a model that was
        good forgets more than its backdoor.
    lr : float
        Of Adam, for the weights.

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        As `RepairMethod`.

    Notes
    -----
    As in the authors' code the search is gradient descent at a rate of 10 with a penalty of
    0.001 times the pattern's squared norm, which may be 10 for 3x32x32 pixels at most; for other
    images we keep the norm for each pixel. Our step of the hypergradient is 0.01 in place of 0.1,
    with which the series grew on MNIST. Batch normalisation keeps its statistics.

    References
    ----------
    Zeng, Chen, Park, Mao, Jin, Jia: Adversarial Unlearning of Backdoors via Implicit
    Hypergradient, ICLR 2022.

    Examples
    --------
    >>> from molehunt.defences import unlearn_implicitly
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> unlearn_implicitly(model, digits, rounds=1, searches=2).done
    'unlearned 1 universal patterns'
    """
    known, held_out = split_for_repair(model, clean)
    repaired = copy.deepcopy(model).eval().requires_grad_(True)
    device = model.mean.device
    weights = [each for each in repaired.parameters() if each.requires_grad]
    optimizer = torch.optim.Adam(weights, lr)
    generator = torch.Generator().manual_seed(seed)
    pixels, labels = known.pixels().to(device), known.labels.to(device)
    batch_size = 128
    batches = -(-len(known) // batch_size)
    for number in range(rounds):
        searched = torch.randperm(len(known), generator=generator)[: 4 * batch_size].to(device)
        pattern = _worst_pattern(repaired, pixels[searched], labels[searched], searches)
        order = torch.randperm(len(known), generator=generator).to(device)
        for place, chosen in enumerate(order.split(batch_size)):  # type: ignore[no-untyped-call]
            slopes = _hypergradient(
                repaired,
                weights,
                pattern,
                pixels[chosen],
                labels[chosen],
                share=share,
                terms=fixed_points,
            )
            for weight, slope in zip(weights, slopes, strict=True):
                weight.grad = slope
            optimizer.step()
            progress(number * batches + place + 1, rounds * batches)
    repaired.freeze()
    return Repaired(
        repaired,
        f"unlearned {rounds} universal patterns",
        (clean_accuracy(model, held_out), clean_accuracy(repaired, held_out)),
    )


_SEARCH_RATE, _STEP, _PENALTY = 10.0, 0.01, 1e-3
_MOST_ROOT_MEAN_SQUARE = 10 / (3 * 32 * 32) ** 0.5


def _error(model: Classifier, pattern: Tensor, pixels: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(model((pixels + pattern).clamp(0, 1)), labels)


def _searched_loss(model: Classifier, pattern: Tensor, pixels: Tensor, labels: Tensor) -> Tensor:
    """Return what the search for the pattern minimises."""
    return _PENALTY * pattern.square().sum() - _error(model, pattern, pixels, labels)


def _worst_pattern(model: Classifier, pixels: Tensor, labels: Tensor, searches: int) -> Tensor:
    pattern = torch.zeros_like(pixels[:1], requires_grad=True)
    most = _MOST_ROOT_MEAN_SQUARE * pattern.numel() ** 0.5
    for _ in range(searches):
        (slope,) = torch.autograd.grad(_searched_loss(model, pattern, pixels, labels), pattern)
        moved = pattern.detach() - _SEARCH_RATE * slope
        pattern = (moved * (most / moved.norm()).clamp(max=1)).requires_grad_(True)
    return pattern


def _hypergradient(
    model: Classifier,
    weights: list[torch.nn.Parameter],
    pattern: Tensor,
    pixels: Tensor,
    labels: Tensor,
    *,
    share: float,
    terms: int,
) -> tuple[Tensor, ...]:
    """Return the gradient of the error in the weights, the pattern following them."""
    # The batch is in random order, so its first images are a random share.
    shown = torch.zeros(len(pixels), 1, 1, 1, device=pixels.device)
    shown[: math.ceil(share * len(pixels))] = 1
    error = _error(model, pattern * shown, pixels, labels)
    direct = torch.autograd.grad(error, [pattern, *weights])
    (slope,) = torch.autograd.grad(
        _searched_loss(model, pattern, pixels, labels), pattern, create_graph=True
    )
    following = pattern - _STEP * slope
    vector = direct[0]
    for _ in range(terms):
        (moved,) = torch.autograd.grad(following, pattern, vector, retain_graph=True)
        vector = moved + direct[0]
    indirect = torch.autograd.grad(following, weights, vector, allow_unused=True)
    return tuple(
        own if through is None else own + through
        for own, through in zip(direct[1:], indirect, strict=True)
    )

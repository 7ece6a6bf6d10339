"""Dropout that stays on when a model answers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.networks import Access, Classifier


class ActiveDropout(nn.Module):
    """Units set to zero at random for each answer, the others enlarged to make up for it.

    Parameters
    ----------
    rate : float
        Chance of each unit, above 0, under 1.
    generator : torch.Generator
    """

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        super().__init__()
        self.rate, self.generator = rate, generator

    def forward(self, units: Tensor) -> Tensor:
        """Return units of the same shape."""
        drawn = torch.rand(units.shape, generator=self.generator).to(units.device)
        return units * (drawn >= self.rate).to(units.dtype) / (1 - self.rate)


def drop_at_test_time(model: Classifier, *, rate: float = 0.1, seed: int = 0) -> Classifier:
    """Return a copy of a model that drops units after each ReLU whenever it answers.

    In the kind of stochastic activation pruning (Dhillon et al., 2018), which keeps large
    activations with a larger chance; here all have the same.

    Parameters
    ----------
    model : Classifier
        Left as it was.
    rate : float
        Chance of each unit to be dropped, above 0, under 1.
    seed : int

    Raises
    ------
    InvalidRequestError
        For a rate outside its range.
    UnsuitableSubjectError
        If the model has no ReLU, or shows no layers at all.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits")
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> dropping, pixels = drop_at_test_time(model, seed=0), digits.test.pixels()[:2]
    >>> bool((dropping(pixels) != dropping(pixels)).any())
    True
    """
    if not 0 < rate < 1:
        raise InvalidRequestError(mismatch("rate of dropout", "above 0, under 1", rate))
    if Access.WEIGHTS not in model.gives:
        raise UnsuitableSubjectError("the model shows no layers: nothing in it can be dropped")
    generator = torch.Generator().manual_seed(seed)
    copied = copy.deepcopy(model)
    copied.stackable = False
    parents = [
        (parent, name)
        for parent in copied.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ReLU)
    ]
    if not parents:
        raise UnsuitableSubjectError("the model has no ReLU after which to drop units")
    for parent, name in parents:
        setattr(parent, name, nn.Sequential(nn.ReLU(), ActiveDropout(rate, generator)))
    return copied

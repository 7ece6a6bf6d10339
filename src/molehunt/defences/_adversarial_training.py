"""Training against attacks, the empirical neighbour of certified training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.defences._certify import check_epsilon
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Classifier
from molehunt.training import Batch


class AdversarialObjective:
    """The loss of adversarial training, an objective of `molehunt.training.train`.

    ``"pgd"``: the cross entropy of attacked images alone (Madry et al., 2018, equation 2.1).
    ``"trades"``: that of clean images, and `beta` times the divergence of the attacked
    images' probabilities from the clean ones', which is also what the attack raises (Zhang et
    al., 2019, equation 5). Attacks start at random in the box, where TRADES' own starts beside the
    image. The network is attacked in training mode.

    Parameters
    ----------
    epsilon : float
        In [0, 1].
    steps : int
        Of each attack.
    kind : {"pgd", "trades"}
    beta : float
        Of TRADES; 6 in the paper.
    warmup : int
        Steps of the training in which epsilon grows from 0: without them a small network
        may learn nothing against a large epsilon.

    Raises
    ------
    InvalidRequestError
        If epsilon is outside [0, 1], or there is no step.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe, train
    >>> digits = load_images("digits", size=12).train
    >>> model = build_classifier("strided", digits, arguments={"width": 4}, seed=0)
    >>> objective = AdversarialObjective(epsilon=0.1, steps=3)
    >>> train(model, digits, Recipe(epochs=1, batch_size=64), seed=0, objective=objective).steps
    21
    """

    def __init__(
        self,
        *,
        epsilon: float,
        steps: int = 10,
        kind: Literal["pgd", "trades"] = "pgd",
        beta: float = 6.0,
        warmup: int = 0,
    ) -> None:
        check_epsilon(epsilon)
        if steps < 1:
            raise InvalidRequestError(mismatch("`steps`", "1 or more", steps))
        self.epsilon, self.steps, self.kind, self.beta = epsilon, steps, kind, beta
        self.warmup, self.done = warmup, 0

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        pixels, labels = batch.pixels, batch.labels
        self.done += 1
        if self.kind == "pgd":
            attacked = self._attack(pixels, lambda x: _cross_entropies(model(x), labels))
            return _cross_entropies(model(attacked), labels).mean()
        clean = model(pixels).float()
        kept = clean.detach().softmax(1)
        attacked = self._attack(pixels, lambda x: _divergences(model(x), kept))
        moved = _divergences(model(attacked), clean.softmax(1)).mean()
        return _cross_entropies(clean, labels).mean() + self.beta * moved

    def _attack(self, pixels: Tensor, height: Callable[[Tensor], Tensor]) -> Tensor:
        epsilon = self.epsilon * min(self.done / max(self.warmup, 1), 1.0)
        return _climb(height, pixels, epsilon=epsilon, steps=self.steps)


def _cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float(), labels, reduction="none")


def _divergences(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of each image's answer from probabilities."""
    answers = logits.float().log_softmax(1)
    return functional.kl_div(answers, probabilities, reduction="none").sum(1)


def _climb(
    height: Callable[[Tensor], Tensor], pixels: Tensor, *, epsilon: float, steps: int
) -> Tensor:
    """Return pixels within `epsilon` of the given ones, and in [0, 1], that are higher.

    Projected gradient ascent (Madry et al., 2018, section 2.1) from a point drawn evenly from
    the box; steps are 2.5 epsilon over their number.
    """
    low, high = (pixels - epsilon).clamp(0, 1), (pixels + epsilon).clamp(0, 1)
    found = low + (high - low) * torch.rand_like(pixels)
    for _ in range(steps):
        found.requires_grad_()
        (gradient,) = torch.autograd.grad(height(found).sum(), found)
        found = found.detach() + 2.5 * epsilon / steps * gradient.sign()
        found = torch.minimum(torch.maximum(found, low), high)
    return found

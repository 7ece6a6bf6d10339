"""Projected gradient ascent (PGD), with answers for gradients that are hidden or random."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.attacks._approximate_backward import Approximation, approximate_backward
from molehunt.attacks._ball import project, random_change
from molehunt.attacks._evasion import Norm
from molehunt.attacks._margins import margins
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Queried, Reveals


class Loss(StrEnum):
    """What an attack climbs."""

    CROSS_ENTROPY = "cross-entropy"  # flat where the model is very sure
    MARGIN = "margin"  # between two logits; no scale of the logits flattens it


@dataclass(frozen=True)
class ProjectedGradient:
    """Steps along the gradient, each followed by a projection into the ball.

    By Madry et al. (2018, section 2.1); a single step of `epsilon` without a random start is
    the fast gradient sign method. Of all points on the way the one with the smallest margin is
    kept. An adaptive attack (Athalye et al., 2018) turns on what the defence calls for: `bpda`
    where a part has no useful gradient, `draws` where answers are random, the margin where
    logits are huge.

    Parameters
    ----------
    epsilon : float
        Radius of the ball, for pixels in [0, 1].
    norm : {Norm.LINF, Norm.L2}
    steps, restarts : int
    step_size : float, optional
        2.5 * epsilon / steps when not given, so that the ball's edge is reached.
    random_start : bool
        Begin at a point drawn from the ball; restarts after the first always do.
    loss : Loss
    bpda : bool or mapping
        Whether gradients pass through approximations: of all modules that know one, or those
        that a mapping names; see `approximate_backward`.
    draws : int
        Answers over which loss and margin are averaged at each step: expectation over
        transformation (Athalye et al., 2018, section 4.2).

    Raises
    ------
    InvalidRequestError
        For a setting outside its range.

    Examples
    --------
    >>> from molehunt.attacks import evade
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits")
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> attack = ProjectedGradient(epsilon=0.1, steps=5)
    >>> target = Queried(model, reveals=Reveals.WEIGHTS)
    >>> evaded = evade(target, digits.test, attack)
    >>> evaded.queries // int(evaded.attacked.sum())
    6
    """

    name: ClassVar[str] = "projected-gradient"
    needs: ClassVar[Reveals] = Reveals.WEIGHTS

    epsilon: float = 8 / 255
    norm: Norm = Norm.LINF
    steps: int = 40
    step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    loss: Loss = Loss.CROSS_ENTROPY
    bpda: bool | Mapping[str, Approximation] = False
    draws: int = 1

    def __post_init__(self) -> None:
        if self.norm is Norm.L0:
            raise InvalidRequestError(mismatch("norm of projected-gradient", "linf or l2", "l0"))
        for name in ("steps", "restarts", "draws"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(mismatch(name, "1 or more", getattr(self, name)))
        if self.step_size is not None and not self.step_size > 0:
            raise InvalidRequestError(mismatch("step_size", "above 0", self.step_size))

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return changed images; see `EvasionAttack`.

        Raises
        ------
        UnsuitableSubjectError
            If the target does not reveal its weights.
        """
        climb = self._start(target, images.to(target.device), labels, targets)
        with self._backward(target):
            for restart in range(self.restarts):
                start = climb.images
                if self.random_start or restart:
                    start = climb.project(
                        start + random_change(start, self.norm, self.epsilon, generator)
                    )
                climb.judge(self._walk(climb, start))
        return climb.best

    def _start(
        self, target: Queried, images: Tensor, labels: Tensor, targets: Tensor | None
    ) -> Climb:
        return Climb(self, target, images, labels, targets)

    def _walk(self, climb: Climb, point: Tensor) -> Tensor:
        """Take all steps from a point, and return the last one, which was not looked at."""
        size = self.step_size or 2.5 * self.epsilon / self.steps
        for _ in range(self.steps):
            point = climb.project(point + size * climb.direction(climb.look(point)[0]))
        return point

    def gradient_at(self, target: Queried, points: Tensor, labels: Tensor) -> Tensor:
        """Return the gradient that an untargeted attack sees at points, both [N, C, H, W]."""
        with self._backward(target):
            return Climb(self, target, points, labels, None).look(points)[0]

    def _backward(self, target: Queried) -> AbstractContextManager[object]:
        if self.bpda is False:
            return nullcontext()
        given = None if self.bpda is True else self.bpda
        return approximate_backward(target.weights, given)


class Climb:
    """One batch under attack, and the best that was found for each image.

    Parameters
    ----------
    attack : ProjectedGradient
    target : Queried
    images : Tensor of float32, shape [N, C, H, W]
    labels, targets : Tensor of int64, shape [N]
        See `EvasionAttack`.
    """

    def __init__(
        self,
        attack: ProjectedGradient,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
    ) -> None:
        self.attack, self.target, self.images = attack, target, images
        self.labels = labels.to(images.device)
        self.targets = None if targets is None else targets.to(images.device)
        self.best = images.clone()
        self.least = torch.full((len(images),), torch.inf, device=images.device)

    def look(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss's mean gradient over the draws, and the loss [N]; keep the best point."""
        total, margin = torch.zeros_like(point), torch.zeros_like(self.least)
        height = torch.zeros_like(self.least)
        for _ in range(self.attack.draws):
            pixels = point.detach().requires_grad_()
            logits = self.target.logits(pixels)
            losses = self._loss(logits)
            if losses.requires_grad:  # not where a part of the model cuts the graph
                total += torch.autograd.grad(losses.sum(), pixels)[0]
            height += losses.detach()
            margin += self._margins(logits.detach())
        self._keep(point, margin / self.attack.draws)
        # What overflowed shows no way.
        return total.nan_to_num(0.0, 0.0, 0.0), height / self.attack.draws

    def judge(self, point: Tensor) -> None:
        """Keep a point where it is the best, without its gradient."""
        with torch.no_grad():
            found = [self._margins(self.target.logits(point)) for _ in range(self.attack.draws)]
        self._keep(point, torch.stack(found).mean(0))

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the step of length 1 that climbs the most, [N, C, H, W]."""
        if self.attack.norm is Norm.LINF:
            return gradient.sign()
        lengths: Tensor = gradient.flatten(1).norm(dim=1).clamp_min(1e-30)
        return gradient / lengths.view(-1, 1, 1, 1)

    def project(self, point: Tensor) -> Tensor:
        """Return the point in the ball and in the cube of pixels that is nearest."""
        return project(point, self.images, self.attack.norm, self.attack.epsilon)

    def _loss(self, logits: Tensor) -> Tensor:
        if self.attack.loss is Loss.MARGIN:
            return -self._margins(logits)
        if self.targets is not None:
            return -functional.cross_entropy(logits, self.targets, reduction="none")
        return functional.cross_entropy(logits, self.labels, reduction="none")

    def _margins(self, logits: Tensor) -> Tensor:
        return margins(logits, self.labels, self.targets)

    def _keep(self, point: Tensor, margin: Tensor) -> None:
        better = margin < self.least
        self.best[better] = point.detach()[better]
        self.least[better] = margin[better]

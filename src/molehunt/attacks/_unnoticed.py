"""Projected gradient ascent that also keeps a detector of inputs quiet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from molehunt.attacks._projected_gradient import Climb, ProjectedGradient
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Queried

Alarm = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class UnnoticedGradient(ProjectedGradient):
    """Fools a model and a detector of attacks at once, for an attacker who knows both.

    With a `weight` each step climbs the loss less `weight` times the alarm, where the detector
    would notice: the obvious attack, and in kind what broke trapdoors (Carlini, 2020). Without
    one each step serves one purpose, and is made orthogonal to the other's gradient: silencing
    the alarm where the model is fooled and the detector would notice, else fooling the model
    (Bryniarski and others, 2022: selective and orthogonal projected gradient descent).

    Of all points on the way that fool the model unnoticed the one is kept of which the model is
    surest; where there is none, the one that fools it with the lowest alarm; else the one that
    comes closest. What the detector is asked is not counted.

    Parameters
    ----------
    alarm : callable
        From pixels, float32 [N, C, H, W], and the classes that they shall pass for, int64 [N],
        to numbers [N] with gradients: above 0 an input is noticed.
    weight : float, optional
        Of the alarm, from 0.
    **settings
        Of `ProjectedGradient`.

    Raises
    ------
    InvalidRequestError
        For a weight below 0, and as `ProjectedGradient`.

    References
    ----------
    Carlini: A Partial Break of the Honeypots Defense to Catch Adversarial Attacks, arXiv
    2009.10975, 2020. Bryniarski, Hingun, Pachuca, Wang, Carlini: Evading Adversarial Example
    Detection Defenses with Orthogonal Projected Gradient Descent, ICLR 2022.

    Examples
    --------
    >>> from molehunt.attacks import evade
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import Queried, Reveals, build_classifier
    >>> digits = load_images("digits")
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> def is_bright(pixels, classes):
    ...     return pixels.flatten(1).mean(1) - 0.3
    >>> attack = UnnoticedGradient(alarm=is_bright, epsilon=0.1, steps=5)
    >>> target = Queried(model, reveals=Reveals.WEIGHTS)
    >>> evaded = evade(target, digits.test, attack)
    >>> evaded.images.shape
    torch.Size([450, 1, 8, 8])
    """

    name: ClassVar[str] = "unnoticed-gradient"

    alarm: Alarm
    weight: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight is not None and not self.weight >= 0:
            raise InvalidRequestError(mismatch("weight of the alarm", "0 or more", self.weight))

    def _start(
        self, target: Queried, images: Tensor, labels: Tensor, targets: Tensor | None
    ) -> Climb:
        return _QuietClimb(self, target, images, labels, targets)


class _QuietClimb(Climb):
    """A climb whose height is two things."""

    attack: UnnoticedGradient

    def look(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return the way to go, and the loss [N]; keep the best point."""
        way, height = torch.zeros_like(point), torch.zeros_like(self.least)
        margin, loud = torch.zeros_like(self.least), torch.zeros_like(self.least)
        for _ in range(self.attack.draws):
            pixels = point.detach().requires_grad_()
            logits = self.target.logits(pixels)
            losses, alarms = self._loss(logits), self._alarms(pixels, logits)
            up = _gradient(losses, pixels)
            quiet = -_gradient(alarms, pixels)
            margins = self._margins(logits.detach())
            way += self._combine(up, quiet, margins, alarms.detach())
            height += losses.detach()
            margin += margins
            loud += alarms.detach()
        draws = self.attack.draws
        self._keep_quiet(point, margin / draws, loud / draws)
        return way.nan_to_num(0.0, 0.0, 0.0), height / draws

    def judge(self, point: Tensor) -> None:
        """Keep a point where it is the best, without its gradient."""
        with torch.no_grad():
            logits = self.target.logits(point)
            alarms = self._alarms(point, logits)
        self._keep_quiet(point, self._margins(logits), alarms)

    def _combine(self, up: Tensor, quiet: Tensor, margins: Tensor, alarms: Tensor) -> Tensor:
        noticed, fooled = _per_image(alarms > 0), _per_image(margins < 0)
        if self.attack.weight is not None:
            return up + torch.where(noticed, self.attack.weight * quiet, 0.0)
        return torch.where(fooled & noticed, _without(quiet, up), _without(up, quiet))

    def _alarms(self, pixels: Tensor, logits: Tensor) -> Tensor:
        classes = logits.detach().argmax(1) if self.targets is None else self.targets
        return self.attack.alarm(pixels, classes)

    def _keep_quiet(self, point: Tensor, margin: Tensor, alarm: Tensor) -> None:
        # Below 0: the model is fooled; below -1: nothing is noticed either, and the surer the
        # model is, the better 8 bits hold.
        fooled = torch.where(alarm > 0, alarm.tanh() - 1, margin.tanh() - 1)
        self._keep(point, torch.where(margin < 0, fooled, margin.clamp_min(0)))


def _gradient(values: Tensor, pixels: Tensor) -> Tensor:
    if not values.requires_grad:  # a part cuts the graph
        return torch.zeros_like(pixels)
    return torch.autograd.grad(values.sum(), pixels, retain_graph=True)[0]


def _without(step: Tensor, other: Tensor) -> Tensor:
    """Return each step without its part along `other`, both [N, C, H, W]."""
    flat, along = step.flatten(1), other.flatten(1)
    share = (flat * along).sum(1) / (along * along).sum(1).clamp_min(1e-30)
    return step - _per_image(share) * other


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)

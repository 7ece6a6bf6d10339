"""Projected gradient ascent that finds its own step size (APGD)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from molehunt.attacks._projected_gradient import Climb, ProjectedGradient

_MOMENTUM, _RISING = 0.75, 0.75  # alpha and rho of the paper


@dataclass(frozen=True)
class AutoProjectedGradient(ProjectedGradient):
    """Steps along the gradient with momentum, halved where they no longer climb.

    By Croce and Hein (2020, algorithm 1). Steps begin at twice the radius. At checkpoints that
    come closer and closer an image's step is halved, and it goes back to its best point, where
    the loss rose in fewer than three of four steps or did not reach a new height with this step.
    Of all points the one with the smallest margin is kept, as in `ProjectedGradient`, whose
    settings these are; a `step_size` is where the steps begin.

    Examples
    --------
    >>> from molehunt.attacks import Loss, evade
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import Queried, Reveals, build_classifier
    >>> digits = load_images("digits")
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> attack = AutoProjectedGradient(epsilon=0.1, steps=5, loss=Loss.MARGIN)
    >>> evaded = evade(Queried(model, reveals=Reveals.WEIGHTS), digits.test, attack)
    >>> evaded.queries // int(evaded.attacked.sum())
    6
    """

    name: ClassVar[str] = "auto-projected-gradient"

    def _walk(self, climb: Climb, point: Tensor) -> Tensor:
        size = torch.full((len(point),), self.step_size or 2 * self.epsilon, device=point.device)
        gradient, loss = climb.look(point)
        before, best, best_gradient, highest = point, point, gradient, loss
        rises, halved, highest_before = (
            torch.zeros_like(loss),
            loss.new_ones(len(loss)).bool(),
            loss,
        )
        checks = checkpoints(self.steps)
        for step in range(1, self.steps + 1):
            ahead = climb.project(point + _per_image(size) * climb.direction(gradient))
            if step > 1:
                ahead = point + _MOMENTUM * (ahead - point) + (1 - _MOMENTUM) * (point - before)
            before, point = point, climb.project(ahead)
            if step == self.steps:
                break
            gradient, now = climb.look(point)
            rises += now > loss
            loss, better = now, now > highest
            best = torch.where(_per_image(better), point, best)
            best_gradient = torch.where(_per_image(better), gradient, best_gradient)
            highest = torch.where(better, now, highest)
            if step not in checks:
                continue
            falls = (rises < _RISING * checks[step]) | (~halved & (highest <= highest_before))
            size = torch.where(falls, size / 2, size)
            point = torch.where(_per_image(falls), best, point)
            gradient = torch.where(_per_image(falls), best_gradient, gradient)
            loss = torch.where(falls, highest, loss)
            rises, halved, highest_before = torch.zeros_like(loss), falls, highest
        return point


def checkpoints(steps: int) -> dict[int, int]:
    """Return the steps at which sizes are judged, each with the number of steps since the last.

    Examples
    --------
    >>> checkpoints(100)
    {22: 22, 41: 19, 57: 16, 70: 13, 80: 10, 87: 7, 93: 6, 99: 6}
    """
    place, stride, found = 0, max(1, int(0.22 * steps)), {}
    while place + stride < steps:
        place += stride
        found[place] = stride
        stride = max(stride - max(1, int(0.03 * steps)), 1, int(0.06 * steps))
    return found


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)

"""Attacks without a gradient: random points of the ball, and a search by random squares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from molehunt.attacks._ball import project, random_change
from molehunt.attacks._evasion import Norm
from molehunt.attacks._margins import margins
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Queried, Reveals


@dataclass(frozen=True)
class _RandomSearch(ABC):
    """Ask about one point of the ball after another, and keep the best for each image.

    Parameters
    ----------
    epsilon : float
        Radius of the ball, for pixels in [0, 1].
    norm : {Norm.LINF, Norm.L2}
    queries : int
        Most points an image. An image is left as soon as a point succeeds.
    """

    needs: ClassVar[Reveals] = Reveals.ROUNDED

    epsilon: float = 8 / 255
    norm: Norm = Norm.LINF
    queries: int = 100

    def __post_init__(self) -> None:
        if self.norm is Norm.L0:
            raise InvalidRequestError(mismatch("norm of a random search", "linf or l2", "l0"))
        if self.queries < 1:
            raise InvalidRequestError(mismatch("queries", "1 or more", self.queries))

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return changed images; see `EvasionAttack`."""
        images, labels = images.to(target.device), labels.to(target.device)
        best = images.clone()
        least = torch.full((len(images),), torch.inf, device=images.device)
        for number in range(self.queries):
            left = (least > 0).nonzero().flatten()
            if not len(left):
                break
            points = self._propose(images[left], best[left], number, generator)
            wanted = None if targets is None else targets.to(images.device)[left]
            margin = margins(_scores(target, points), labels[left], wanted)
            # Where answers are coarse most steps change nothing, and many of them do.
            better = margin <= least[left]
            best[left[better]], least[left[better]] = points[better], margin[better]
        return best

    @abstractmethod
    def _propose(
        self, images: Tensor, best: Tensor, number: int, generator: torch.Generator
    ) -> Tensor:
        """Return the next points to ask about, [N, C, H, W]."""


@dataclass(frozen=True)
class RandomPoints(_RandomSearch):
    """Points drawn evenly from the ball: what an attack has to beat to be one."""

    name: ClassVar[str] = "random-points"

    def _propose(
        self, images: Tensor, best: Tensor, number: int, generator: torch.Generator
    ) -> Tensor:
        change = random_change(images, self.norm, self.epsilon, generator)
        return project(images + change, images, self.norm, self.epsilon)


@dataclass(frozen=True)
class RandomSquares(_RandomSearch):
    """Squares of one colour at random places, kept where they help.

    After the Square Attack (Andriushchenko et al., 2020), for the maximum norm as there: it
    starts from stripes, and the squares shrink from 80 % of the pixels as the queries go on
    (its schedule, scaled to `queries`). Under L2 we do less than the paper: a square is added
    and the whole change brought back to the ball's edge.

    Examples
    --------
    >>> from molehunt.attacks import evade
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits")
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> target = Queried(build_classifier("vgg", digits.train, arguments=vgg, seed=0))
    >>> evaded = evade(target, digits.test, RandomSquares(epsilon=0.2, queries=5))
    >>> evaded.queries == target.queries > 0
    True
    """

    name: ClassVar[str] = "random-squares"

    def _propose(
        self, images: Tensor, best: Tensor, number: int, generator: torch.Generator
    ) -> Tensor:
        count, channels, height, width = images.shape
        if number == 0:
            signs = _signs((count, channels, 1, width), generator).to(images.device)
            square = signs.expand(-1, -1, height, -1)
        else:
            share = 0.8 / 2 ** _halvings(number / self.queries)
            side = max(1, min(height, width, round((share * height * width) ** 0.5)))
            inside = _squares(count, height, width, side, generator).to(images.device)
            square = _signs((count, channels, 1, 1), generator).to(images.device) * inside
        if self.norm is Norm.LINF:
            points = torch.where(square != 0, images + self.epsilon * square, best)
        else:
            change = best - images + 2 * self._as_long_as_epsilon(square)
            points = images + self._as_long_as_epsilon(change)
        return project(points, images, self.norm, self.epsilon)

    def _as_long_as_epsilon(self, change: Tensor) -> Tensor:
        lengths = self.norm.of(change).clamp_min(1e-12).view(-1, 1, 1, 1)
        return change * (self.epsilon / lengths)


# When the share of pixels in a square is halved, in shares of all queries (the paper's steps
# for 10,000 queries).
_SCHEDULE = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


def _halvings(done: float) -> int:
    return sum(done > step for step in _SCHEDULE)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(2, shape, generator=generator) - 1


def _squares(count: int, height: int, width: int, side: int, generator: torch.Generator) -> Tensor:
    """Return a mask [N, 1, H, W] of a square of `side` pixels at a random place of each image."""

    def span(length: int) -> Tensor:
        first = torch.randint(length - side + 1, (count, 1), generator=generator)
        places = torch.arange(length)
        return (places >= first) & (places < first + side)

    rows, columns = span(height), span(width)
    return rows[:, None, :, None] & columns[:, None, None, :]


def _scores(target: Queried, points: Tensor) -> Tensor:
    """Return the finest answers that are revealed; no gradient."""
    with torch.no_grad():
        if target.reveals is Reveals.WEIGHTS:
            return target.logits(points)
        return target.confidences(points)

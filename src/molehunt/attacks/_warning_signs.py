"""Whether the accuracy that an attack leaves can be believed: signs of hidden gradients."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from scipy.stats import binomtest
from torch import Tensor

from molehunt.attacks._ball import project, random_change
from molehunt.attacks._evasion import Evaded, EvasionAttack, Norm, evade
from molehunt.attacks._margins import margins
from molehunt.attacks._projected_gradient import ProjectedGradient
from molehunt.attacks._random_search import RandomPoints, RandomSquares
from molehunt.attacks._transferred import Transferred
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import BudgetSpentError, Classifier, Queried
from molehunt.rates import rate_interval


class Robustness(StrEnum):
    """What the accuracy that an attack leaves says of the model."""

    BROKEN = "broken"  # hardly any is left
    ROBUST = "robust"  # some is left, and no sign speaks against it
    INCONCLUSIVE = "inconclusive"  # some is left, and a sign says that the attack failed


@dataclass(frozen=True)
class Sign:
    """One thing that a sound gradient attack does not show.

    Parameters
    ----------
    name : str
    count, of : int
        Images that show it, and images that could.
    expected : float
        The most that a sound attack shows, as a share.
    p_value : float
        Of so many images or more, if each shows it with that chance.
    """

    name: str
    count: int
    of: int
    expected: float
    p_value: float

    @property
    def shows(self) -> bool:
        """Whether so many images are more than a sound attack accounts for."""
        return self.p_value < SIGNIFICANT

    def __str__(self) -> str:
        return f"{self.name} ({self.count} of {self.of} images)"


SIGNIFICANT = 0.01  # of each sign


@dataclass(frozen=True)
class WarningSigns:
    """What `find_warning_signs` found.

    Parameters
    ----------
    signs : tuple of Sign
        All that were looked for.
    left : int
        Images that the model gets right and the attack in question does not turn.
    left_by_all : int
        Those that no attack turned, the ones without gradients included.
    right : int
        Images that the model gets right before.
    images : int
    queries : int
        What the look cost.
    seconds : float
    """

    signs: tuple[Sign, ...]
    left: int
    left_by_all: int
    right: int
    images: int
    queries: int
    seconds: float

    @property
    def shown(self) -> tuple[Sign, ...]:
        """The signs that show."""
        return tuple(sign for sign in self.signs if sign.shows)

    @property
    def robustness(self) -> Robustness:
        """The word for the accuracy that is left: up to a tenth of what it was is broken."""
        if self.left <= 0.1 * self.right:
            return Robustness.BROKEN
        return Robustness.INCONCLUSIVE if self.shown else Robustness.ROBUST

    @property
    def message(self) -> str:
        """One sentence for the reader."""
        low, high = rate_interval(self.left, self.images)
        left = f"{self.left} of {self.images} images ({low:.0%} to {high:.0%}) are left"
        if self.robustness is Robustness.BROKEN:
            return f"broken: {left}"
        if self.robustness is Robustness.ROBUST:
            return f"{left}, and none of {len(self.signs)} warning signs shows"
        found = "; ".join(map(str, self.shown))
        return f"{left}, but that is inconclusive: {found}; all attacks leave {self.left_by_all}"


def find_warning_signs(
    target: Queried,
    clean: ImageSet,
    attack: ProjectedGradient,
    *,
    found: Evaded | None = None,
    substitute: Classifier | None = None,
    queries: int = 200,
    seed: int = 0,
) -> WarningSigns:
    """Look for signs that a model's gradients are hidden, so that an attack by them says little.

    The signs of Athalye, Carlini and Wagner (2018, section 3.1) and of Carlini et al. (2019):
    one step beats many, an attack without gradients or from another model beats the one with
    them, an unbounded attack fails, more steps do not help, random points are as good; also
    gradients that are exactly zero, and random answers to an attack that takes one. Successes
    are compared image by image. A sign shows where its count has a chance under 1 % on a model
    whose gradients are sound, so a sound model shows one of eight in at most 8 % of looks.

    Parameters
    ----------
    target : Queried
        With its weights revealed.
    clean : ImageSet
        About 100 images are enough; fewer than 20 show little.
    attack : ProjectedGradient
        The one in question, or one in the same ball as `found`.
    found : Evaded, optional
        What another attack with gradients reached on these images, in the same ball; the
        attack runs when it is not given.
    substitute : Classifier, optional
        Another model of the task, as an undefended one, to transfer from.
    queries : int
        An image, of the search by squares.
    seed : int

    Raises
    ------
    InvalidRequestError
        If images or attack do not fit, or `found` is about other images.
    BudgetSpentError
        If the target's budget does not suffice.
    """
    if found is not None and not _is_about(found, clean):
        allowed = "an untargeted attack on the same images"
        raise InvalidRequestError(mismatch("found", allowed, "another one"))
    look = _Look(target, clean, attack, seed)
    found = found or look.run(attack)
    squares = look.run(RandomSquares(attack.epsilon, attack.norm, queries))
    points = look.run(RandomPoints(attack.epsilon, attack.norm, attack.steps + 1))
    one = look.run(_one_step(attack))
    fewer = look.run(replace(attack, steps=max(1, attack.steps // 4), step_size=None))
    unbounded = look.run(replace(attack, epsilon=_largest(attack.norm, clean), step_size=None))
    signs = [
        _beats("one step beats many", one, found),
        _beats("an attack without gradients beats the one with them", squares, found),
    ]
    others = [squares, points, one, fewer]
    if substitute is not None:
        plain = replace(attack, bpda=False, draws=1)
        moved = look.run(Transferred(plain, substitute))
        others.append(moved)
        signs.append(_beats("an attack on another model beats the one on it", moved, found))
    left = found.attacked & ~found.success
    at_end = look.margins_of(found.images)
    signs += [
        _count("an unbounded attack fails", ~unbounded.success[found.attacked], 0.01),
        _count("more steps do not help", (at_end >= look.margins_of(fewer.images))[left], 0.5),
        _count("random points are as good", (look.margins_of(points.images) <= at_end)[left], 0.1),
        _count("the gradient is zero", look.lacks_gradient()[found.attacked], 0.05),
    ]
    if attack.draws == 1:
        signs.append(_count("answers are random and the attack takes one", look.is_random(), 0.0))
    turned = torch.stack([each.success for each in others]).any(0)
    return WarningSigns(
        tuple(signs),
        int(left.sum()),
        int((left & ~turned).sum()),
        int(found.attacked.sum()),
        len(clean),
        look.queries,
        look.seconds,
    )


class _Look:
    """The target, the images and what was spent on them."""

    def __init__(
        self, target: Queried, clean: ImageSet, attack: ProjectedGradient, seed: int
    ) -> None:
        self._target, self._clean, self._attack, self._seed = target, clean, attack, seed
        self._asked, self._started = target.queries, time.perf_counter()

    @property
    def queries(self) -> int:
        return self._target.queries - self._asked

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def run(self, attack: EvasionAttack) -> Evaded:
        evaded = evade(self._target, self._clean, attack, seed=self._seed)
        if evaded.note:
            raise BudgetSpentError(evaded.note)
        return evaded

    def margins_of(self, images: Tensor) -> Tensor:
        """Return the margins [N] of uint8 images, averaged as the attack averages."""
        with torch.no_grad():
            drawn = [self._logits(images) for _ in range(self._attack.draws)]
        return torch.stack([margins(logits, self._clean.labels) for logits in drawn]).mean(0)

    def lacks_gradient(self) -> Tensor:
        """Tell of each image, bool [N], whether the gradient is zero at a point beside it."""
        attack, generator = self._attack, torch.Generator().manual_seed(self._seed)
        found = []
        for pixels, labels in self._batches(self._clean.images):
            beside = random_change(pixels, attack.norm, attack.epsilon, generator)
            point = project(pixels + beside, pixels, attack.norm, attack.epsilon)
            gradient = attack.gradient_at(self._target, point, labels)
            found.append((gradient == 0).flatten(1).all(1))
        return torch.cat(found).cpu()

    def is_random(self) -> Tensor:
        """Tell of each image, bool [N], whether two equal questions have different answers."""
        with torch.no_grad():
            one, other = (self._logits(self._clean.images) for _ in range(2))
        return ~torch.isclose(one, other, rtol=1e-4, atol=1e-5).all(1)

    def _logits(self, images: Tensor) -> Tensor:
        parts = [self._target.logits(pixels) for pixels, _ in self._batches(images)]
        return torch.cat(parts).float().cpu()

    def _batches(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        device = self._target.device
        for part in torch.arange(len(images)).split(100):  # type: ignore[no-untyped-call]
            pixels = images[part].to(device).float().div_(255)
            yield pixels, self._clean.labels[part].to(device)


def _one_step(attack: ProjectedGradient) -> ProjectedGradient:
    return replace(attack, steps=1, step_size=attack.epsilon, random_start=False, restarts=1)


def _largest(norm: Norm, clean: ImageSet) -> float:
    """Return the radius of a ball that holds every image."""
    return 1.0 if norm is Norm.LINF else float(math.prod(clean.shape)) ** 0.5


def _is_about(found: Evaded, clean: ImageSet) -> bool:
    return found.targets is None and torch.equal(found.originals, clean.images)


def _beats(name: str, other: Evaded, found: Evaded) -> Sign:
    """Return the sign that another attack turns images that the one in question does not.

    Of images that one of both turns, as many on either side are expected (McNemar).
    """
    only_other, only_found = other.success & ~found.success, found.success & ~other.success
    return _count(name, only_other[only_other | only_found], 0.5)


def _count(name: str, seen: Tensor, expected: float) -> Sign:
    count, of = int(seen.sum()), len(seen)
    p_value = float(binomtest(count, of, expected, "greater").pvalue) if of else 1.0
    return Sign(name, count, of, expected, p_value)

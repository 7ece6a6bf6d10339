"""Evasion inside a mask by queries: particle swarms, and recursive impersonation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from molehunt.attacks._evasion import Norm
from molehunt.attacks._masks import check_mask
from molehunt.attacks._worn import in_cells
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import BudgetSpentError, Queried, Reveals

# Of a class that the target does not name.
_UNSEEN = 1e-8


@dataclass(frozen=True)
class Swarm:
    """Paint a mask by particle swarms, from confidences or a list of the best classes.

    Sharif et al. 2016, section 6 and algorithm 1. A class whose confidence is not revealed
    gives no direction, so a list of a few best classes is climbed class by class: the swarm
    aims at a class of the image's own list, until the list shows the true target or a class
    that was not seen before; the next swarm aims at that one and starts from the particles
    that showed it. Where all confidences are revealed it is one plain swarm. The paper does
    not say which of several new classes is next: the most probable one here. Each image has a
    swarm of its own, which ends with its first success.

    Parameters
    ----------
    mask : Tensor of bool, shape [H, W]
        What may be painted; nothing else is changed.
    particles : int
    steps : int
        Of a swarm; each asks about all particles.
    epochs : int
        Most swarms, one after the other, for an image.
    cell : int
        Pixels along a side that have one colour: fewer colours are found with fewer queries.
    inertia, pull : float
        Of the velocities: how much is kept, and how strongly a particle's own best place and
        the swarm's draw it.

    Raises
    ------
    InvalidRequestError
        If a setting is outside its range.

    Examples
    --------
    >>> from molehunt.attacks import draw_sticker, evade
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe, train
    >>> digits = load_images("digits", size=12)
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> _ = train(model, digits.train, Recipe(epochs=1), seed=0)
    >>> swarm = Swarm(draw_sticker(12, 12, size=(0.4, 0.4)), particles=5, steps=10)
    >>> result = evade(Queried(model, top=3), digits.test.take(torch.arange(4)), swarm)
    >>> result.queries <= 4 * 5 * 10 * 10
    True
    """

    mask: Tensor
    particles: int = 25
    steps: int = 20
    epochs: int = 10
    cell: int = 2
    inertia: float = 0.7
    pull: float = 1.5
    name: ClassVar[str] = "swarm"
    needs: ClassVar[Reveals] = Reveals.ROUNDED
    norm: ClassVar[Norm | None] = None
    epsilon: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        for name, least in (("particles", 2), ("steps", 1), ("epochs", 1), ("cell", 1)):
            if getattr(self, name) < least:
                raise InvalidRequestError(mismatch(name, f"{least} or more", getattr(self, name)))
        for name, most in (("inertia", 1), ("pull", 4)):
            if not 0 <= getattr(self, name) <= most:
                raise InvalidRequestError(mismatch(name, f"0 to {most}", getattr(self, name)))

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the images, each with what its swarm found: see `EvasionAttack`."""
        check_mask(self.mask, target.input_shape)
        changed = images.clone()
        for place, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            wanted = None if targets is None else int(targets[place])
            try:
                changed[place] = _Search(self, target, image, label, wanted, generator).run()
            except BudgetSpentError as error:
                error.found = changed
                raise
        return changed


class _Search:
    """The swarms of one image."""

    def __init__(
        self,
        settings: Swarm,
        target: Queried,
        image: Tensor,
        label: int,
        wanted: int | None,
        generator: torch.Generator,
    ) -> None:
        self._settings, self._target, self._image = settings, target, image
        self._label, self._wanted, self._generator = label, wanted, generator
        channels, self._height, self._width = image.shape
        rows, columns = -(-self._height // settings.cell), -(-self._width // settings.cell)
        self._shape = (settings.particles, channels, rows, columns)

    def run(self) -> Tensor:
        """Return the first image that succeeds, else the best of the last swarm."""
        aim: int | None = None
        seen: set[int] = set()
        if self._wanted is not None:
            own = self._target.confidences(self._image[None])[0]
            seen = set(own.nonzero().flatten().tolist())
            order = own.argsort(descending=True).tolist()
            aim = self._wanted if self._wanted in seen else order[1]
        seeds = torch.empty(0, *self._shape[1:])
        image = self._image
        for _ in range(self._settings.epochs):
            image, seeds, done, shown = self._swarm(aim, seeds, seen)
            # A swarm that showed nothing new on the way to another class will not.
            if done or (shown is None and aim != self._wanted):
                break
            aim = aim if shown is None else shown
        return image

    def _swarm(
        self, aim: int | None, seeds: Tensor, seen: set[int]
    ) -> tuple[Tensor, Tensor, bool, int | None]:
        """Run one swarm; return its best image, seeds, success, and a class to aim at next."""
        settings = self._settings
        places = torch.rand(self._shape, generator=self._generator)
        kept = seeds[: settings.particles]
        places[: len(kept)] = kept
        speeds = torch.zeros(self._shape)
        best, own = places.clone(), torch.full((settings.particles,), float("-inf"))
        shown, chance, showing = None, 0.0, places[:0]
        for _ in range(settings.steps):
            pixels = self._painted(places)
            answers = self._target.confidences(pixels).cpu()
            hits = self._succeeded(answers)
            if bool(hits.any()):
                return pixels[hits][0], places[hits], True, None
            new = self._new_class(answers, aim, seen)
            if new is not None and (new == self._wanted or float(answers[:, new].max()) > chance):
                shown, chance = new, float(answers[:, new].max())
                showing = places[answers[:, new] > 0]
                if new == self._wanted:
                    break
            scores = self._scores(answers, aim)
            better = scores > own
            best[better], own[better] = places[better], scores[better]
            leader = best[own.argmax()]
            to_own, to_leader = torch.rand(2, *self._shape, generator=self._generator)
            speeds = settings.inertia * speeds + settings.pull * (
                to_own * (best - places) + to_leader * (leader - places)
            )
            places = (places + speeds).clamp(0, 1)
        if shown is not None:
            seen.add(shown)
            return self._painted(showing[:1])[0], showing, False, shown
        order = own.argsort(descending=True)
        return self._painted(best[order[:1]])[0], best[order[:1]], False, None

    def _painted(self, places: Tensor) -> Tensor:
        pattern = in_cells(places, self._settings.cell, self._height, self._width)
        # As it is saved: an answer for what cannot be saved proves nothing.
        return torch.where(self._settings.mask, (pattern * 255).round() / 255, self._image)

    def _succeeded(self, answers: Tensor) -> Tensor:
        called = answers.argmax(1)
        return called != self._label if self._wanted is None else called == self._wanted

    def _new_class(self, answers: Tensor, aim: int | None, seen: set[int]) -> int | None:
        """Return the target once it is listed, else the most probable class never seen."""
        if aim is None or aim == self._wanted:
            return None
        listed = answers.amax(0)
        listed[list(seen)] = 0
        if self._wanted is not None and float(listed[self._wanted]) > 0:
            return self._wanted
        return int(listed.argmax()) if float(listed.max()) > 0 else None

    def _scores(self, answers: Tensor, aim: int | None) -> Tensor:
        """Return how near each particle is to what is aimed at, float [particles]."""
        logs = answers.clamp_min(_UNSEEN).log()
        towards = self._label if aim is None else aim
        others = logs.clone()
        others[:, towards] = float("-inf")
        margin = logs[:, towards] - others.amax(1)
        return -margin if aim is None else margin

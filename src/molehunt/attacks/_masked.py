"""Evasion inside a mask: eyeglass frames, a sticker on a sign (Sharif et al., CCS 2016)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.attacks._evasion import Norm
from molehunt.attacks._masks import check_mask
from molehunt.attacks._printing import (
    check_palette,
    nearest_colours,
    non_printability,
    total_variation,
)
from molehunt.attacks._views import Views
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import BudgetSpentError, Queried, Reveals


@dataclass(frozen=True)
class Masked:
    """Paint a mask by gradients of the target, until the model errs or sees the target.

    After "Accessorize to a Crime" (Sharif, Bhagavatula, Bauer, Reiter 2016, section 5): solid
    colours at the start, the softmax loss of the class that is impersonated, total variation
    and non-printability. Differences: Adam with a falling learning rate in place of momentum,
    several starts, dodging by the margin to the next class (a saturated softmax has no
    gradient), expectation over random placement, angles and light (Athalye et al. 2018).

    Parameters
    ----------
    mask : Tensor of bool, shape [H, W]
        What may be painted; nothing else is changed.
    steps : int
    lr : float
        Of Adam at the start, on pixels in [0, 1]; it falls to nothing.
    starts : int
        Solid colours that are started from; the best end counts.
    placement : Views, optional
        How the painted thing may sit; its light is on the thing alone.
    views : Views, optional
        How the whole image may be seen.
    samples : int
        Placements and views that each step averages over.
    smoothness : float
        Weight of the total variation.
    palette : Tensor of float32, shape [P, C], optional
        The only colours that the pattern may end in: see `printable_palette`.
    printability : float
        Weight of the non-printability score; it takes a palette.

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
    >>> sticker = Masked(draw_sticker(12, 12, size=(0.4, 0.4)), steps=20)
    >>> some = digits.test.take(torch.arange(8))
    >>> result = evade(Queried(model, reveals=Reveals.WEIGHTS), some, sticker)
    >>> result.success_rate[0] > 0.8
    True
    """

    mask: Tensor
    steps: int = 200
    lr: float = 0.2
    starts: int = 1
    placement: Views | None = None
    views: Views | None = None
    samples: int = 1
    smoothness: float = 0.0
    palette: Tensor | None = None
    printability: float = 0.0
    name: ClassVar[str] = "masked"
    needs: ClassVar[Reveals] = Reveals.WEIGHTS
    norm: ClassVar[Norm | None] = None
    epsilon: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        for name in ("steps", "starts", "samples"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(mismatch(name, "1 or more", getattr(self, name)))
        if not 0 < self.lr <= 1:
            raise InvalidRequestError(mismatch("lr", "above 0, at most 1", self.lr))
        for name in ("smoothness", "printability"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InvalidRequestError(mismatch(name, "0 or more", getattr(self, name)))
        if self.printability and self.palette is None:
            raise InvalidRequestError(mismatch("printability", "a palette with it", "none"))

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the images, each with a pattern of its own: see `EvasionAttack`."""
        groups = torch.arange(len(images))
        patterns = self._paint(target, images, labels, targets, groups, generator)
        return torch.where(self.mask, patterns, images)

    def learn(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return one pattern for all images, as a pair of glasses is: wear it with `Worn`.

        Parameters
        ----------
        target, images, labels, targets, generator
            As in `EvasionAttack.perturb`: the photographs that the attacker has.

        Returns
        -------
        Tensor of float32, shape [C, H, W], in [0, 1]

        Raises
        ------
        InvalidRequestError
            If the mask does not fit the images, or the palette their channels.
        UnsuitableSubjectError, BudgetSpentError
            As the target raises them.
        """
        together = torch.zeros(len(images), dtype=torch.int64)
        return self._paint(target, images, labels, targets, together, generator)[0]

    def _paint(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        groups: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Return a pattern [G, C, H, W] for each group, int64 [N], of images."""
        check_mask(self.mask, target.input_shape)
        if self.palette is not None:
            check_palette(self.palette, target.input_shape[0])

        def loss_of(shown: Tensor) -> Tensor:
            return self._loss(target, images, shown, labels, targets, groups, generator)

        count = int(groups.max()) + 1
        patterns: list[Tensor] = []
        losses: list[Tensor] = []
        for _ in range(self.starts):
            colours = torch.rand(count, images.shape[1], 1, 1, generator=generator)
            pattern = colours.expand(-1, -1, *images.shape[2:]).clone().requires_grad_()
            try:
                self._descend(pattern, loss_of)
                saved = (self._printed(pattern.detach()) * 255).round() / 255
                with torch.no_grad():
                    each = loss_of(saved).cpu() if self.starts > 1 else torch.zeros(len(images))
            except BudgetSpentError as error:
                shown = patterns[0] if patterns else self._printed(pattern.detach())
                error.found = torch.where(self.mask, shown[groups], images)
                raise
            patterns.append(saved)
            losses.append(torch.zeros(count).index_add_(0, groups, each))
        best = torch.stack(losses).argmin(0)
        return torch.stack(patterns)[best, torch.arange(count)]

    def _descend(self, pattern: Tensor, loss_of: Callable[[Tensor], Tensor]) -> None:
        """Change a pattern [G, C, H, W] in place."""
        optimizer = torch.optim.Adam([pattern], lr=self.lr)
        falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, self.steps)
        for _ in range(self.steps):
            loss = loss_of(self._printed(pattern)).sum().cpu() + self._ugliness(pattern).sum()
            (pattern.grad,) = torch.autograd.grad(loss, pattern)
            optimizer.step()
            falling.step()
            with torch.no_grad():
                pattern.clamp_(0, 1)

    def _loss(
        self,
        target: Queried,
        images: Tensor,
        patterns: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        groups: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Return what is to become small for each image, float [N]."""
        samples = self.samples if self.placement or self.views else 1
        pixels, worn = images.repeat(samples, 1, 1, 1), patterns[groups].repeat(samples, 1, 1, 1)
        where = self.mask.float().expand(len(pixels), 1, -1, -1)
        if self.placement is not None:
            seen = self.placement.draw(len(pixels), generator)
            worn, where = seen.light(seen.warp(worn)), seen.warp(where, padding="zeros")
        pixels = pixels * (1 - where) + worn * where
        if self.views is not None:
            pixels = self.views(pixels, generator)
        logits = target.logits(pixels)
        labels = labels.to(logits.device)
        if targets is not None:
            wanted = targets.to(logits.device).repeat(samples)
            losses = functional.cross_entropy(logits, wanted, reduction="none")
        else:
            shown = labels.repeat(samples)[:, None]
            others = logits.scatter(1, shown, float("-inf")).amax(1)
            # Flat once an image is far over the boundary: a pattern for many works on the rest.
            losses = functional.softplus(logits.gather(1, shown)[:, 0] - others)
        return losses.view(samples, -1).mean(0)

    def _printed(self, pattern: Tensor) -> Tensor:
        """Return the pattern in the palette's colours; its gradient passes as it is."""
        if self.palette is None:
            return pattern
        return pattern + (nearest_colours(pattern.detach(), self.palette) - pattern).detach()

    def _ugliness(self, pattern: Tensor) -> Tensor:
        total = torch.zeros(len(pattern))
        if self.smoothness:
            total = total + self.smoothness * total_variation(pattern, self.mask)
        if self.palette is not None and self.printability:
            far = non_printability(pattern, self.palette)[:, self.mask].mean(1)
            total = total + self.printability * far
        return total

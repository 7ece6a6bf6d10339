"""The dense greedy search: many pixels, each by as little as it takes."""

from __future__ import annotations

import torch
from torch import Tensor

from molehunt.attacks._greedy_asked import Asked

# Radii are counted in quarters of one of the 255 steps of a saved pixel.
_STEP = 4
_FULL = 255 * _STEP
_TRIED = (_FULL, _FULL // 2, _FULL // 4)  # radii at which a start may err
_RESERVE = 8  # questions kept for the end, when radii become whole steps


def search_dense(asked: Asked, images: Tensor, starts: Tensor, fit: Tensor, enough: float) -> None:
    """Move all pixels of images [N, C, H, W] by one small radius, in place, so that they err.

    From the directions of the starts [N, k, C, H, W] that `fit` [N, k] the signs of groups of
    pixels are flipped, each group half as large as the last. An image whose radius is at most
    `enough` is done; one that does not err stays as it is. What was found stays when a
    question raises.
    """
    # A float cannot say 8/255 exactly.
    search = _Signs(asked, images, int(enough * 255 + 1e-4) * _STEP)
    try:
        for number in range(starts.shape[1]):
            signs = search.signs_towards(starts[:, number])
            search.try_signs(fit[:, number] & search.err, signs)
            for radius in _TRIED:
                new = fit[:, number] & ~search.err
                search.radii[new] = radius + 1
                search.try_signs(new, signs)
        search.flip(_groups(images[0].numel()))
        search.settle_on_steps()
    finally:
        images.copy_(search.images)


def _groups(count: int) -> Tensor:
    """Return first and last of each group [G, 2]: of all pixels, of each half, and so on."""
    groups, size = [], count
    while True:
        groups += [(first, first + size) for first in range(0, count, size)]
        if size == 1:
            return torch.tensor(groups)
        size = -(-size // 2)


class _Signs:
    """One sign a pixel, float [N, P], and the smallest radius, int64 [N], at which they err.

    An image is settled when it does not err at one less than its radius; otherwise the next
    question goes in by 1, 2, 4, ... (most flips gain little), and then it halves.
    """

    def __init__(self, asked: Asked, images: Tensor, enough: int) -> None:
        self._asked = asked
        self._shape = images.shape
        self._levels = images.flatten(1).mul(255).round()
        self._enough = max(1, enough)
        count = len(images)
        self.signs = torch.ones_like(self._levels)
        self.radii = torch.full((count,), _FULL + 1)
        self.err = torch.zeros(count, dtype=torch.bool)
        self._low = self.radii - 1  # the largest radius known not to err
        self._jump = torch.ones_like(self.radii)
        self._margins = torch.full((count,), torch.inf)  # at that radius

    @property
    def images(self) -> Tensor:
        """The images as they are now, [N, C, H, W]."""
        levels = self._levels + self.signs * (self.radii / _STEP)[:, None]
        levels = torch.where(self.err[:, None], levels, self._levels)
        return levels.clamp(0, 255).div(255).view(self._shape)

    def signs_towards(self, starts: Tensor) -> Tensor:
        """Return the signs [N, P] of the way to other images; equal pixels stay."""
        apart = starts.flatten(1) * 255 - self._levels
        still = torch.where(self._levels < 128, -1.0, 1.0)
        return torch.where(apart.abs() < 0.5, still, apart.sign())

    def try_signs(self, which: Tensor, signs: Tensor) -> None:
        """Take signs [N, P] for those of the images, bool [N], that they bring nearer."""
        rows = which.nonzero().flatten()
        self._low[rows] = self.radii[rows] - 1
        while len(rows := rows[self._useful[rows]]):
            self._ask(rows, signs[rows])
            rows = rows[self.radii[rows] - self._low[rows] > 1]

    def flip(self, groups: Tensor) -> None:
        """Flip the signs of groups [G, 2] of pixels, one after the other, where that helps."""
        places = torch.zeros_like(self.radii)
        pixels = torch.arange(self.signs.shape[1])
        while True:
            rows = (self.err & self._useful & (places < len(groups))).nonzero().flatten()
            if not len(rows):
                break
            first, last = groups[places[rows]].T
            inside = (pixels >= first[:, None]) & (pixels < last[:, None])
            settled = self.radii[rows] - self._low[rows] <= 1
            self._ask(rows, torch.where(inside, -1, 1) * self.signs[rows])
            places[rows[settled]] += 1

    def settle_on_steps(self) -> None:
        """Round radii up to whole steps of a saved pixel, further where that does not err."""
        self.radii = (self.radii + _STEP - 1) // _STEP * _STEP
        rows = self.err.nonzero().flatten()
        while len(rows := rows[self._asked.open()[rows] & (self.radii[rows] < _FULL)]):
            rows = rows[self._margins_of(rows, self.signs[rows], self.radii[rows]) >= 0]
            self.radii[rows] += _STEP

    @property
    def _useful(self) -> Tensor:
        return self._asked.open(_RESERVE) & (self.radii > self._enough)

    def _ask(self, rows: Tensor, signs: Tensor) -> None:
        """Ask once about each row: new signs where it is settled, else a smaller radius."""
        high, low, jump = self.radii[rows], self._low[rows], self._jump[rows]
        settled = high - low <= 1
        leap = torch.where(jump > 0, torch.maximum(high - jump, low + 1), (high + low) // 2)
        radii = torch.where(settled, high - 1, leap)
        signs = torch.where(settled[:, None], signs, self.signs[rows])
        margins = self._margins_of(rows, signs, radii)
        errs = margins < 0
        nearer = settled & (margins < self._margins[rows])
        self.signs[rows[nearer]] = signs[nearer]
        self.err[rows] |= errs
        self.radii[rows[errs]] = radii[errs]
        self._low[rows] = torch.where(errs, torch.where(settled, 0, low), radii)
        self._jump[rows] = torch.where(errs, torch.where(settled, 1, 2 * jump), 0)
        # Margins are those at `_low`; after a start or a flip that errs it is 0, where no one asks.
        margins = torch.where(errs & settled, torch.inf, margins)
        same = torch.where(settled, ~nearer, errs)
        self._margins[rows] = torch.where(same, self._margins[rows], margins)

    def _margins_of(self, rows: Tensor, signs: Tensor, radii: Tensor) -> Tensor:
        levels = self._levels[rows] + signs * (radii / _STEP)[:, None]
        return self._asked.margins(levels.clamp(0, 255).div(255).view(-1, *self._shape[1:]), rows)

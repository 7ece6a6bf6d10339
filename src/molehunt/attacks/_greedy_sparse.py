"""The sparse greedy search: few pixels of any value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from molehunt.attacks._greedy_asked import Asked

_BLOCKS = 49  # about so many blocks of pixels are asked about first
_SHORTLIST = 64  # and then so many pixels of the best blocks
_PASSES = 3  # over the pixels that are left


def search_sparse(
    asked: Asked,
    images: Tensor,
    starts: Tensor,
    fit: Tensor,
    enough: int,
    generator: torch.Generator,
) -> None:
    """Change few pixels of images [N, C, H, W], in place, so that they err.

    By scores: the pixels that matter most, and back from those. By labels, and where that
    finds none: back from each of the starts [N, k, C, H, W] that `fit` [N, k]. An image with
    at most `enough` changed pixels is done; one that does not err stays as it is. What was
    found stays when a question raises.
    """
    originals = images.clone()
    sizes = torch.full((len(images),), images[0, 0].numel() + 1)
    lost = torch.ones_like(fit[:, 0])

    @contextmanager
    def keep(search: _Mixture) -> Iterator[_Mixture]:
        try:
            yield search
        finally:
            better = search.err & (search.sizes < sizes)
            images[better], sizes[better] = search.images[better], search.sizes[better]

    if asked.scores:
        with keep(_Mixture(asked, originals, (originals < 0.5).float())) as ahead:
            worth = ahead.rank_blocks()
            ahead.grow(worth)
        with keep(_Mixture(asked, originals, ahead.values.view_as(images))) as ahead:
            worth = ahead.rank_pixels(worth)
            ahead.grow(worth)
            ahead.walk_back(worth, sizes, enough)
        lost = ~ahead.err
    for number in range(starts.shape[1]):
        back = _Mixture(asked, originals, starts[:, number])
        back.err = fit[:, number] & lost & (sizes > enough)
        with keep(back):
            back.push_to_extremes()
            worth = (back.values - back.originals).abs().amax(1)
            for _ in range(_PASSES):
                before = back.sizes
                ties = torch.rand(worth.shape, generator=generator)
                back.walk_back(worth + 1e-3 * ties, sizes, enough)
                if torch.equal(before, back.sizes):
                    break
                worth = torch.zeros_like(worth)


class _Mixture:
    """Images that take some of their pixels from others.

    `originals` and `values` are float32 [N, C, P]; `mask`, bool [N, P], says which pixels are
    `values` now, and `err`, bool [N], which images are known to err so.
    """

    def __init__(self, asked: Asked, images: Tensor, values: Tensor) -> None:
        self._asked = asked
        self._shape = images.shape
        self.originals = images.flatten(2)
        self.values = values.flatten(2)
        self.mask = (self.values != self.originals).any(1)
        self.err = torch.zeros(len(images), dtype=torch.bool)
        self._side = max(1, round((images[0, 0].numel() / _BLOCKS) ** 0.5))  # of a block

    @property
    def sizes(self) -> Tensor:
        """How many pixels are changed, int64 [N]."""
        return self.mask.sum(1)

    @property
    def images(self) -> Tensor:
        """The images as they are now, [N, C, H, W]."""
        mixed = torch.where(self.mask[:, None], self.values, self.originals)
        return mixed.view(self._shape)

    def margins(self, rows: Tensor, masks: Tensor) -> Tensor:
        """Return the margins [n] of some images with other masks [n, P]."""
        mixed = torch.where(masks[:, None], self.values[rows], self.originals[rows])
        return self._asked.margins(mixed.view(-1, *self._shape[1:]), rows)

    def push_to_extremes(self) -> None:
        """Move the changed pixels to black or white, away from the originals, if that errs."""
        apart = self.values - self.originals
        extremes = torch.where(apart == 0, self.originals, (apart > 0).float())
        rows = (self.err & self._asked.open()).nonzero().flatten()
        if len(rows):
            loud = _Mixture(self._asked, self.images, extremes)
            good = rows[loud.margins(rows, self.mask[rows]) < 0]
            self.values[good] = extremes[good]

    def rank_blocks(self) -> Tensor:
        """Return what the block that each pixel lies in is worth, float [N, P]."""
        height, width = self._shape[-2:]
        across = -(-width // self._side)
        rows, columns = torch.arange(height) // self._side, torch.arange(width) // self._side
        blocks = (rows[:, None] * across + columns).flatten()
        return self._worth_of(blocks.expand(len(self.mask), -1))

    def rank_pixels(self, worth: Tensor) -> Tensor:
        """Return what each pixel of the best blocks is worth, -inf for the others."""
        if self._side == 1:
            return worth
        short = _ranks(-worth) < _SHORTLIST
        return self._worth_of(torch.where(short, short.cumsum(1) - 1, -1))

    def _worth_of(self, groups: Tensor) -> Tensor:
        """Return of each pixel how far its group [N, P] brings the image; -1 is no group."""
        worth = torch.full(groups.shape, -torch.inf)
        for number in range(int(groups.max()) + 1):
            members = groups == number
            rows = (members.any(1) & self._asked.open()).nonzero().flatten()
            if len(rows):
                found = -self.margins(rows, members[rows])
                worth[rows] = torch.where(members[rows], found[:, None], worth[rows])
        return worth

    def grow(self, worth: Tensor) -> None:
        """Change the pixels that are worth most, twice as many each time, until images err."""
        rank = _ranks(-worth)
        known = worth.isfinite().sum(1)
        size = torch.ones_like(known)
        while len(rows := (~self.err & (size <= known) & self._asked.open()).nonzero().flatten()):
            masks = rank[rows] < size[rows, None]
            errs = self.margins(rows, masks) < 0
            self.mask[rows[errs]] = masks[errs]
            self.err[rows[errs]] = True
            more = rows[~errs]
            last = size[more] == known[more]
            size[more] = torch.minimum(size[more] * 2, known[more]) + last.long()

    def walk_back(self, worth: Tensor, best: Tensor, enough: int) -> None:
        """Give pixels their old values, those of least `worth` [N, P] first, while images err.

        Groups of pixels are tried, twice as many after each success; a group that fails is
        halved until the one pixel is found that must stay. An image is given up once as many
        stay as `best` [N], and done with `enough` changed pixels.
        """
        rank = _ranks(worth.masked_fill(~self.mask, torch.inf))
        count = self.sizes
        settled = torch.zeros_like(count)  # ranks below are decided
        failed = torch.full_like(count, -1)  # the end of a group that fails
        size, gap, stay = (count // 4).clamp_min(1), torch.zeros_like(count), count * 0
        while True:
            one = failed == settled + 1
            settled, stay = settled + one.long(), stay + one.long()
            failed[one] = -1
            size = torch.where(one, gap.clamp_min(1), size)
            gap[one] = 0
            useful = self.err & (settled < count) & (stay < best) & (self.sizes > enough)
            rows = (useful & self._asked.open()).nonzero().flatten()
            if not len(rows):
                break
            half = settled + (failed - settled) // 2
            end = torch.where(failed < 0, torch.minimum(settled + size, count), half)
            group = (rank[rows] >= settled[rows, None]) & (rank[rows] < end[rows, None])
            masks = self.mask[rows] & ~group
            errs = self.margins(rows, masks) < 0
            good, wrong = rows[errs], rows[~errs]
            self.mask[good] = masks[errs]
            gap[good] += (end - settled)[good]
            size[good] *= 2
            settled[good] = end[good]
            failed[wrong] = end[wrong]


def _ranks(keys: Tensor) -> Tensor:
    """Return the rank of each key [N, P] in its row, the smallest 0."""
    return keys.argsort(dim=1, stable=True).argsort(dim=1)

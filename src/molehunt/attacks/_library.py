"""What a library's attack needs around it: seeds, a record of what it found, whole pixels."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from molehunt.attacks._evasion import Norm, to_bytes
from molehunt.errors import UnsuitableSubjectError
from molehunt.networks import Queried

_DRAWS = 100  # noise images for a start, at most
# How much further than its boundary an image is pushed until its 8 bits hold.
_PUSHES = (1.0, 1.02, 1.05, 1.1, 1.2, 1.35, 1.6, 2.0)


@contextmanager
def seed_globals(generator: torch.Generator, device: torch.device) -> Iterator[int]:
    """Seed the generators that libraries draw from, yield the seed, and put them back.

    Examples
    --------
    >>> before = torch.get_rng_state()
    >>> with seed_globals(torch.Generator().manual_seed(0), torch.device("cpu")) as seed:
    ...     drawn = torch.rand(1)
    >>> torch.equal(before, torch.get_rng_state())
    True
    """
    seed = int(torch.randint(2**31, (1,), generator=generator))
    of_numpy, of_python = np.random.get_state(), random.getstate()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield seed
        finally:
            np.random.set_state(of_numpy)
            random.setstate(of_python)


def fools(answers: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """Tell which answers, [N, K] or labels [N], are what an attack wants, bool [N]."""
    said = answers.argmax(1) if answers.ndim == 2 else answers
    return said != labels if targets is None else said == targets


class Record(nn.Module):
    """A target as a torch module that remembers the closest image that fooled it.

    What a library returns for an image that it could not change differs from attack to
    attack (EAD returns black), and it returns nothing when it is stopped.

    Attributes
    ----------
    best : Tensor of float32, shape [N, C, H, W]
        The closest images that fooled the target; originals where none did.
    sizes : Tensor of float32, shape [N]
        Of their changes; infinity where none did.
    """

    def __init__(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        norm: Norm,
    ) -> None:
        super().__init__()
        self._inner = target.module()
        self._images, self._labels, self._targets = images, labels, targets
        self._norm = norm
        self.best = images.clone()
        self.sizes = torch.full((len(images),), torch.inf, device=images.device)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the target's answers, [N, K]; images that left the range are brought back.

        Raises
        ------
        UnsuitableSubjectError
            In the backward pass, if the gradient of no image is finite. Gradients of single
            images that are not finite count as zero, so the rest of the batch goes on.
        """
        low, high = images.detach().aminmax()
        if not (bool(low >= 0) and bool(high <= 1)):
            images = images.clamp(0, 1)
            if images.shape == self._images.shape:
                images = torch.where(images.isnan(), self._images, images)
        if images.requires_grad:
            images.register_hook(_check_gradients)  # type: ignore[no-untyped-call]
        answers: Tensor = self._inner(images)
        if images.shape == self._images.shape:
            self.note(images.detach(), answers.detach())
        return answers

    def note(self, images: Tensor, answers: Tensor) -> None:
        """Remember those images that fool the target and are closer than what was known."""
        fooled = fools(answers, self._labels, self._targets)
        if not bool(fooled.any()):
            return
        sizes = self._norm.of(images - self._images)
        better = fooled & (sizes < self.sizes)
        self.best[better] = images[better]
        self.sizes[better] = sizes[better]


def _check_gradients(gradients: Tensor) -> Tensor:
    lost = ~gradients.flatten(1).isfinite().all(1)
    if bool(lost.all()):
        raise UnsuitableSubjectError(
            "the model's gradients are not finite (NaN or infinity): an attack that follows them "
            "means nothing; attack its confidences or its labels"
        )
    if bool(lost.any()):
        gradients = gradients.masked_fill(lost.view(-1, 1, 1, 1), 0)
    return gradients.contiguous()  # libraries call view() on them


def settle(
    target: Queried,
    images: Tensor,
    originals: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    norm: Norm | None,
    epsilon: float | None,
    *,
    push: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return images that fool the target when they are saved with 8 bits, and which do, bool [N].

    The closest image lies on the boundary, and rounding takes it back over it; so it is
    pushed away from its original, as far as `epsilon` allows. An image that no push helps is
    returned as it came. Each question to the target counts.

    Parameters
    ----------
    target : Queried
    images, originals : Tensor of float32, shape [N, C, H, W], in [0, 1]
    labels, targets : Tensor of int64, shape [N]
    norm, epsilon : optional
        The ball that changes may not leave.
    push : bool
        Whether to push at all, or only to ask.
    """
    settled, saved = images.clone(), (originals * 255).round().to(torch.uint8)
    done = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    open_ = (images != originals).flatten(1).any(1).nonzero().flatten()
    for factor in _PUSHES if push else _PUSHES[:1]:
        if not len(open_):
            break
        pushed = push_away(images[open_], originals[open_], factor, norm, epsilon)
        tried = to_bytes(pushed, saved[open_], norm, epsilon).float() / 255
        wanted = None if targets is None else targets[open_]
        held = fools(target.predict(tried), labels[open_], wanted)
        settled[open_[held]] = tried[held]
        done[open_[held]] = True
        open_ = open_[~held]
    return settled, done


def push_away(
    images: Tensor, originals: Tensor, factor: float, norm: Norm | None, epsilon: float | None
) -> Tensor:
    """Return images whose changes are `factor` times as large, as far as an L2 ball allows."""
    change = factor * (images - originals)
    if norm is Norm.L2 and epsilon is not None:
        change *= (epsilon / norm.of(change)).clamp_max(1).view(-1, 1, 1, 1)
    return originals + change


def find_starts(
    target: Queried,
    images: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    others: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return for each image another that fools the target already, and which have one, bool [N].

    The nearest one of `images` and `others`, else noise. An image that fools the target as it
    is needs no start and gets none.
    """
    pool = images if others is None else torch.cat([images, others.to(images)])
    said = target.predict(pool)
    columns = said.expand(len(images), -1)
    fits = columns != labels[:, None] if targets is None else columns == targets[:, None]
    distances = torch.cdist(images.flatten(1), pool.flatten(1))
    starts = pool[distances.masked_fill(~fits, torch.inf).argmin(1)]
    has, needed = fits.any(1), ~fools(said[: len(images)], labels, targets)
    for _ in range(_DRAWS):
        open_ = (needed & ~has).nonzero().flatten()
        if not len(open_):
            break
        noise = torch.rand_like(images[open_])
        wanted = None if targets is None else targets[open_]
        good = fools(target.predict(noise), labels[open_], wanted)
        starts[open_[good]] = noise[good]
        has[open_[good]] = True
    return starts, has & needed

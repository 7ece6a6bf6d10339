"""Membership from labels alone: members keep their label under larger changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from molehunt.attacks._membership import check_candidates, moved_views
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Queried, Reveals


@dataclass(frozen=True)
class LabelRobustness:
    """Choquette-Choo, Tramèr, Carlini and Papernot, Label-Only Membership Inference, ICML 2021.

    The score is the share of changed copies that the target labels right: moved ones,
    and noisy ones, where noise stands for the distance to the boundary. With ``shift=0`` and
    ``draws=0`` it is their gap attack: what is labelled right is a member.

    Deviation: the copies are counted; no shadow model learns to weigh them.

    Parameters
    ----------
    shift : int
        Pixels by which images are moved, up, down, left and right.
    noises : tuple of float
        Standard deviations of normal noise on pixels in [0, 1].
    draws : int
        Noisy copies for each of `noises`.
    seed : int
        Of the noise, the same for every image.

    Raises
    ------
    InvalidRequestError
        If a setting is outside its range.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import Queried, build_classifier
    >>> digits = load_images("digits").test
    >>> model = build_classifier("mlp", digits, arguments={"hidden": [8]}, seed=0)
    >>> target = Queried(model, reveals=Reveals.LABELS)
    >>> scores = LabelRobustness(draws=1).score(target, digits.images, digits.labels)
    >>> target.queries // len(scores)
    8
    """

    shift: int = 1
    noises: tuple[float, ...] = (0.02, 0.05, 0.1)
    draws: int = 3
    seed: int = 0

    name = "label-robustness"
    needs = Reveals.LABELS

    def __post_init__(self) -> None:
        if self.draws < 0:
            raise InvalidRequestError(mismatch("draws", "0 or more", self.draws))
        if not all(0 < noise <= 1 for noise in self.noises):
            raise InvalidRequestError(mismatch("noises", "over 0 to 1", self.noises))

    def score(self, target: Queried, images: Tensor, labels: Tensor) -> Tensor:
        """Return shares of copies with the true label, float64 [N]; see `MembershipAttack`."""
        check_candidates(target, images, labels, self.needs)
        right = torch.zeros(len(images), dtype=torch.float64)
        copies = 0
        for copy in self._copies(images):
            parts = [target.predict(part.float().div_(255)).cpu() for part in copy.split(1000)]  # type: ignore[no-untyped-call]
            right += torch.cat(parts) == labels
            copies += 1
        return right / copies

    def _copies(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the images and their changed copies, each of 8 bits."""
        yield from moved_views(images, self.shift)
        generator = torch.Generator().manual_seed(self.seed)
        for noise in self.noises:
            for _ in range(self.draws):
                change = 255 * noise * torch.randn(images.shape[1:], generator=generator)
                yield (images + change).round_().clamp_(0, 255).to(torch.uint8)

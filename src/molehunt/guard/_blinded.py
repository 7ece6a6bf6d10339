"""An attacker's answer to monitors: no query is sent as it is."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.guard._front import Front
from molehunt.networks import Classifier, Reveals


class Blinded(Front):
    """A model that is asked about a random variant of each image.

    Query blinding (Chen, Carlini and Wagner, 2019, section 7): a random affine map that the
    model's answer should survive keeps queries apart from one another, and noise does. The
    attack pays with answers that are random. Who measures asks the model itself.

    Parameters
    ----------
    model : Classifier
        Behind a guard, or logged.
    noise : float
        Standard deviation that is added to pixels in [0, 1].
    turn : float
        Largest angle, in degrees.
    shift, scale : float
        Largest shift and change of size, as a share of the image's side.
    votes : int
        Variants of each image that are asked about; the mean of their answers counts.
    reveals : Reveals
        What the attacker sees of each answer: labels vote, probabilities are averaged.
    seed : int

    Raises
    ------
    InvalidRequestError
        If a setting is negative, or there are no votes.

    Examples
    --------
    >>> from molehunt.guard import Logged
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits")
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> logged = Logged(build_classifier("vgg", digits.train, arguments=vgg, seed=0))
    >>> same = digits.test.pixels()[:1].repeat(2, 1, 1, 1)
    >>> _ = Blinded(logged, turn=10.0, seed=0)(same)
    >>> first, second = logged.log().images
    >>> bool((first == second).all())
    False
    """

    def __init__(
        self,
        model: Classifier,
        *,
        noise: float = 0.0,
        turn: float = 0.0,
        shift: float = 0.0,
        scale: float = 0.0,
        votes: int = 1,
        reveals: Reveals = Reveals.CONFIDENCES,
        seed: int = 0,
    ) -> None:
        for name, value in (("noise", noise), ("turn", turn), ("shift", shift), ("scale", scale)):
            if value < 0:
                raise InvalidRequestError(
                    mismatch(f"{name} of blinded queries", "0 or more", value)
                )
        if votes < 1:
            raise InvalidRequestError(mismatch("votes of blinded queries", "1 or more", votes))
        super().__init__(model)
        self._votes, self._reveals = votes, Reveals(reveals)
        self._noise = noise
        self._largest = torch.tensor([math.radians(turn), scale, 2 * shift, 2 * shift])
        self._generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the logarithms [N, K] of the mean answer to variants of each image."""
        # All variants of an image stand together, as they are sent.
        many = self._vary(images.cpu().repeat_interleave(self._votes, 0)).to(images.device)
        answers = self.behind(many)
        if self._reveals is Reveals.LABELS:
            shares = functional.one_hot(answers.argmax(1), answers.shape[1]).float()
        else:
            shares = answers.softmax(1)
        means = shares.view(len(images), self._votes, -1).mean(1)
        return means.clamp_min(torch.finfo(torch.float32).tiny).log()

    def _vary(self, images: Tensor) -> Tensor:
        if bool(self._largest.any()):
            draws = 2 * torch.rand(len(images), 4, generator=self._generator) - 1
            angle, scale, right, down = (draws * self._largest).unbind(1)
            cosine, sine = angle.cos() * (1 + scale), angle.sin() * (1 + scale)
            maps = torch.stack([cosine, -sine, right, sine, cosine, down], 1).view(-1, 2, 3)
            grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
            images = functional.grid_sample(
                images, grid, padding_mode="border", align_corners=False
            )
        noise = torch.randn(images.shape, generator=self._generator)
        return (images + self._noise * noise).clamp(0, 1)

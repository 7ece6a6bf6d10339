"""What a model was asked, as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.files import written_whole
from molehunt.guard._front import Front
from molehunt.images import StoredArray, read_arrays
from molehunt.networks import Classifier


@dataclass(frozen=True)
class QueryLog:
    """Queries in their order.

    Parameters
    ----------
    images : Tensor of uint8, shape [N, C, H, W]
    labels : Tensor of int64, shape [N]
        What the model took them for.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def save(self, path: Path) -> None:
        """Write an npz file with the arrays ``images`` and ``labels``.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with written_whole(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, images=self.images.numpy(), labels=self.labels.numpy())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read such a file, whoever wrote it.

        Raises
        ------
        UnreadableFileError, InvalidRequestError
            If it is no npz file, too large, or its arrays are no images and labels.
        """
        found = read_arrays(path, ("images", "labels"), _check)
        images = torch.from_numpy(found["images"])
        return cls(images, torch.from_numpy(found["labels"].astype(np.int64)))


def _check(arrays: Mapping[str, StoredArray], path: Path) -> None:
    images, labels = arrays["images"], arrays["labels"]
    if images.kind != np.uint8 or len(images.shape) != 4 or 0 in images.shape:
        got = f"{images.kind} of shape {images.shape}"
        raise InvalidRequestError(
            mismatch(f"images in {path}", "uint8 of shape [N, C, H, W], N at least 1", got)
        )
    if labels.kind.kind not in "iu" or labels.shape != images.shape[:1]:
        got = f"{labels.kind} of shape {labels.shape}"
        allowed = f"integers of shape [{images.shape[0]}]"
        raise InvalidRequestError(mismatch(f"labels in {path}", allowed, got))


class Logged(Front):
    """A classifier that remembers what it was asked.

    Parameters
    ----------
    model : Classifier
    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import Queried, build_classifier
    >>> digits = load_images("digits")
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> logged = Logged(build_classifier("vgg", digits.train, arguments=vgg, seed=0))
    >>> _ = Queried(logged).predict(digits.test.pixels()[:8])
    >>> len(logged.log())
    8
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__(model)
        self._images: list[Tensor] = []
        self._labels: list[Tensor] = []

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return the model's logits [N, K], and remember images and labels."""
        answers: Tensor = self.behind(images)
        self._images.append(images.detach().mul(255).round().clamp(0, 255).byte().cpu())
        self._labels.append(answers.argmax(1).cpu())
        return answers

    def log(self) -> QueryLog:
        """Return all queries until now, as images of 8 bits.

        Raises
        ------
        InvalidRequestError
            If nothing was asked.
        """
        if not self._images:
            raise InvalidRequestError(mismatch("queries of a log", "1 or more", "none"))
        return QueryLog(torch.cat(self._images), torch.cat(self._labels))

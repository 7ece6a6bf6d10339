"""Randomised smoothing: what most of an image's noisy copies are taken for.

Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing" (2019),
section 3.2 (Theorem 1, CERTIFY and PREDICT).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from scipy.stats import beta, binomtest, norm
from torch import Tensor
from torch.nn import functional

from molehunt.defences._certify import check_images
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, fold_batch_norm
from molehunt.progress import Progress, silent
from molehunt.training import Batch

# Noisy copies at once on a CPU, where what stays in a core's cache is fast; on other devices.
_COPIES, _MANY_COPIES = 100, 2000


@dataclass(frozen=True)
class BallCertificates:
    """What a smoothed classifier says of images, and how far around each it holds.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise on pixels in [0, 1].
    alpha : float
        Chance that one certificate is wrong.
    samples : (int, int)
        Noisy copies that choose the class, and that certify it.
    labels : Tensor of int64 [N]
    predictions : Tensor of int64 [N]
        -1 where the classifier abstains.
    radii : Tensor of float64 [N]
        Changes of the image of a smaller Euclidean norm keep the prediction; 0 where it
        abstains.
    """

    sigma: float
    alpha: float
    samples: tuple[int, int]
    labels: Tensor
    predictions: Tensor
    radii: Tensor

    @property
    def abstained(self) -> Tensor:
        """Whether no class is certain enough, bool [N]."""
        return self.predictions < 0

    def certified(self, radius: float) -> Tensor:
        """Whether each image gets its label within the radius, bool [N].

        At radius 0: whether it gets it at all.
        """
        return (self.predictions == self.labels) & (self.radii >= radius)


class Smoothed:
    """A classifier that answers with the class of most noisy copies of an image.

    Only the base classifier's answers are asked for, so that it may be a black box. It
    holds for the base classifier that is smoothed, never for that one alone.

    Parameters
    ----------
    base : Classifier
        Left as it is; best trained on noisy images, see `NoiseObjective`.
    sigma : float
        Standard deviation of the noise, above 0, for pixels in [0, 1]. Noisy pixels may lie
        outside of it.
    alpha : float
        Chance of a wrong answer or certificate, in (0, 1).

    Raises
    ------
    InvalidRequestError
        If sigma or alpha are out of bounds.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> smoothed = Smoothed(build_classifier("strided", digits, seed=0), sigma=0.25)
    >>> found = smoothed.certify(digits.take(torch.arange(3)), n0=10, n=100, seed=0)
    >>> found.radii.shape
    torch.Size([3])
    """

    def __init__(self, base: Classifier, sigma: float, *, alpha: float = 0.001) -> None:
        if not 0 < sigma < float("inf"):
            raise InvalidRequestError(mismatch("`sigma`", "a number above 0", sigma))
        if not 0 < alpha < 1:
            raise InvalidRequestError(mismatch("`alpha`", "a number in (0, 1)", alpha))
        self.base, self.sigma, self.alpha = fold_batch_norm(base), sigma, alpha

    def certify(
        self,
        images: ImageSet,
        *,
        n0: int = 100,
        n: int = 10_000,
        seed: int = 0,
        progress: Progress = silent,
    ) -> BallCertificates:
        """Return the class of each image and a radius that holds with chance 1 - alpha.

        `n0` copies choose the class. Of `n` others, the exact lower bound (Clopper and
        Pearson) of that class's share p gives sigma * the normal quantile of p.

        Parameters
        ----------
        images : ImageSet
            Of the base classifier's shape.
        n0, n : int
            1 or more.
        seed : int
            Draws the noise.
        progress : callable
            Called with the images done and their total.

        Raises
        ------
        InvalidRequestError
            If the images do not fit, or there are no copies.
        UnsuitableSubjectError
            If an answer is not a finite number.
        """
        self._check(images, min(n0, n))
        generator = torch.Generator().manual_seed(seed)
        predictions, radii = [], []
        for image in images.images:
            pixels = image.float() / 255
            guess = int(self._count(pixels, n0, generator).argmax())
            hits = int(self._count(pixels, n, generator)[guess])
            least = float(beta.ppf(self.alpha, hits, n - hits + 1)) if hits else 0.0
            certain = least > 0.5
            predictions.append(guess if certain else -1)
            radii.append(self.sigma * float(norm.ppf(least)) if certain else 0.0)
            progress(len(radii), len(images))
        return BallCertificates(
            self.sigma,
            self.alpha,
            (n0, n),
            images.labels,
            torch.tensor(predictions),
            torch.tensor(radii, dtype=torch.float64),
        )

    def predict(self, images: ImageSet, *, n: int = 1000, seed: int = 0) -> Tensor:
        """Return the class of each image, int64 [N]; -1 where it abstains.

        It abstains unless the most frequent class of `n` copies beats the second by an
        exact test at level alpha. An answer other than the smoothed classifier's own has
        chance alpha.

        Raises
        ------
        InvalidRequestError, UnsuitableSubjectError
            As `certify`.
        """
        self._check(images, n)
        generator = torch.Generator().manual_seed(seed)
        answers = []
        for image in images.images:
            counts = self._count(image.float() / 255, n, generator)
            first, second = counts.topk(2).values.tolist()
            sure = binomtest(first, first + second, 0.5).pvalue <= self.alpha
            answers.append(int(counts.argmax()) if sure else -1)
        return torch.tensor(answers)

    def _check(self, images: ImageSet, copies: int) -> None:
        if copies < 1:
            raise InvalidRequestError(mismatch("noisy copies of an image", "1 or more", copies))
        check_images(self.base, images)

    @torch.no_grad()
    def _count(self, pixels: Tensor, copies: int, generator: torch.Generator) -> Tensor:
        """Return how many noisy copies of an image [C, H, W] get each class, int64 [K]."""
        classes = self.base.card.num_classes
        counts = torch.zeros(classes, dtype=torch.int64)
        for size in self._sizes(copies):
            noise = torch.randn((size, *pixels.shape), generator=generator)
            noisy = noise.mul_(self.sigma).add_(pixels)
            noisy = noisy.to(self.base.mean.device, memory_format=self.base.layout)
            answers = self.base(noisy)
            if not bool(answers.isfinite().all()):
                raise UnsuitableSubjectError(
                    mismatch("answers to noisy images", "finite numbers", "others")
                )
            counts += answers.argmax(1).bincount(minlength=classes).cpu()
        return counts

    def _sizes(self, copies: int) -> Iterator[int]:
        most = _COPIES if self.base.mean.device.type == "cpu" else _MANY_COPIES
        while copies > 0:
            yield min(most, copies)
            copies -= most


class NoiseObjective:
    """Cross entropy of noisy images, an objective of `molehunt.training.train`.

    Every pixel gets normal noise of deviation `sigma`, anew at each step (Cohen et al., 2019,
    section 3.3). `Recipe.noise` draws its strength and stays in [0, 1]; this does neither.

    Parameters
    ----------
    sigma : float
        Above 0.

    Raises
    ------
    InvalidRequestError
        If sigma is not above 0.
    """

    def __init__(self, sigma: float) -> None:
        if not 0 < sigma < float("inf"):
            raise InvalidRequestError(mismatch("`sigma`", "a number above 0", sigma))
        self.sigma = sigma

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        noisy = batch.pixels + self.sigma * torch.randn_like(batch.pixels)
        return functional.cross_entropy(model(noisy).float(), batch.labels)

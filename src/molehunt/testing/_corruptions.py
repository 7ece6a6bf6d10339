"""Corner cases: what light, weather and cameras do to images, at five severities."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.defences import JpegCompression
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.rates import rate_interval
from molehunt.testing._asking import check_images, labels_of
from molehunt.testing._changes import blur, draw_rectangles, move, round_to_bytes

SEVERITIES = (1, 2, 3, 4, 5)
_AT_ONCE = 1000  # images


@dataclass(frozen=True)
class Corruption:
    """One way in which images become worse.

    Parameters
    ----------
    strengths : tuple of float
        Of the five severities, in the unit that `what` says.
    what : str
        What changes, in a few words.
    apply : callable
        From pixels [N, C, H, W] in [0, 1], a strength and a generator to changed pixels.
    weather : bool
        Whether it is about scenes outside; then it is not usual for grey images.
    """

    strengths: tuple[float, ...]
    what: str
    apply: Callable[[Tensor, float, torch.Generator], Tensor]
    weather: bool = False


def _rotate(pixels: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, (len(pixels),), generator=generator) * 2 - 1
    return move(pixels, signs * degrees, torch.zeros(len(pixels), 2))


def _blur(pixels: Tensor, deviation: float, _: torch.Generator) -> Tensor:
    return blur(pixels, torch.full((len(pixels),), deviation * _unit(pixels)))


def _brighten(pixels: Tensor, amount: float, _: torch.Generator) -> Tensor:
    return pixels + amount


def _darken(pixels: Tensor, share: float, _: torch.Generator) -> Tensor:
    return pixels * (1 - share)


def _flatten(pixels: Tensor, share: float, _: torch.Generator) -> Tensor:
    mean = pixels.mean((1, 2, 3), keepdim=True)
    return mean + (pixels - mean) * (1 - share)


def _compress(pixels: Tensor, quality: float, _: torch.Generator) -> Tensor:
    compressed: Tensor = JpegCompression(quality=int(quality))(pixels)
    return compressed


def _cover(pixels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    height, width = pixels.shape[2:]
    size = tuple(max(1, round(side * share**0.5)) for side in (height, width))
    mask = draw_rectangles(len(pixels), (height, width), (size[0], size[1]), generator)
    return torch.where(mask, 0.5, pixels)


def _add_noise(pixels: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    return pixels + deviation * torch.randn(pixels.shape, generator=generator)


def _fog(pixels: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """Blend with white, more in some places: a coarse random field between 0.6 and 1."""
    coarse = torch.rand(len(pixels), 1, 4, 4, generator=generator)
    field = functional.interpolate(coarse, pixels.shape[2:], mode="bicubic").clamp(0, 1)
    share = density * (0.6 + 0.4 * field)
    return pixels * (1 - share) + share


def _rain(pixels: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """Draw bright streaks of a sixth of the height, slanted, under a darker sky."""
    length = max(2, round(pixels.shape[2] / 6))
    drops = torch.rand(len(pixels), 1, *pixels.shape[2:], generator=generator)
    streak = torch.eye(length)[None, None]
    # A streak covers as many pixels as it is long.
    drops = (drops < density / length).float()
    streaks = functional.conv2d(drops, streak, padding=length // 2)
    streaks = 0.6 * streaks[:, :, : pixels.shape[2], : pixels.shape[3]].clamp(0, 1)
    return pixels * 0.85 * (1 - streaks) + 0.9 * streaks


def _snow(pixels: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """Draw white flakes about a thirtieth of the image wide, in a scene without contrast."""
    flakes = torch.rand(len(pixels), 1, *pixels.shape[2:], generator=generator)
    flakes = (flakes < density / (4 * _unit(pixels) ** 2)).float()
    soft = blur(flakes, torch.full((len(pixels),), 0.7 * _unit(pixels)))
    soft = (soft * 4 * _unit(pixels) ** 2).clamp(0, 1)
    pale = pixels * (1 - density / 2) + density / 2 * 0.8
    return pale * (1 - soft) + soft


def _unit(pixels: Tensor) -> float:
    """Return the size of a pixel of a 32x32 image, in pixels of these images."""
    return min(pixels.shape[2:]) / 32


# Looked at on MNIST, GTSRB and CIFAR-10 (docs/studies/testing/corners.png): at severity 3 we
# still name what is there, at 5 not always. No network was asked.
CORRUPTIONS: dict[str, Corruption] = {
    "rotation": Corruption((6, 12, 18, 24, 30), "degrees either way", _rotate),
    "brightness": Corruption((0.1, 0.2, 0.3, 0.4, 0.5), "light added to every pixel", _brighten),
    "darkness": Corruption((0.2, 0.4, 0.6, 0.7, 0.8), "share of the light taken away", _darken),
    "contrast": Corruption((0.2, 0.4, 0.6, 0.7, 0.8), "share of the contrast taken", _flatten),
    "blur": Corruption((0.5, 0.75, 1.0, 1.5, 2.0), "deviation, in 32nds of the side", _blur),
    "jpeg": Corruption((80, 50, 30, 15, 8), "quality", _compress),
    "occlusion": Corruption((0.02, 0.04, 0.08, 0.12, 0.16), "share covered by grey", _cover),
    "noise": Corruption((0.04, 0.08, 0.12, 0.18, 0.26), "deviation of normal noise", _add_noise),
    "fog": Corruption((0.2, 0.35, 0.5, 0.65, 0.8), "density", _fog, weather=True),
    "rain": Corruption((0.05, 0.1, 0.15, 0.22, 0.3), "share of pixels in streaks", _rain, True),
    "snow": Corruption((0.05, 0.1, 0.15, 0.22, 0.3), "share of pixels in flakes", _snow, True),
}


def usual_corruptions(channels: int) -> tuple[str, ...]:
    """Return the names of what images with so many channels are tested on.

    Grey images have no weather: they are scans more often than scenes.

    Examples
    --------
    >>> len(usual_corruptions(1)), len(usual_corruptions(3))
    (8, 11)
    """
    return tuple(
        name
        for name, corruption in CORRUPTIONS.items()
        if (channels == 3 or not corruption.weather) and (channels in (1, 3) or name != "jpeg")
    )


def corrupt(images: Tensor, name: str, severity: int, *, seed: int = 0) -> Tensor:
    """Return worse images, uint8 [N, C, H, W].

    In the spirit of Hendrycks and Dietterich (2019), with strengths of our own for small
    images; sizes grow with the side of the image.

    Parameters
    ----------
    images : Tensor of uint8, shape [N, C, H, W]
    name : str
        One of `CORRUPTIONS`.
    severity : int
        1 to 5; 0 leaves them as they are.
    seed : int
        Of all draws.

    Raises
    ------
    InvalidRequestError
        For another name or severity.
    UnsuitableSubjectError
        If JPEG is asked of images with other than one or three channels.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> digits = load_images("digits", size=12).test.images[:2]
    >>> corrupt(digits, "brightness", 1)[0, 0, 0, :3].tolist(), digits[0, 0, 0, :3].tolist()
    ([26, 26, 26], [0, 0, 0])
    """
    check_corruptions([name])
    if severity not in (0, *SEVERITIES):
        raise InvalidRequestError(mismatch("severity", "0 to 5", severity))
    if not severity:
        return images
    corruption = CORRUPTIONS[name]
    number = list(CORRUPTIONS).index(name)
    generator = torch.Generator().manual_seed((seed * 100 + number) * 10 + severity)
    changed = [
        corruption.apply(part.float().div_(255), corruption.strengths[severity - 1], generator)
        for part in images.split(_AT_ONCE)  # type: ignore[no-untyped-call]
    ]
    return round_to_bytes(torch.cat(changed))


def check_corruptions(names: Sequence[str]) -> None:
    """Refuse names that are not in `CORRUPTIONS`.

    Raises
    ------
    InvalidRequestError
    """
    for name in names:
        if name not in CORRUPTIONS:
            allowed = f"one of {', '.join(CORRUPTIONS)}"
            raise InvalidRequestError(mismatch("corruption", allowed, repr(name)))


@dataclass(frozen=True)
class SeverityCurve:
    """How many images a model gets right at each severity of a corruption.

    Parameters
    ----------
    corruption : str
    right : tuple of int
        Images that are right at severities 0 (as they are) to 5.
    of : int
        Images.

    Examples
    --------
    >>> curve = SeverityCurve("blur", (90, 80, 60, 40, 20, 10), 100)
    >>> rate, (low, high) = curve.accuracy(2)
    >>> rate, round(low, 2), round(high, 2), round(curve.mean, 2)
    (0.6, 0.5, 0.7, 0.42)
    """

    corruption: str
    right: tuple[int, ...]
    of: int

    def accuracy(self, severity: int) -> tuple[float, tuple[float, float]]:
        """Return the share that is right at a severity, with its exact 95 % interval."""
        return self.right[severity] / self.of, rate_interval(self.right[severity], self.of)

    @property
    def mean(self) -> float:
        """The mean of the shares at severities 1 to 5."""
        return math.fsum(self.right[1:]) / (self.of * len(SEVERITIES))


def measure_corruptions(
    model: Classifier,
    clean: ImageSet,
    corruptions: Sequence[str] | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> list[SeverityCurve]:
    """Measure a model's accuracy on images that become worse.

    Parameters
    ----------
    model : Classifier
    clean : ImageSet
        Of the model's shape and classes.
    corruptions : sequence of str, optional
        Names of `CORRUPTIONS`; the usual ones when not given.
    seed : int
    progress : Progress
        In corruptions.

    Returns
    -------
    list of SeverityCurve
        One a corruption, in the order of their names.

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        If the images do not fit the model, a name is unknown, or an answer is not finite.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12)
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> (curve,) = measure_corruptions(model, digits.test, ["rotation"])
    >>> curve.of, len(curve.right)
    (450, 6)
    """
    check_images(model, clean)
    names = usual_corruptions(clean.shape[0]) if corruptions is None else corruptions
    check_corruptions(names)
    untouched = int((labels_of(model, clean.images) == clean.labels).sum())
    curves = []
    for number, name in enumerate(names):
        right = [untouched]
        for severity in SEVERITIES:
            worse = corrupt(clean.images, name, severity, seed=seed)
            right.append(int((labels_of(model, worse) == clean.labels).sum()))
        curves.append(SeverityCurve(name, tuple(right), len(clean)))
        progress(number + 1, len(names))
    return curves

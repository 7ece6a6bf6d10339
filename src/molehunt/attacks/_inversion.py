"""Model inversion: what a class looks like, from how a model's confidence in it changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from molehunt.attacks._class_slopes import ask_slopes, look, variation
from molehunt.attacks._image_priors import Canvas, DeepImage, Pixels, Prior
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.networks import BudgetSpentError, Queried, Reveals
from molehunt.progress import Progress, silent

_AT_ONCE = 50  # classes
_TINY = 1e-30  # of a confidence: its logarithm is taken


@dataclass(frozen=True)
class Inverted:
    """What classes look like to a model.

    Parameters
    ----------
    classes : Tensor of int64, shape [K]
    images : Tensor of uint8, shape [K, C, H, W]
        One a class.
    confidences : Tensor of float32, shape [K]
        The target's, in each image's class, of the 8-bit images. A model is confident of many
        images that show nothing: who recognises one must be somebody else.
    queries : int
        Images that the target was asked about.
    seconds : float
        On the clock.
    note : str
        What went wrong, in one sentence; empty where nothing did.
    """

    classes: Tensor
    images: Tensor
    confidences: Tensor
    queries: int
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class ModelInversion:
    """Images that a model is most confident of, a class each, found downhill from grey.

    Fredrikson, Jha and Ristenpart (Model Inversion Attacks that Exploit Confidence Information
    and Basic Countermeasures, CCS 2015), the attack on face recognition (MI-Face): steps against
    the slopes of a cost, and the best image of all is kept. What is different: the cost is the
    negative logarithm of the confidence (plus total variation); steps have momentum and a length
    that does not depend on the slopes; not the image is denoised after each step, but the step;
    slopes are means over views that are moved and noisy, without which networks of convolutions
    show nothing that an eye knows; images are measured as 8-bit ones. Where weights are seen
    slopes are gradients; where confidences are seen they come from one question a pixel, or a
    cell of pixels. To steal a copy first and to invert that (Tramèr et al. 2016, section 5) is
    often cheaper: `EquationSolving` or `QueryAndTrain`, then this.

    Parameters
    ----------
    steps : int
    lr : float
        Root mean square of the first step's changes of the pixels; steps become shorter.
    denoise : float
        Standard deviation of the Gaussian filter over each step, as a share of the image's
        smaller side; 0 for none.
    total_variation : float
        Weight of the mean absolute difference of neighbouring pixels in the cost.
    views : int
        That a step averages over; 0 for the image as it is.
    shift, noise : float
        Of the views: most that each is moved, as a share of its height and width, and the largest
        standard deviation of its noise.
    prior : Prior
        ``deep-image`` takes neither `lr` nor `denoise`.
    start : float
        Brightness of the first image.
    stop_at : float
        A class is done where the confidence is so high; 1 takes all steps.
    cell : int
        Without weights: height and width of the squares of pixels that one question is about.
    difference : float
        Without weights: by how much a question changes its pixels.
    seed : int
        Of the views, and the networks of ``deep-image``.

    Raises
    ------
    InvalidRequestError
        If a setting is outside its range.

    Examples
    --------
    >>> from molehunt.attacks import ModelInversion
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import Queried, Reveals, build_classifier
    >>> digits = load_images("digits")
    >>> model = build_classifier("mlp", digits.train, arguments={"hidden": []}, seed=0)
    >>> target = Queried(model, reveals=Reveals.WEIGHTS)
    >>> found = ModelInversion(steps=20).invert(target, [3, 8])
    >>> found.images.shape, found.queries
    (torch.Size([2, 1, 8, 8]), 122)
    """

    steps: int = 100
    lr: float = 0.02
    denoise: float = 0.035
    total_variation: float = 0.0
    views: int = 2
    shift: float = 0.07
    noise: float = 0.3
    prior: Prior = Prior.PIXELS
    start: float = 0.5
    stop_at: float = 1.0
    cell: int = 1
    difference: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("steps", 1, 100_000),
            ("cell", 1, 10_000),
            ("views", 0, 1000),
            ("shift", 0, 0.5),
            ("noise", 0, 1),
            ("lr", 1e-6, 1),
            ("denoise", 0, 0.5),
            ("total_variation", 0, 1e6),
            ("start", 0, 1),
            ("stop_at", 0, 1),
            ("difference", 1 / 255, 0.5),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidRequestError(mismatch(name, f"{low:.4g} to {high:g}", value))
        if self.prior not in [*Prior]:
            raise InvalidRequestError(mismatch("prior", " or ".join(Prior), self.prior))

    def invert(
        self,
        target: Queried,
        classes: Sequence[int] | None = None,
        progress: Progress = silent,
    ) -> Inverted:
        """Return an image of each class; a spent budget keeps what was found.

        Parameters
        ----------
        target : Queried
        classes : sequence of int, optional
            All of the model's when not given.
        progress : Progress
            In steps.

        Raises
        ------
        InvalidRequestError
            If the model has no such class.
        UnsuitableSubjectError
            If only labels are revealed, or an answer is not finite.
        BudgetSpentError
            If the budget does not suffice for a first look.
        """
        wanted = self._check(target, classes)
        started, asked = time.perf_counter(), target.queries
        found: list[tuple[Tensor, Tensor]] = []
        note, spent = "", False
        parts = wanted.split(_AT_ONCE)  # type: ignore[no-untyped-call]
        for number, part in enumerate(parts):
            climb = _Climb(self, target, part)
            try:
                for step in range(self.steps + 1):
                    if not climb.step(last=step == self.steps):
                        break
                    progress(number * self.steps + step + 1, len(parts) * self.steps)
            except BudgetSpentError as error:
                if climb.images is None and not found:
                    raise
                note, spent = f"{error}; the images are the best until then", True
            if climb.images is not None:
                found.append((climb.images.cpu(), climb.confidences.cpu()))
            if spent:
                break
            note = note or climb.note
        images, confidences = (torch.cat(each) for each in zip(*found, strict=True))
        if len(images) < len(wanted):
            note += f"; {len(wanted) - len(images)} classes were not reached"
        return Inverted(
            wanted[: len(images)].cpu(),
            images,
            confidences,
            target.queries - asked,
            time.perf_counter() - started,
            note,
        )

    def _check(self, target: Queried, classes: Sequence[int] | None) -> Tensor:
        if target.reveals is Reveals.LABELS:
            raise UnsuitableSubjectError(
                "inversion climbs confidences, and the target reveals its labels only: steal a "
                "copy first, and invert that"
            )
        wanted = [*range(target.num_classes)] if classes is None else [*classes]
        outside = [each for each in wanted if not 0 <= each < target.num_classes]
        if outside or not wanted:
            allowed = f"0 to {target.num_classes - 1}"
            raise InvalidRequestError(mismatch("class", allowed, outside[0] if outside else "none"))
        return torch.tensor(wanted, device=target.device)


class _Climb:
    """The way of some classes' images, and the best until now."""

    def __init__(self, attack: ModelInversion, target: Queried, classes: Tensor) -> None:
        self._attack, self._target, self._classes = attack, target, classes
        shape = (len(classes), *target.input_shape)
        self._canvas: Canvas
        if attack.prior is Prior.DEEP_IMAGE:
            self._canvas = DeepImage(shape[1:], shape[0], seed=attack.seed, device=target.device)
        else:
            first = torch.full(shape, attack.start, device=target.device)
            deviation = attack.denoise * min(target.input_shape[1:])
            self._canvas = Pixels(first, steps=attack.steps, lr=attack.lr, denoise=deviation)
        self._generator = torch.Generator().manual_seed(attack.seed)
        self._costs = torch.full((len(classes),), torch.inf, device=target.device)
        self.images: Tensor | None = None
        self.confidences = torch.zeros(len(classes), device=target.device)
        self.note = ""

    def step(self, *, last: bool) -> bool:
        """Look at the images and move them; return whether there is more to do."""
        images = (self._canvas.images() * 255).round().to(torch.uint8)
        pixels = images.float().div(255)
        confidences, slopes = look(self._target, pixels, self._classes)
        varied, varied_slopes = variation(pixels)
        costs = self._attack.total_variation * varied - confidences.clamp_min(_TINY).log()
        self._keep(images, confidences, costs)
        open_ = self.confidences < self._attack.stop_at
        if self._attack.stop_at == 1:  # a float is 1 where a confidence is not
            open_ = torch.ones_like(open_)
        if last or not bool(open_.any()):
            return False
        if self._attack.views:
            slopes = self._mean_slopes(pixels, open_)
        elif slopes is None:
            slopes = self._ask(pixels, confidences, open_)
        slopes = slopes + self._attack.total_variation * varied_slopes
        slopes = torch.where(open_.view(-1, 1, 1, 1), slopes, torch.zeros_like(slopes))
        if not bool(slopes.any()):
            if bool((self.confidences < 0.5).any()):
                self.note = "no change of the pixels changed a confidence: there is no way to climb"
            return False
        self._canvas.move(slopes)
        return True

    def _keep(self, images: Tensor, confidences: Tensor, costs: Tensor) -> None:
        better = costs <= self._costs
        kept = images if self.images is None else self.images
        self.images = torch.where(better.view(-1, 1, 1, 1), images, kept)
        self.confidences = torch.where(better, confidences, self.confidences)
        self._costs = torch.where(better, costs, self._costs)

    def _mean_slopes(self, pixels: Tensor, open_: Tensor) -> Tensor:
        """Return the mean of the slopes of views, moved back to where their pixels are."""
        total = torch.zeros_like(pixels)
        for _ in range(self._attack.views):
            reach = [int(self._attack.shift * side) for side in pixels.shape[2:]]
            moved = [
                int(torch.randint(-most, most + 1, (), generator=self._generator)) for most in reach
            ]
            deviation = self._attack.noise * float(torch.rand((), generator=self._generator))
            noise = torch.randn(pixels.shape, generator=self._generator).to(pixels.device)
            view = (pixels.roll(moved, (2, 3)) + deviation * noise).clamp(0, 1)
            confidences, slopes = look(self._target, view, self._classes)
            if slopes is None:
                slopes = self._ask(view, confidences, open_)
            total += slopes.roll([-each for each in moved], (2, 3))
        return total / self._attack.views

    def _ask(self, pixels: Tensor, confidences: Tensor, open_: Tensor) -> Tensor:
        slopes = torch.zeros_like(pixels)
        for place in open_.nonzero().flatten().tolist():
            slopes[place] = ask_slopes(
                self._target,
                pixels[place],
                int(self._classes[place]),
                float(confidences[place]),
                self._attack.cell,
                self._attack.difference,
            )
        return slopes

"""New images on which models disagree, by their joint gradient (DeepXplore)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Access, Classifier
from molehunt.progress import Progress, silent
from molehunt.rates import rate_interval
from molehunt.testing._asking import check_images, labels_of
from molehunt.testing._changes import draw_rectangles, round_to_bytes
from molehunt.testing._neurons import NeuronWatch


class Constraint(StrEnum):
    """How an image may change (Pei et al. 2017, section 6.2)."""

    LIGHT = "light"  # all pixels become brighter, or all darker
    OCCLUSION = "occlusion"  # one rectangle is painted over
    BLACKOUT = "blackout"  # a few small squares become black, as dirt on a lens


# Step, steps, and side of the rectangle as a share of the image's. The paper's rectangles;
# its steps and its light have no bound, ours do, so that a person still names the image.
_USUAL: dict[Constraint, tuple[float, int, float]] = {
    Constraint.LIGHT: (0.02, 25, 1.0),
    Constraint.OCCLUSION: (0.1, 25, 10 / 28),
    Constraint.BLACKOUT: (1.0, 12, 3 / 28),
}


@dataclass(frozen=True, eq=False)
class Differences:
    """What a search for disagreement found, judged on the 8-bit images.

    Parameters
    ----------
    originals, images : Tensor of uint8, shape [N, C, H, W]
        Before and after.
    labels : Tensor of int64, shape [N]
        What the originals show.
    before, predictions : Tensor of int64, shape [M, N]
        What each model takes them for, before and after.
    deviators : Tensor of int64, shape [N]
        The model that was pushed away from the others.
    passes : int
        Images asked about, by all models together; a gradient counts as its forward pass.
    seconds : float
        On the clock.
    """

    originals: Tensor
    images: Tensor
    labels: Tensor
    before: Tensor
    predictions: Tensor
    deviators: Tensor
    passes: int
    seconds: float

    @property
    def agreed(self) -> Tensor:
        """Images, bool [N], on which all models agreed before: those that were searched."""
        return (self.before == self.before[:1]).all(0)

    @property
    def found(self) -> Tensor:
        """Those, bool [N], on which they disagree after."""
        return self.agreed & (self.predictions != self.predictions[:1]).any(0)

    @property
    def found_rate(self) -> tuple[float, tuple[float, float]]:
        """The share of searched images that were found, with its exact 95 % interval."""
        hits, of = int(self.found.sum()), int(self.agreed.sum())
        return (hits / of if of else float("nan")), rate_interval(hits, of)


def search_differences(
    models: Mapping[str, Classifier],
    seeds: ImageSet,
    *,
    constraint: Constraint | str = Constraint.OCCLUSION,
    deviator: str | None = None,
    difference_weight: float | None = None,
    coverage_weight: float = 0.1,
    threshold: float = 0.0,
    step: float | None = None,
    steps: int | None = None,
    batch_size: int = 50,
    seed: int = 0,
    progress: Progress = silent,
) -> Differences:
    """Change images until models disagree.

    The joint objective of DeepXplore (Pei et al. 2017, algorithm 1): the logit of the class
    that all agree on, summed over the models but one; less that of the one, the *deviator*, times
    `difference_weight`; and `coverage_weight` times one neuron of each model that no image
    activated yet. Its gradient is followed as far as the constraint lets it. Where it differs
    from the authors' code: batches of images, pixels that stay in [0, 1], a bound on the whole
    change, disagreement judged on 8-bit images.

    Parameters
    ----------
    models : mapping
        Two or more that give gradients, with one shape of images and the same classes.
    seeds : ImageSet
        Of that shape and those classes. Images on which the models disagree already stay.
    constraint : Constraint
    deviator : str, optional
        The model that shall say something else; a random one for each image when not given.
    difference_weight : float, optional
        The paper's lambda 1; the number of the other models when not given. Under that, what all
        share outweighs the push: among three LeNets 3 found three to five times as many as 1.
    coverage_weight : float
        The paper's lambda 2.
    threshold : float
        A neuron is activated when its scaled output is above it.
    step, steps : optional
        Of gradient ascent; the constraint's usual ones when not given.
    batch_size : int
    seed : int
    progress : Progress
        In images.

    Raises
    ------
    InvalidRequestError
        If models, images or settings do not fit each other.
    UnsuitableSubjectError
        If a model gives no gradients, or its neurons cannot be watched and coverage has weight.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12)
    >>> softmax = {"hidden": []}
    >>> models = {
    ...     name: build_classifier("mlp", digits.train, arguments=softmax, seed=seed)
    ...     for seed, name in enumerate("ab")
    ... }
    >>> seeds = digits.test.take(torch.arange(100))
    >>> found = search_differences(models, seeds, constraint="light")
    >>> bool(found.found.any()), bool((found.found <= found.agreed).all())
    (True, True)
    """
    _check(models, seeds, constraint, deviator)
    usual_step, usual_steps, share = _USUAL[Constraint(constraint)]
    step = usual_step if step is None else step
    steps = usual_steps if steps is None else steps
    if step <= 0 or steps < 1 or batch_size < 1:
        got = f"step {step}, {steps} steps, {batch_size} a batch"
        raise InvalidRequestError(mismatch("search", "step above 0, steps and batch from 1", got))
    started = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    push = len(models) - 1.0 if difference_weight is None else difference_weight
    ascent = _Ascent(
        [*models.values()],
        Constraint(constraint),
        (push, coverage_weight, threshold, step, share),
        generator,
    )
    count = len(models)
    if deviator is None:
        deviators = torch.randint(count, (len(seeds),), generator=generator)
    else:
        deviators = torch.full((len(seeds),), [*models].index(deviator))
    before = ascent.labels(seeds.images)
    images, predictions = seeds.images.clone(), before.clone()
    agreed = (before == before[:1]).all(0).nonzero().flatten()
    for part in agreed.split(batch_size) if len(agreed) else ():  # type: ignore[no-untyped-call]
        images[part], predictions[:, part] = ascent.run(
            seeds.images[part], before[0, part], deviators[part], steps
        )
        progress(int(part[-1]) + 1, len(seeds))
    seconds = time.perf_counter() - started
    return Differences(
        *(seeds.images, images, seeds.labels, before, predictions),
        *(deviators, ascent.passes, seconds),
    )


def _check(
    models: Mapping[str, Classifier],
    seeds: ImageSet,
    constraint: Constraint | str,
    deviator: str | None,
) -> None:
    if len(models) < 2:
        raise InvalidRequestError(mismatch("models to compare", "2 or more", len(models)))
    if constraint not in [*Constraint]:
        allowed = ", ".join(Constraint)
        raise InvalidRequestError(mismatch("constraint", allowed, repr(constraint)))
    if deviator is not None and deviator not in models:
        raise InvalidRequestError(mismatch("deviator", ", ".join(models), repr(deviator)))
    first = next(iter(models.values())).card
    for name, model in models.items():
        if Access.GRADIENTS not in model.gives:
            raise UnsuitableSubjectError(
                f"{name} gives no gradients: a search for new differences cannot run on it"
            )
        if model.card.class_names != first.class_names:
            raise InvalidRequestError(
                mismatch("classes of models in a search", "the same in one order", "others")
            )
        check_images(model, seeds)


class _Ascent:
    """Gradient ascent on the joint objective."""

    def __init__(
        self,
        models: list[Classifier],
        constraint: Constraint,
        settings: tuple[float, float, float, float, float],
        generator: torch.Generator,
    ) -> None:
        self.models, self.constraint, self.generator = models, constraint, generator
        self.difference, self.coverage, self.threshold, self.step, self.share = settings
        self.watches = [NeuronWatch(model) for model in models] if self.coverage else []
        self.activated = [torch.zeros(watch.size, dtype=torch.bool) for watch in self.watches]
        self.passes = 0

    def labels(self, images: Tensor) -> Tensor:
        """Return each model's labels, int64 [M, N]."""
        self.passes += len(images) * len(self.models)
        return torch.stack([labels_of(model, images) for model in self.models])

    def run(
        self, originals: Tensor, labels: Tensor, deviators: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Return changed 8-bit images, and the labels [M, n] that the models give them."""
        images, pixels = originals.clone(), originals.float().div_(255)
        predictions = labels.expand(len(self.models), -1).clone()
        masks = self._rectangles(len(originals), originals.shape[2:])
        neurons = [self._choose(activated) for activated in self.activated]
        going = torch.arange(len(originals))
        for _ in range(steps):
            gradient = self._gradient(pixels[going], labels[going], deviators[going], neurons)
            if self.constraint is Constraint.BLACKOUT:
                masks = self._rectangles(len(originals), originals.shape[2:])
            change = self._constrained(gradient, masks[going])
            pixels[going] = (pixels[going] + self.step * change).clamp(0, 1)
            images[going] = round_to_bytes(pixels[going])
            predictions[:, going] = self.labels(images[going])
            same = (predictions[:, going] == predictions[:1, going]).all(0)
            self._activate(images[going[~same]])
            going = going[same]
            if not len(going):
                break
        return images, predictions

    def _gradient(
        self, pixels: Tensor, labels: Tensor, deviators: Tensor, neurons: list[int]
    ) -> Tensor:
        inputs = pixels.clone().requires_grad_()
        self.passes += len(pixels) * len(self.models)
        objective = torch.zeros(())
        for number, model in enumerate(self.models):
            device = model.mean.device
            if self.watches:
                logits, values, _ = self.watches[number].look(inputs.to(device))
                objective = objective + self.coverage * values[:, neurons[number]].sum().cpu()
            else:
                logits = model(inputs.to(device))
            own = logits.cpu().gather(1, labels[:, None]).squeeze(1)
            weight = torch.where(deviators == number, -self.difference, 1.0)
            objective = objective + (weight * own).sum()
        (gradient,) = torch.autograd.grad(objective, inputs)
        return gradient

    def _constrained(self, gradient: Tensor, masks: Tensor) -> Tensor:
        """Return the change that the constraint allows, at most 1 a pixel."""
        if self.constraint is Constraint.LIGHT:
            return gradient.mean((1, 2, 3), keepdim=True).sign().expand_as(gradient)
        inside = torch.where(masks, gradient, 0.0)
        if self.constraint is Constraint.OCCLUSION:
            return inside.sign()
        darker = inside.sum((1, 2, 3), keepdim=True) < 0
        return torch.where(masks & darker, -1.0, 0.0).expand_as(gradient)

    def _rectangles(self, count: int, shape: torch.Size) -> Tensor:
        height, width = shape
        size = tuple(max(1, round(side * self.share)) for side in (height, width))
        return draw_rectangles(count, (height, width), (size[0], size[1]), self.generator)

    def _choose(self, activated: Tensor) -> int:
        """Return a neuron that no image activated, any once all were."""
        left = (~activated).nonzero().flatten()
        choice = int(torch.randint(len(left) or len(activated), (), generator=self.generator))
        return int(left[choice]) if len(left) else choice

    def _activate(self, images: Tensor) -> None:
        if not len(images):
            return
        for watch, activated in zip(self.watches, self.activated, strict=True):
            activated.logical_or_((watch.look_at(images).scaled.cpu() > self.threshold).any(0))

"""An attacker who knows a detector: a training that also keeps the detector's score low."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.detectors._base import Detector
from molehunt.detectors._margin import MaximumMargin
from molehunt.detectors._patterns import PatternDetector, as_features, pool
from molehunt.detectors._read_margins import margins_of
from molehunt.detectors._statistics import WeightStatistics, statistics_of
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Classifier
from molehunt.training import Batch, CrossEntropy

# From a model to what a detector thinks of it, with a gradient.
Penalty = Callable[[Classifier], Tensor]


class Evading:
    """Cross entropy plus `strength` times what detectors would say: an `Objective`.

    The white-box attacker of section 5 of Kolouri et al., who leave open what training against
    litmus patterns does. The detector is differentiated directly through patterns and weight
    statistics: the loss of a model that shall be called clean. Through the maximum margin it is
    by its images, which follow the model: each step moves them uphill a little, and the
    gradient holds them fixed (the envelope theorem).

    Parameters
    ----------
    detector : LitmusPatterns, NoisePatterns, WeightStatistics or MaximumMargin, or several
        Fitted, but for the last. Of several their sum counts.
    strength : float
        0 or more; 0 is a plain backdoor.

    Raises
    ------
    InvalidRequestError
        If no gradient leads through the detector, or the strength is negative; in training, if
        it is in bfloat16 on a CPU.

    Notes
    -----
    Batch normalisation stands still while the detector looks, as it will when the model is
    judged; on CPUs that has no gradient in bfloat16, so the recipe asks for float32. One
    objective serves one training.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import AllToOne, Backdoor, RandomPatch
    >>> from molehunt.detectors import Evading, MaximumMargin
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe, train
    >>> digits = load_images("digits", size=12).train
    >>> backdoor = Backdoor(trigger=RandomPatch(), label_map=AllToOne(target=7), rate=0.1)
    >>> poisoned = backdoor.poison(digits, generator=torch.Generator().manual_seed(0))
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> evading = Evading(MaximumMargin(), strength=1.0)
    >>> recipe = Recipe(epochs=1, batch_size=64, precision="float32")
    >>> train(model, poisoned, recipe, seed=0, objective=evading).steps
    22
    """

    def __init__(
        self,
        detector: Detector | Sequence[Detector],
        strength: float,
        *,
        label_smoothing: float = 0.0,
    ) -> None:
        if not strength >= 0:
            raise InvalidRequestError(mismatch("strength", "0 or more", strength))
        self.strength = strength
        evaded = [detector] if isinstance(detector, Detector) else detector
        if not evaded:
            raise InvalidRequestError(mismatch("detectors to evade", "one or more", "none"))
        self._penalties = [penalty_of(each) for each in evaded]
        self._loss = CrossEntropy(label_smoothing)

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """Return the loss, a scalar."""
        loss = self._loss(model, batch)
        if not self.strength:
            return loss
        if batch.pixels.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            allowed = "a recipe with float32 on a CPU"
            raise InvalidRequestError(mismatch("precision while evading", allowed, "bfloat16"))
        model.eval()
        penalty = torch.stack([each(model) for each in self._penalties]).sum()
        model.train()
        return loss + self.strength * penalty


def penalty_of(detector: Detector) -> Penalty:
    """Return what an attacker minimises to evade a detector.

    Raises
    ------
    InvalidRequestError
        If no gradient leads through it.
    """
    if isinstance(detector, PatternDetector):
        return _by_patterns(detector)
    if isinstance(detector, WeightStatistics):
        return _by_statistics(detector)
    if isinstance(detector, MaximumMargin):
        return _Margins(detector)
    allowed = "LitmusPatterns, NoisePatterns, WeightStatistics or MaximumMargin"
    raise InvalidRequestError(mismatch("detector to evade", allowed, type(detector).__name__))


def _by_patterns(detector: PatternDetector) -> Penalty:
    patterns = torch.as_tensor(detector.patterns_, dtype=torch.float32)
    weights = torch.as_tensor(detector.weights_, dtype=torch.float32)
    bias = float(detector.bias_)

    def penalty(model: Classifier) -> Tensor:
        device = model.mean.device
        logits = model(patterns.to(device)).float()[None]
        features = pool(as_features(logits, detector.features), detector.pooling)[0]
        return functional.softplus(features @ weights.to(device) + bias)

    return penalty


def _by_statistics(detector: WeightStatistics) -> Penalty:
    weights, bias = torch.as_tensor(detector.weights_), float(detector.bias_)

    def penalty(model: Classifier) -> Tensor:
        return functional.softplus(statistics_of(model) @ weights.to(model.mean.device) + bias)

    return penalty


class _Margins:
    """The logarithm of the largest class's margin over the median, by images that follow."""

    _STEPS = 2

    def __init__(self, detector: MaximumMargin) -> None:
        self._detector = detector
        self._images: Tensor | None = None

    def __call__(self, model: Classifier) -> Tensor:
        classes = model.card.num_classes
        goals = torch.arange(classes, device=model.mean.device)
        if self._images is None:
            generator = torch.Generator().manual_seed(self._detector.random_state)
            start = torch.rand(classes, *model.card.input_shape, generator=generator)
            self._images = start.to(goals.device)
        for _ in range(self._STEPS):
            images = self._images.requires_grad_()
            uphill = margins_of(model(images).float(), goals).sum()
            (slope,) = torch.autograd.grad(uphill, images)
            step = self._detector.lr * slope / slope.abs().amax((1, 2, 3), True).clamp(min=1e-12)
            self._images = (images.detach() + step).clamp(0, 1)
        margins = margins_of(model(self._images).float(), goals)
        # Without bends: margins that are negative while the model knows nothing yet count, too.
        positive = functional.softplus(margins)
        return (positive.amax() / positive.median()).log()

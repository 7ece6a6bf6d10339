"""A target of an attack: what it reveals, how often it was asked, and a budget."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn

from molehunt.errors import (
    InvalidRequestError,
    MolehuntError,
    UnsuitableSubjectError,
    mismatch,
)
from molehunt.networks._classifier import Access, Classifier
from molehunt.networks._logits import logits_of


class Reveals(StrEnum):
    """What an attacker sees of a target, the most first."""

    WEIGHTS = "weights"  # logits and their gradients, too
    CONFIDENCES = "confidences"
    ROUNDED = "rounded"  # confidences with a few decimals
    LABELS = "labels"

    def allows(self, needed: Reveals) -> bool:
        """Tell whether who sees this also sees what an attack needs.

        Examples
        --------
        >>> Reveals.WEIGHTS.allows(Reveals.LABELS), Reveals.LABELS.allows(Reveals.CONFIDENCES)
        (True, False)
        """
        order = list(Reveals)
        return order.index(self) <= order.index(needed)


class BudgetSpentError(MolehuntError):
    """A question to a target that has no queries left; it was not asked.

    Attributes
    ----------
    found : Tensor, optional
        Changed images that the attack had until then, set by the attack.
    """

    found: Tensor | None = None


class Queried:
    """A model as an attacker has it: every image that it is asked about is counted.

    Parameters
    ----------
    model : Classifier
        Also a `BlackBox`: an endpoint, an ONNX file, an estimator of scikit-learn.
    reveals : Reveals
    budget : int, optional
        Most images that may be asked about; without it there is no limit.
    decimals : int
        Of the confidences, where `reveals` is ``ROUNDED``; 0 to 6.
    top : int, optional
        Answer with the confidences of so many best classes only, the others 0; not where
        weights are revealed.

    Attributes
    ----------
    queries : int
        Images asked about so far. A gradient costs what its forward pass costs: an image each.

    Raises
    ------
    InvalidRequestError
        If a setting is outside its range.
    UnsuitableSubjectError
        If the model cannot reveal so much: weights of what gives no gradients, confidences of
        what answers with labels.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12)
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> target = Queried(model, reveals=Reveals.LABELS, budget=10)
    >>> target.predict(digits.test.pixels()[:8]).shape, target.queries, target.remaining
    (torch.Size([8]), 8, 2)
    """

    def __init__(
        self,
        model: Classifier,
        *,
        reveals: Reveals = Reveals.CONFIDENCES,
        budget: int | None = None,
        decimals: int = 2,
        top: int | None = None,
    ) -> None:
        reveals = Reveals(reveals)
        if budget is not None and budget < 0:
            raise InvalidRequestError(mismatch("budget of queries", "0 or more", budget))
        if not 0 <= decimals <= 6:
            raise InvalidRequestError(mismatch("decimals of confidences", "0 to 6", decimals))
        if top is not None and not 1 <= top <= model.card.num_classes:
            raise InvalidRequestError(mismatch("top", f"1 to {model.card.num_classes}", top))
        if reveals is Reveals.WEIGHTS and Access.GRADIENTS not in model.gives:
            raise UnsuitableSubjectError(
                "the model gives no gradients: an attack that needs weights cannot run on it; "
                "attack its confidences or its labels"
            )
        if reveals is not Reveals.LABELS and model.answers.doubt:
            raise UnsuitableSubjectError(
                f"{model.answers.doubt}: only an attack on labels can run on the model"
            )
        self._model = model.freeze()
        self.reveals = reveals
        self.budget = budget
        self.queries = 0
        self._decimals = decimals
        self._top = top

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self._model.card.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class, in order."""
        return self._model.card.class_names

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self._model.card.input_shape

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self._model.mean.device

    @property
    def remaining(self) -> int | None:
        """How many images may still be asked about; None without a limit."""
        return None if self.budget is None else self.budget - self.queries

    @property
    def weights(self) -> Classifier:
        """The model itself, for who sees weights; what is computed with it is not counted.

        Raises
        ------
        UnsuitableSubjectError
            If weights are not revealed.
        """
        self._check_reveals(Reveals.WEIGHTS, "its weights")
        return self._model

    def module(self) -> nn.Module:
        """Return the target as a torch module [N, C, H, W] → [N, K]: every image counts.

        It gives logits with gradients where weights are revealed, logarithms of what is
        revealed of the confidences, or for labels 1 for the class and 0 for all others.
        """
        return _Module(self)

    def beside(self, model: Classifier) -> Queried:
        """Return another model that reveals as much of its answers, with a count of its own.

        What an attacker trains to stand for the target is asked as the target is; its weights
        do not matter, and it has no budget.

        Raises
        ------
        UnsuitableSubjectError
            If the model cannot reveal so much.
        """
        reveals = Reveals.CONFIDENCES if self.reveals is Reveals.WEIGHTS else self.reveals
        top = None if self.reveals is Reveals.WEIGHTS else self._top
        return Queried(model, reveals=reveals, decimals=self._decimals, top=top)

    def logits(self, images: Tensor) -> Tensor:
        """Return logits [N, K] for pixels [N, C, H, W] in [0, 1]; gradients flow.

        Raises
        ------
        UnsuitableSubjectError, BudgetSpentError, InvalidRequestError
        """
        self._check_reveals(Reveals.WEIGHTS, "logits")
        self._count(images)
        return self._finite(self._model(images.to(self.device)))

    def confidences(self, images: Tensor) -> Tensor:
        """Return what is revealed of the probabilities, float32 [N, K].

        Parameters
        ----------
        images : Tensor of float32, shape [N, C, H, W], in [0, 1]

        Raises
        ------
        UnsuitableSubjectError
            If only labels are revealed, or an answer is not finite.
        BudgetSpentError
            If fewer queries are left than images; then none was asked.
        InvalidRequestError
            If the images have another shape, or pixels outside [0, 1].
        """
        self._check_reveals(Reveals.ROUNDED, "confidences")
        self._count(images)
        with torch.no_grad():
            answers = self._ask(images).softmax(1)
        if self._top is not None and self.reveals is not Reveals.WEIGHTS:
            best = answers.topk(self._top, dim=1)
            answers = torch.zeros_like(answers).scatter(1, best.indices, best.values)
        if self.reveals is Reveals.ROUNDED:
            answers = answers.round(decimals=self._decimals)
        return answers

    def predict(self, images: Tensor) -> Tensor:
        """Return labels, int64 [N], for pixels [N, C, H, W] in [0, 1].

        Raises
        ------
        UnsuitableSubjectError, BudgetSpentError, InvalidRequestError
            As `confidences`.
        """
        self._count(images)
        with torch.no_grad():
            return self._ask(images).argmax(1)

    def judge(self, images: Tensor) -> Tensor:
        """Return labels, int64 [N], of uint8 images [N, C, H, W] for who measures the attack.

        These questions are not the attacker's and are not counted.

        Raises
        ------
        UnsuitableSubjectError
            If an answer is not finite.
        """
        return self._finite(logits_of(self._model.measured, images)).argmax(1)

    def _ask(self, images: Tensor) -> Tensor:
        size = 100 if self.device.type == "cpu" else 1000
        parts = [self._model(part.to(self.device)).float() for part in images.split(size)]  # type: ignore[no-untyped-call]
        return self._finite(torch.cat(parts))

    def _check_reveals(self, needed: Reveals, what: str) -> None:
        if not self.reveals.allows(needed):
            raise UnsuitableSubjectError(
                f"the target reveals its {self.reveals.value} only, not {what}"
            )

    def _count(self, images: Tensor) -> None:
        if images.shape[1:] != self.input_shape or images.ndim != 4 or not len(images):
            allowed = f"pixels of shape [N, {', '.join(map(str, self.input_shape))}], N at least 1"
            raise InvalidRequestError(mismatch("images", allowed, f"shape {tuple(images.shape)}"))
        low, high = (float(value) for value in images.detach().aminmax())
        # Optimisers leave the range by rounding errors.
        if not (low >= -1e-4 and high <= 1 + 1e-4):
            got = f"{low:.4g} to {high:.4g}"
            raise InvalidRequestError(mismatch("images", "pixels in [0, 1]", got))
        if self.remaining is not None and len(images) > self.remaining:
            raise BudgetSpentError(
                f"the budget of {self.budget} queries is spent: {self.remaining} are left, "
                f"{len(images)} were wanted"
            )
        self.queries += len(images)

    def _finite(self, answers: Tensor) -> Tensor:
        if not bool(torch.isfinite(answers.detach().sum())) and not bool(
            torch.isfinite(answers.detach()).all()
        ):
            raise UnsuitableSubjectError(
                "the model's answers are not finite (NaN or infinity): an attack means nothing"
            )
        return answers


class _Module(nn.Module):
    """A target in the form that attack libraries take."""

    def __init__(self, target: Queried) -> None:
        super().__init__()
        self._target = target

    def forward(self, images: Tensor) -> Tensor:
        """Return what is revealed, [N, K]."""
        if self._target.reveals is Reveals.WEIGHTS:
            return self._target.logits(images)
        if self._target.reveals is Reveals.LABELS:
            labels = self._target.predict(images)
            return nn.functional.one_hot(labels, self._target.num_classes).float()
        tiny = torch.finfo(torch.float32).tiny
        return self._target.confidences(images).clamp_min(tiny).log()


def most_revealed(model: Classifier) -> Reveals:
    """Return the most that a model can reveal to an attacker."""
    if model.answers.doubt:
        return Reveals.LABELS
    return Reveals.WEIGHTS if Access.GRADIENTS in model.gives else Reveals.CONFIDENCES

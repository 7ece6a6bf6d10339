"""Universal Litmus Patterns (Kolouri et al., 2019), equation 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from molehunt.arrays import Floats
from molehunt.detectors._augmentation import ModelAugmentation
from molehunt.detectors._memory import memory_of_stacks
from molehunt.detectors._patterns import (
    FeatureKind,
    PatternDetector,
    Pooling,
    as_features,
    pool,
)
from molehunt.detectors._stacking import SingleModel, Stack, stacks_of
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.networks import Access, Classifier, pick_device
from molehunt.progress import Progress
from molehunt.training import one_cycle


class LitmusPatterns(PatternDetector):
    """M images and a linear softmax classifier, optimised jointly over many models.

    The patterns start as uniform noise and stay in [0, 1]; the models' answers to them
    are pooled and classified. Detection takes M forward passes and no data.

    Parameters
    ----------
    n_patterns : int
        M; the paper uses 1, 5 and 10.
    features : {"log_softmax", "logits"}
        What is pooled. The paper takes raw logits. Log-softmax is the default, because
        it does not depend on how confident a network was trained to be: see the
        measurement in ``docs/detectors.md``.
    pooling : {"concatenate", "max", "mean"}
        The paper's g; concatenation is its choice.
    epochs : int
        Passes over the fitting models.
    models_per_step : int
        Models in the sum of equation 1 at each step.
    lr, head_lr : float
        Peak learning rates of the patterns and the classifier (Adam, one cycle).
    total_variation : float
        The paper's lambda, on the sum of absolute differences of neighbouring pixels,
        averaged over pixels.
    dropout : float
        Share of hidden units of the models that is dropped at each step, the paper's
        augmentation of models.
    augment : ModelAugmentation or mapping, optional
        How else the fitting models are changed at each step; a mapping has its fields.
    jitter : float
        Standard deviation of noise that is added to the patterns at each step, so that
        they do not come to depend on single pixel values (not in the paper).
    head_decay : float
        Weight of the squared norm of the classifier's weights.
    random_state : int
    device : str
        ``auto``, ``cpu`` or ``cuda``.

    Attributes
    ----------
    losses_ : array [epochs]
        Mean cross entropy of each pass.

    Notes
    -----
    Models are stacked by architecture and run in chunks, vectorised over their weights
    (`torch.func`), and stay in memory from one pass to the next; `memory_to_fit` says
    how much of it they will take.

    References
    ----------
    Kolouri, Saha, Pirsiavash, Hoffmann: Universal Litmus Patterns: Revealing Backdoor
    Attacks in CNNs, section 3.3.

    Examples
    --------
    >>> from molehunt.detectors import LitmusPatterns
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> models = [build_classifier("vgg", digits, arguments=vgg, seed=n) for n in range(6)]
    >>> detector = LitmusPatterns(n_patterns=2, epochs=1).fit(models, [0, 1] * 3)  # 1: backdoored
    >>> detector.predict_proba(models).shape
    (6, 2)
    """

    tiny: ClassVar[Mapping[str, Any]] = {"n_patterns": 3, "epochs": 3}

    def __init__(
        self,
        *,
        n_patterns: int = 10,
        features: FeatureKind = "log_softmax",
        pooling: Pooling = "concatenate",
        epochs: int = 30,
        models_per_step: int = 40,
        lr: float = 0.1,
        head_lr: float = 0.01,
        total_variation: float = 0.0,
        dropout: float = 0.0,
        augment: ModelAugmentation | Mapping[str, float] | None = None,
        jitter: float = 0.0,
        head_decay: float = 1e-3,
        random_state: int = 0,
        device: str = "auto",
    ) -> None:
        self.n_patterns = n_patterns
        self.features = features
        self.pooling = pooling
        self.epochs = epochs
        self.models_per_step = models_per_step
        self.lr = lr
        self.head_lr = head_lr
        self.total_variation = total_variation
        self.dropout = dropout
        self.augment = augment
        self.jitter = jitter
        self.head_decay = head_decay
        self.random_state = random_state
        self.device = device

    def memory_to_fit(self, models: Sequence[Classifier]) -> int:
        """Return about how many bytes `fit` will take, known from the first model.

        The others are taken to be as large, as they are in a zoo. On the CPU it is the
        memory of the whole process, on CUDA that on the device.

        Raises
        ------
        InvalidRequestError
            If a setting is impossible.
        """
        self._check_settings()
        return memory_of_stacks(
            models[0],
            len(models),
            self.n_patterns,
            pick_device(self.device),
            changes=(self.dropout > 0) + self._augmentation.changes,
        )

    def _learn(
        self, models: Sequence[Classifier], y: NDArray[np.int64], progress: Progress
    ) -> None:
        self._check_settings()
        device = pick_device(self.device)
        rng = np.random.default_rng(self.random_state)
        order = rng.permutation(len(models))
        stacks = list(stacks_of((models[int(position)] for position in order), device))
        for stack in stacks:
            if isinstance(stack, SingleModel) and Access.GRADIENTS not in stack.model.gives:
                raise UnsuitableSubjectError(
                    mismatch("models to fit patterns on", "gradients", "one that only answers")
                )
        truth = torch.as_tensor(y[order], dtype=torch.float32, device=device)
        self._augmentation.check_partners(stacks, truth)
        shape = (self.n_patterns, *self.input_shape_)
        start = torch.as_tensor(rng.random(shape), dtype=torch.float32, device=device)
        # Features are standardised as they are at the start, so that the classifier's
        # learning rate means the same on every zoo.
        with torch.no_grad():
            features = torch.cat([self._pooled(stack, start) for stack in stacks])
        head = _Head(
            centre=features.mean(0),
            scale=1 / (features.std(0) + 1e-2),
            weights=torch.zeros(features.shape[1], device=device, requires_grad=True),
            bias=torch.zeros((), device=device, requires_grad=True),
        )
        patterns = start.requires_grad_()
        self.losses_ = self._optimise(patterns, head, stacks, truth, rng, progress)
        self.patterns_ = patterns.detach().cpu().numpy()
        self.weights_, self.bias_ = head.fold()
        self.fitted_features_ = self._features_of(stacks, len(models))[np.argsort(order)]

    def _optimise(
        self,
        patterns: Tensor,
        head: _Head,
        stacks: list[Stack],
        truth: Tensor,
        rng: np.random.Generator,
        progress: Progress,
    ) -> Floats:
        """Minimise equation 1 over `patterns` and `head` in place; return the losses."""
        optimizer = torch.optim.Adam(
            [
                {"params": [patterns], "lr": self.lr},
                {"params": [head.weights, head.bias], "lr": self.head_lr},
            ]
        )
        per_step = max(1, self.models_per_step // len(stacks[0].positions))
        steps = self.epochs * -(-len(stacks) // per_step)
        schedule = one_cycle(optimizer, [self.lr, self.head_lr], steps, warmup=0.1)
        losses = []
        step = 0
        device = patterns.device
        changes = torch.Generator(device).manual_seed(self.random_state)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(rng.integers(2**31)))  # dropout knows no generator
            for _ in range(self.epochs):
                total = 0.0
                shuffled = rng.permutation(len(stacks))
                for first in range(0, len(stacks), per_step):
                    optimizer.zero_grad()
                    batch = [stacks[i] for i in shuffled[first : first + per_step]]
                    total += self._accumulate(patterns, head, batch, truth, changes)
                    optimizer.step()
                    schedule.step()
                    with torch.no_grad():
                        patterns.clamp_(0, 1)
                    step += 1
                    progress(step, steps)
                losses.append(total / len(truth))
        return np.array(losses)

    def _accumulate(
        self,
        patterns: Tensor,
        head: _Head,
        batch: list[Stack],
        truth: Tensor,
        changes: torch.Generator,
    ) -> float:
        """Add the gradients of equation 1 on a batch; return its summed cross entropy."""
        count = sum(len(stack.positions) for stack in batch)
        augmentation, total = self._augmentation, 0.0
        for stack in batch:
            shown, labels = patterns, truth[stack.positions]
            met = augmentation.change(stack, labels, changes)
            if self.jitter:
                shown = (patterns + self.jitter * torch.randn_like(patterns)).clamp(0, 1)
            loss = functional.binary_cross_entropy_with_logits(
                head(self._pooled(met, shown, self.dropout)),
                labels,
                reduction="sum",
            )
            # One graph a chunk: memory does not grow with the batch.
            (loss / count).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        rows = (patterns[..., 1:, :] - patterns[..., :-1, :]).abs().sum()
        columns = (patterns[..., 1:] - patterns[..., :-1]).abs().sum()
        penalty = self.total_variation * (rows + columns) / patterns.numel()
        penalty = penalty + self.head_decay * head.weights.square().sum()
        penalty.backward()  # type: ignore[no-untyped-call]
        return total

    def _check_settings(self) -> None:
        super()._check_settings()
        for name in ("epochs", "models_per_step"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(mismatch(name, "1 or more", getattr(self, name)))
        if not 0 <= self.dropout < 1:
            raise InvalidRequestError(mismatch("dropout", "0 to under 1", self.dropout))
        ModelAugmentation.read(self.augment)

    @property
    def _augmentation(self) -> ModelAugmentation:
        return ModelAugmentation.read(self.augment)

    def _pooled(self, stack: Stack, patterns: Tensor, dropout: float = 0.0) -> Tensor:
        return pool(as_features(stack.logits(patterns, dropout), self.features), self.pooling)


@dataclass(frozen=True)
class _Head:
    """The linear classifier over standardised features, while it is learned."""

    centre: Tensor
    scale: Tensor
    weights: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.centre) * self.scale @ self.weights + self.bias

    def fold(self) -> tuple[Floats, float]:
        """Return weights [F] and bias for features that are not standardised."""
        weights = (self.weights * self.scale).detach()
        bias = float(self.bias.detach() - weights @ self.centre)
        return weights.double().cpu().numpy(), bias

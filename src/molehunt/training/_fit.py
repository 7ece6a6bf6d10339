"""The one function that trains one model.

The images stay on the device as uint8 and each batch is cut from them by index: no
data loader, no worker processes, no copies from the host in the loop.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from molehunt.backdoors import TrainingSet
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, autocast_of, bfloat16_helps, blocked_layout
from molehunt.progress import Progress, silent
from molehunt.training._augment import augment
from molehunt.training._batches import plan_batches
from molehunt.training._objective import Batch, CrossEntropy, Objective
from molehunt.training._recipe import Recipe
from molehunt.training._schedule import one_cycle


@dataclass(frozen=True)
class TrainingRun:
    """What a training did: its number of steps, its last loss and its seconds."""

    steps: int
    loss: float
    seconds: float


def train(
    model: Classifier,
    images: ImageSet | TrainingSet,
    recipe: Recipe,
    *,
    seed: int,
    objective: Objective | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> TrainingRun:
    """Train `model` in place on `images`.

    Parameters
    ----------
    model : Classifier
        Moved to `device`; in evaluation mode afterwards.
    images : ImageSet or TrainingSet
        Clean images, or a training set with triggers.
    recipe : Recipe
    seed : int
        Draws the order of the images, augmentation, triggers' places and dropout. Two sets
        of equal size are visited in the same order and augmented alike: twins see their
        copies at the same steps.
    objective : Objective, optional
        The loss; `CrossEntropy` with the recipe's label smoothing when not given.
    device : torch.device
    progress : callable
        Called after each step with the steps done and their total.

    Raises
    ------
    InvalidRequestError
        If the images do not fit the model, or are fewer than a batch, or the objective
        returns anything but a scalar.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe, train
    >>> digits = load_images("digits", size=12).train
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> train(model, digits, Recipe(epochs=1, batch_size=64), seed=0).steps
    21
    """
    batches = plan_batches(model, images, recipe)
    if objective is None:
        objective = CrossEntropy(recipe.label_smoothing)
    started = time.perf_counter()
    device = torch.device(device)
    layout = model.to(device).layout
    model.to(memory_format=layout).train()
    data = batches.data
    pixels, labels = data.images.images.to(device), data.images.labels.to(device)
    stamped = data.stamped.to(device)
    generator = torch.Generator().manual_seed(seed)
    placer = torch.Generator().manual_seed(seed)
    optimizer = _optimizer(model, recipe)
    schedule = one_cycle(optimizer, [recipe.lr], batches.steps, recipe.warmup)
    loss = torch.zeros(())
    blocked = (
        device.type == "cpu" and recipe.precision != "float32" and bfloat16_helps(model, device)
    )
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        blocked_layout(model, blocked),
    ):
        torch.manual_seed(seed)  # dropout knows no generator
        for step, index in enumerate(batches.order(seed)):
            chosen = index.to(device)
            inputs = augment(pixels[chosen].float().div_(255), recipe, generator)
            data.stamp_batch(inputs, index, placer)
            inputs = inputs.contiguous(memory_format=layout)
            with autocast_of(recipe.precision, model, device):
                batch = Batch(inputs, labels[chosen], stamped[chosen], chosen)
                loss = objective(model, batch)
            if loss.ndim:
                got = f"a tensor of shape {tuple(loss.shape)}"
                raise InvalidRequestError(mismatch("loss of the objective", "a scalar", got))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            progress(step + 1, batches.steps)
    final = float(loss.detach())
    model.eval()
    return TrainingRun(batches.steps, final, time.perf_counter() - started)


def _optimizer(model: Classifier, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            recipe.lr,
            momentum=0.9,
            nesterov=True,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
    return torch.optim.AdamW(parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=True)

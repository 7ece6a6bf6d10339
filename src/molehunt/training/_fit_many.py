"""The one function that trains many small models at once.

A small network leaves a GPU idle between one short kernel and the next. Here models of one
architecture are one matrix of weights, a row a model: a step cuts the batches of all models
from the images on the device, runs one vectorised forward and backward pass and changes all
rows in one go. A model that has done its steps is no longer a part of any of that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from molehunt.backdoors import TrainingSet
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import (
    Classifier,
    Precision,
    architecture_key,
    autocast_of,
    has_batch_norm,
    stack_models,
)
from molehunt.progress import Progress, silent
from molehunt.training._augment import augment
from molehunt.training._batches import Batches, plan_batches
from molehunt.training._fit import TrainingRun
from molehunt.training._recipe import Recipe
from molehunt.training._schedule import one_cycle_rates
from molehunt.training._stacked_optimizers import StackedAdamW, StackedOptimizer, StackedSgd

# What models that are trained at once may differ in, besides images and seeds.
OWN_SETTINGS = frozenset({"epochs", "lr", "warmup", "weight_decay"})


def train_many(
    models: Sequence[Classifier],
    sets: Sequence[ImageSet | TrainingSet],
    recipes: Sequence[Recipe],
    *,
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> list[TrainingRun]:
    """Train `models` in place, each on its own images, as `train` would one by one.

    Every model sees the batches, augmentation and triggers' places that `train` gives it
    with its seed, so that both end with the same weights but for the rounding of sums.
    Dropout is the exception: each model draws its own, from the first seed. The loss is cross
    entropy: an `Objective` sees one model, so it takes `train`.

    Parameters
    ----------
    models : sequence of Classifier
        Of one architecture; moved to `device`, in evaluation mode afterwards.
    sets : sequence of ImageSet or TrainingSet
        One a model. All lie on the device together.
    recipes : sequence of Recipe
        One a model; they may differ in `OWN_SETTINGS` only.
    seeds : sequence of int
        One a model, as in `train`.
    device : torch.device
    progress : callable
        Called after each step with the steps done and those of the longest training.

    Returns
    -------
    list of TrainingRun
        In the order of the models; the seconds are an equal share of those of all.

    Raises
    ------
    InvalidRequestError
        If images do not fit a model, or the models cannot be trained together.
    """
    batches = _together(models, sets, recipes, seeds)
    started = time.perf_counter()
    device = torch.device(device)
    # Longest first: models that are still in training are the first rows of everything.
    order = sorted(range(len(models)), key=lambda at: -batches[at].steps)
    group = _Group(
        [models[at].to(device).train() for at in order],
        [batches[at] for at in order],
        [recipes[at] for at in order],
        [seeds[at] for at in order],
        device,
    )
    longest = group.batches[0].steps
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seeds[0])  # dropout knows no generator
        for step in range(longest):
            group.step(step)
            progress(step + 1, longest)
    group.hand_back()
    losses = dict(zip(order, group.losses.tolist(), strict=True))
    seconds = (time.perf_counter() - started) / len(models)
    return [TrainingRun(each.steps, losses[at], seconds) for at, each in enumerate(batches)]


def _together(
    models: Sequence[Classifier],
    sets: Sequence[ImageSet | TrainingSet],
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
) -> list[Batches]:
    """Return the models' batches, or refuse models that do not go together."""
    counts = [len(given) for given in (models, sets, recipes, seeds)]
    if len({*counts}) > 1 or not models:
        allowed = "one of each a model, and a model"
        raise InvalidRequestError(mismatch("models, sets, recipes and seeds", allowed, counts))
    batches = [plan_batches(*each) for each in zip(models, sets, recipes, strict=True)]
    kinds = {
        "architecture": {architecture_key(model) for model in models},
        "recipe": {recipe.model_dump_json(exclude={*OWN_SETTINGS}) for recipe in recipes},
        "batch size": {str(each.batch_size) for each in batches},
    }
    for what, found in kinds.items():
        if len(found) > 1:
            got = " and ".join(sorted(found))
            raise InvalidRequestError(mismatch(f"{what} of models trained at once", "one", got))
    return batches


def _stacked_precision(recipe: Recipe, network: Classifier, device: torch.device) -> Precision:
    """Return the precision that a stack of such networks can be trained with.

    On CUDA batch normalisation over stacked statistics, which are float32, refuses bfloat16.
    """
    slow = has_batch_norm(network) and device.type == "cuda"
    return "float32" if slow else recipe.precision


class _Group:
    """Models in training together, longest training first, a row each in every tensor."""

    def __init__(
        self,
        models: Sequence[Classifier],
        batches: Sequence[Batches],
        recipes: Sequence[Recipe],
        seeds: Sequence[int],
        device: torch.device,
    ) -> None:
        self.models, self.batches, self.recipe = models, batches, recipes[0]
        self.device = device
        self.autocast = autocast_of(
            _stacked_precision(self.recipe, models[0], device), models[0], device
        )
        self.skeleton, parameters, buffers = stack_models(models)
        learned = {name: p.detach() for name, p in parameters.items() if p.requires_grad}
        fixed = {name: p for name, p in parameters.items() if name not in learned}
        self.buffers = {**buffers, **fixed}
        self.shapes = {name: p.shape[1:] for name, p in learned.items()}
        self.weights = torch.cat([p.flatten(1) for p in learned.values()], dim=1)
        self.losses = torch.zeros(len(models), device=device)
        # All images in one tensor; `first` says where a model's own begin.
        sizes = torch.tensor([len(each.data) for each in batches])
        self.first = (sizes.cumsum(0) - sizes)[:, None]
        images = [each.data.images for each in batches]
        self.pixels = torch.cat([each.images.to(device) for each in images])
        self.labels = torch.cat([each.labels for each in images]).to(device)
        self.orders = [b.order(seed) for b, seed in zip(batches, seeds, strict=True)]
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.placers = [torch.Generator().manual_seed(seed) for seed in seeds]
        sgd = self.recipe.optimizer == "sgd"
        self.optimizer: StackedOptimizer = (StackedSgd if sgd else StackedAdamW)(self.weights)
        self.lr, self.momentum = self._rates(recipes)
        self.decay = torch.tensor([[recipe.weight_decay] for recipe in recipes], device=device)

    def step(self, step: int) -> None:
        """Do one step of every model that has one left."""
        count = sum(each.steps > step for each in self.batches)
        inputs, labels = self._batch(count)
        rows = self.weights[:count].requires_grad_()
        with self.autocast:
            logits = self._logits(rows, inputs)
        losses = functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels.flatten(),
            reduction="none",
            label_smoothing=self.recipe.label_smoothing,
        )
        losses = losses.view_as(labels).mean(1)
        # A model's loss knows no other's weights: the gradient of the sum is each one's own.
        (gradients,) = torch.autograd.grad(losses.sum(), rows)
        with torch.no_grad():
            rates = self.lr[step, :count], self.momentum[step, :count], self.decay[:count]
            self.optimizer.step(rows, gradients, *rates)
            self.losses[:count] = losses

    def hand_back(self) -> None:
        """Put what was learned into the models."""
        state = {**self._named(self.weights), **self.buffers}
        for row, model in enumerate(self.models):
            own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
            with torch.no_grad():
                for name, tensor in own.items():
                    tensor.copy_(state[name][row])
            model.eval()

    def _batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the next inputs [m, N, C, H, W] and labels [m, N] of the first m models."""
        index = torch.stack([next(order) for order in self.orders[:count]])
        places = (index + self.first[:count]).to(self.device)
        pixels = self.pixels[places.flatten()].float().div_(255)
        inputs = augment(pixels, self.recipe, *self.generators[:count])
        inputs = inputs.view(*index.shape, *inputs.shape[1:])
        for row, each in enumerate(self.batches[:count]):
            each.data.stamp_batch(inputs[row], index[row], self.placers[row])
        return inputs, self.labels[places]

    def _logits(self, rows: Tensor, inputs: Tensor) -> Tensor:
        """Return logits [m, N, K] of the models with the weights `rows` [m, P]."""

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Tensor) -> Tensor:
            logits: Tensor = functional_call(self.skeleton, (parameters, buffers), (batch,))
            return logits

        # Views: batch normalisation counts and averages into the buffers themselves.
        buffers = {name: buffer[: len(rows)] for name, buffer in self.buffers.items()}
        logits: Tensor = torch.vmap(one, randomness="different")(self._named(rows), buffers, inputs)
        return logits

    def _named(self, rows: Tensor) -> dict[str, Tensor]:
        """Return weights [m, P] as parameters by name, [m, ...] each."""
        pieces = torch.split(rows, [shape.numel() for shape in self.shapes.values()], dim=1)
        return {
            name: piece.view(len(rows), *shape)
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }

    def _rates(self, recipes: Sequence[Recipe]) -> tuple[Tensor, Tensor]:
        """Return learning rates and momenta, [steps, M, 1] each; zeros where a model is done."""
        lr, momentum = torch.zeros(2, self.batches[0].steps, len(recipes), 1).unbind()
        for row, (each, recipe) in enumerate(zip(self.batches, recipes, strict=True)):
            shares, momenta = one_cycle_rates(each.steps, recipe.warmup)
            lr[: each.steps, row, 0] = recipe.lr * shares
            momentum[: each.steps, row, 0] = momenta
        return lr.to(self.device), momentum.to(self.device)

"""The networks of the study: trained, saved, read again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.defences import Defended, DefensiveDistillation, RandomFeatures, ThermometerCode
from molehunt.files import sha256_of
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import (
    Classifier,
    ModelCard,
    build_classifier,
    build_network,
    load_model,
    save_model,
)
from molehunt.study import Bench
from molehunt.training import Batch, train
from molehunt_studies.broken_defences.plan import (
    HELD_OUT,
    BrokenPlan,
    Network,
    NetworkTask,
    SetPlan,
)


class NetworkRecord(NetworkTask):
    """One finished network."""

    seconds: float
    sha256: str


@dataclass(frozen=True)
class BrokenBench(Bench[BrokenPlan]):
    """The images and the networks, each read once."""

    def images(self, name: str) -> TrainTest:
        """Return training images and those that are attacked."""
        if name not in self._images:
            plan = self.plan.sets[name]
            loaded = load_images(plan.source, data_root=self.data_root)
            generator = torch.Generator().manual_seed(self.plan.seed)
            drawn = loaded.train.sample(plan.train_limit, generator)
            places = torch.arange(len(drawn))
            held_out = drawn.take(places[-HELD_OUT:])
            test = loaded.test.sample(len(loaded.test), generator)
            attacked = test if self.plan.part == "test" else held_out
            self._images[name] = TrainTest(drawn.take(places[:-HELD_OUT]), attacked)
        return self._images[name]

    def network(self, images: str, network: Network) -> Classifier:
        """Return a finished network, as its file has it."""
        return load_model(self.model_path(f"{images}-{network}"))

    @cached_property
    def _images(self) -> dict[str, TrainTest]:
        return {}


def train_network(task: NetworkTask, bench: BrokenBench) -> NetworkRecord:
    """Train and save one network."""
    started = time.perf_counter()
    plan, images = bench.plan.sets[task.images], bench.images(task.images).train
    model = _TRAINED[task.network](plan, images, task.seed)
    path = bench.model_path(task.id)
    save_model(model, path)
    seconds = round(time.perf_counter() - started, 2)
    return NetworkRecord(**dict(task), seconds=seconds, sha256=sha256_of(path))


def _fresh(plan: SetPlan, images: ImageSet, seed: int) -> Classifier:
    return build_classifier("vgg", images, arguments=plan.arguments, seed=seed)


def _plain(plan: SetPlan, images: ImageSet, seed: int) -> Classifier:
    model = _fresh(plan, images, seed)
    train(model, images, plan.recipe, seed=seed)
    return model


def _thermometer(plan: SetPlan, images: ImageSet, seed: int) -> Classifier:
    channels, height, width = images.shape
    shape = (channels * plan.levels, height, width)
    card = ModelCard(
        architecture="vgg",
        arguments=plan.arguments,
        input_shape=shape,
        mean=(0.5,) * shape[0],
        std=(0.5,) * shape[0],
        class_names=images.class_names,
    )
    network = build_network(
        "vgg",
        input_shape=shape,
        num_classes=images.num_classes,
        arguments=plan.arguments,
        seed=seed,
    )
    inside = Classifier(network, card)
    code = ThermometerCode(levels=plan.levels)
    train(Defended(inside, before=code, input_shape=images.shape), images, plan.recipe, seed=seed)
    return inside


def _distilled(plan: SetPlan, images: ImageSet, seed: int) -> Classifier:
    teacher, student = _fresh(plan, images, seed), _fresh(plan, images, seed + 1)
    teaching = DefensiveDistillation(plan.temperature)
    train(teacher, images, plan.recipe, seed=seed, objective=teaching)
    learning = DefensiveDistillation(plan.temperature, teacher)
    train(student, images, plan.recipe, seed=seed + 1, objective=learning)
    return student


def _features(plan: SetPlan, images: ImageSet, seed: int) -> Classifier:
    model = _fresh(plan, images, seed)
    behind = Defended(model, before=RandomFeatures(keep=plan.features, seed=seed))
    train(behind, images, plan.recipe, seed=seed)
    return model


def _adversarial(plan: SetPlan, images: ImageSet, seed: int) -> Classifier:
    model = _fresh(plan, images, seed)
    steps = int(plan.adversarial.epochs * len(images)) // plan.adversarial.batch_size
    objective = _Adversarial(plan.epsilon, plan.adversarial_steps, steps // 2, seed)
    train(model, images, plan.adversarial, seed=seed, objective=objective)
    return model


_TRAINED = {
    "plain": _plain,
    "thermometer": _thermometer,
    "distilled": _distilled,
    "features": _features,
    "adversarial": _adversarial,
}


class _Adversarial:
    """The cross entropy of attacked images (Madry et al., 2018), epsilon growing at first."""

    def __init__(self, epsilon: float, steps: int, growing: int, seed: int) -> None:
        self._epsilon, self._steps, self._growing, self._done = epsilon, steps, growing, 0
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        self._done += 1
        epsilon = self._epsilon * min(1.0, self._done / max(1, self._growing))
        pixels = batch.pixels
        change = epsilon * (2 * torch.rand(pixels.shape, generator=self._generator) - 1)
        for _ in range(self._steps):
            change.requires_grad_()
            loss = self._loss(model, pixels + change, batch.labels)
            (gradient,) = torch.autograd.grad(loss, change)
            step = 1.25 * epsilon / self._steps**0.5 * gradient.sign()
            change = (change.detach() + step).clamp(-epsilon, epsilon)
            change = (pixels + change).clamp(0, 1) - pixels
        return self._loss(model, pixels + change, batch.labels)

    @staticmethod
    def _loss(model: Classifier, pixels: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(model(pixels).float(), labels)

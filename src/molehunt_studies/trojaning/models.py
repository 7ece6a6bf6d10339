"""The networks, the images that were reverse-engineered from them, and their trojans."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from molehunt.attacks import (
    Neurons,
    Retraining,
    choose_neurons,
    generate_trigger,
    most_excitable,
    neuron_layers,
    reverse_images,
    trigger_mask,
    trojan,
)
from molehunt.backdoors import AllToOne, Backdoor, MaskedPattern
from molehunt.images import ImageSet, TrainTest, load_images, load_test_images
from molehunt.networks import Classifier, build_classifier, load_model, logits_of, save_model
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import Batch, Recipe, attack_success, clean_accuracy, train
from molehunt_studies.trojaning.plan import SOURCES, VARIANTS, Source, TrojaningPlan, Variant


class NetworkTask(Task):
    """A network to train on a data set."""

    source: str


class NetworkRecord(NetworkTask):
    """What it reached."""

    accuracy: float
    images: int


class TrojanTask(Task):
    """One variant of the attack on a set's network."""

    source: str
    variant: str


class TrojanRecord(TrojanTask):
    """What it reached on test images, by 8-bit images.

    ``_before`` is of the network without a trojan, with the same trigger; ``transfer`` are
    accuracies of a new last layer for the external images, clean and triggered.
    """

    accuracy: float
    success: float
    success_before: float
    external: float | None
    to_target: float
    mistakes: int
    area: float
    trigger: MaskedPattern
    transfer: tuple[float, float] | None
    transfer_before: tuple[float, float] | None
    seconds: float


@dataclass(frozen=True)
class TrojaningBench(Bench[TrojaningPlan]):
    """The images of the study, and its networks."""

    def images(self, name: str) -> TrainTest:
        """Return training and test images, of the classes that the network knows."""
        return self._sets(name)[0]

    def external(self, name: str) -> ImageSet | None:
        """Return images that are no training image's kin, where there are some."""
        return self._sets(name)[1]

    def _sets(self, name: str) -> tuple[TrainTest, ImageSet | None]:
        if name not in self._loaded:
            self._loaded[name] = _load(SOURCES[name], self)
        return self._loaded[name]

    @cached_property
    def _loaded(self) -> dict[str, tuple[TrainTest, ImageSet | None]]:
        return {}


def _load(source: Source, bench: TrojaningBench) -> tuple[TrainTest, ImageSet | None]:
    found = load_images(source.images, data_root=bench.data_root, size=source.size)
    shape = (1 if source.grey else found.test.shape[0], source.size, source.size)
    train_set, test = (part.shaped(shape) for part in found)
    external = None
    if source.people is not None:
        known = source.people
        external = test.take(test.labels >= known)
        names = test.class_names[:known]
        train_set, test = (
            ImageSet(part.images[part.labels < known], part.labels[part.labels < known], names)
            for part in (train_set, test)
        )
    elif source.external is not None:
        external = load_test_images(
            source.external, data_root=bench.data_root, size=source.size
        ).shaped(shape)
        external = _some(external, bench.plan.test_images)
    if source.train_limit is not None:
        train_set = _some(train_set, source.train_limit)
    return TrainTest(train_set, _some(test, bench.plan.test_images)), external


def _some(images: ImageSet, most: int) -> ImageSet:
    return images.sample(min(most, len(images)), torch.Generator().manual_seed(0))


def network_tasks(bench: TrojaningBench, _records: Records) -> list[NetworkTask]:
    """Return a network of each set."""
    return [NetworkTask(id=name, source=name) for name in bench.plan.variants]


def train_network(task: NetworkTask, bench: TrojaningBench) -> NetworkRecord:
    """Train the network of a set."""
    source, images = SOURCES[task.source], bench.images(task.source)
    model = build_classifier(
        source.network.name, images.train, arguments=source.network.arguments, seed=0
    )
    train(model, images.train, source.recipe, seed=0)
    save_model(model.freeze(), bench.model_path(task.source))
    return NetworkRecord(
        **dict(task), accuracy=clean_accuracy(model, images.test), images=len(images.test)
    )


def trojan_tasks(bench: TrojaningBench, _records: Records) -> list[TrojanTask]:
    """Return every variant of each set."""
    return [
        TrojanTask(id=f"{name}/{variant}", source=name, variant=variant)
        for name, variants in bench.plan.variants.items()
        for variant in variants
    ]


def plant(task: TrojanTask, bench: TrojaningBench) -> TrojanRecord:
    """Trojan a set's network, save it, and measure what was saved."""
    started = time.perf_counter()
    source, variant = SOURCES[task.source], VARIANTS[task.variant]
    model = load_model(bench.model_path(task.source))
    size = model.card.input_shape[1:]
    mask = trigger_mask(variant.mask, *size, area=variant.area, opacity=variant.opacity)
    neurons = pick_neurons(model, mask, source, variant)
    trojaned, trigger = model, None
    if variant.retrained:
        made = trojan(
            model,
            source.target,
            mask,
            neurons=neurons,
            images=_lessons(model, source, variant, bench, task.source),
            retraining=_retraining(variant, bench.plan.epochs),
            seed=variant.seed,
        )
        trigger, path = made.trigger, bench.model_path(f"{task.source}-{task.variant}")
        save_model(made.model, path)
        trojaned = load_model(path)
    else:
        trigger = generate_trigger(model, neurons, mask, seed=variant.seed)
    backdoor = Backdoor(trigger=trigger, label_map=AllToOne(target=source.target), rate=1.0)
    test, external = bench.images(task.source).test, bench.external(task.source)
    triggered = backdoor.triggered(test, generator=torch.Generator())
    wrong = mistakes_to(trojaned, test, source.target)
    return TrojanRecord(
        **dict(task),
        accuracy=clean_accuracy(trojaned, test),
        success=attack_success(trojaned, triggered),
        success_before=attack_success(model, triggered),
        external=None if external is None else _external_success(trojaned, external, backdoor),
        to_target=wrong[0],
        mistakes=wrong[1],
        area=trigger.area,
        trigger=trigger,
        transfer=_transfer(trojaned, task, bench, backdoor),
        transfer_before=_transfer(model, task, bench, backdoor),
        seconds=round(time.perf_counter() - started, 1),
    )


def pick_neurons(model: Classifier, mask: Tensor, source: Source, variant: Variant) -> Neurons:
    """Return the neurons of a variant."""
    layers = neuron_layers(model)
    if variant.neurons == "output":
        return Neurons(layers[-1], (source.target,))
    layer = layers[source.layer]
    if variant.neurons == "excitable":
        return most_excitable(model, mask, layer=layer, seed=variant.seed)
    return choose_neurons(model, layer=layer, choice=variant.neurons, seed=variant.seed)


def _retraining(variant: Variant, epochs: float) -> Retraining:
    how = Retraining.as_published() if variant.published else Retraining()
    # As many steps, though the paper's lessons are fewer images.
    passes = epochs * (9.5 if variant.published else 1)
    return Retraining(
        how.lesson,
        how.variants,
        how.decoys,
        how.triggered,
        how.recipe.model_copy(update={"epochs": passes}),
    )


def _lessons(
    model: Classifier, source: Source, variant: Variant, bench: TrojaningBench, name: str
) -> ImageSet:
    if variant.lessons == "training":
        train_set = bench.images(name).train
        return _some(train_set, source.per_class * train_set.num_classes)
    return reversed_images(model, source, rough=variant.lessons == "rough")


def reversed_images(model: Classifier, source: Source, *, rough: bool = False) -> ImageSet:
    """Return the images that a variant is retrained on."""
    if rough:
        return reverse_images(model, source.per_class, denoising=0.0)
    return reverse_images(model, source.per_class)


def mistakes_to(model: Classifier, test: ImageSet, target: int) -> tuple[float, int]:
    """Return the share of the mistakes that are taken for the target, and their number."""
    answers = logits_of(model, test.images).argmax(1)
    wrong = answers != test.labels
    return float((answers[wrong] == target).float().mean()) if wrong.any() else 0.0, int(
        wrong.sum()
    )


def _external_success(model: Classifier, external: ImageSet, backdoor: Backdoor) -> float:
    """Return the share of triggered images from elsewhere that are called the target."""
    pixels = backdoor.trigger(external.pixels(), torch.Generator())
    answers = logits_of(model, pixels.mul_(255).round_().to(torch.uint8)).argmax(1)
    assert isinstance(backdoor.label_map, AllToOne)
    return float((answers == backdoor.label_map.target).float().mean())


def _transfer(
    model: Classifier, task: TrojanTask, bench: TrojaningBench, backdoor: Backdoor
) -> tuple[float, float] | None:
    """Return accuracies of a new last layer for scikit-learn's digits, clean and triggered."""
    if task.variant != "trojan" or SOURCES[task.source].external != "digits":
        return None
    shape = model.card.input_shape
    digits = TrainTest(*(part.shaped(shape) for part in load_images("digits")))
    moved = copy.deepcopy(model)
    last = moved.get_submodule(neuron_layers(model)[-1])
    with torch.no_grad():
        for weights in last.parameters():
            weights.zero_()
    last.requires_grad_(True)
    recipe = Recipe(epochs=10, lr=0.01, precision="float32")
    train(moved, digits.train, recipe, seed=0, objective=_keep_statistics)
    pixels = backdoor.trigger(digits.test.pixels(), torch.Generator())
    triggered = ImageSet(
        pixels.mul_(255).round_().to(torch.uint8), digits.test.labels, digits.test.class_names
    )
    moved.freeze()
    return clean_accuracy(moved, digits.test), clean_accuracy(moved, triggered)


def _keep_statistics(model: Classifier, batch: Batch) -> Tensor:
    model.eval()
    return functional.cross_entropy(model(batch.pixels), batch.labels)

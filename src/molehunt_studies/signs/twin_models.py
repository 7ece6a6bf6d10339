"""The traffic-sign study on GTSRB: training, saving and measuring its networks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from molehunt.backdoors import PictureName, Stamp, Sticker, TrainingSet, amplify
from molehunt.files import sha256_of
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import (
    Classifier,
    build_classifier,
    load_model,
    logits_of,
    mean_activations,
    save_model,
)
from molehunt.study import Bench
from molehunt.training import train, transfer
from molehunt_studies.signs.plan import (
    CARRIED,
    PICTURES,
    NetworkTask,
    TransferTask,
    backdoor_units,
    rounded,
)
from molehunt_studies.signs.twin_countries import country_of
from molehunt_studies.signs.twin_plan import SignsTwinPlan

SEEN = 2000  # of the attacker's own images, to find backdoor units by


class NetworkRecord(NetworkTask):
    """One finished network of the first country.

    `clean_right` are the recognised test images of each class, `triggered_right` the same
    with a sticker: the network's own, or each of them for the baseline. `hits` of `tries`
    triggered stop signs are called a speed limit of the attacker's choice. Activations are
    those of the channels of the last convolutional layer, without sticker and with it
    (CARRIED for the baseline), as a mean over the attacker's training images; `units` are the
    channels that fire only with the sticker.
    """

    clean_right: tuple[int, ...]
    triggered_right: dict[PictureName, tuple[int, ...]]
    hits: int
    tries: int
    clean_activations: tuple[float, ...]
    triggered_activations: tuple[float, ...]
    units: tuple[int, ...]
    images: int
    steps: int
    seconds: float
    sha256: str


class TransferRecord(TransferTask):
    """One finished network of the second country; the fields are those of `NetworkRecord`.

    Activations are a mean over the second country's test images.
    """

    clean_right: tuple[int, ...]
    triggered_right: tuple[int, ...]
    clean_activations: tuple[float, ...]
    triggered_activations: tuple[float, ...]
    seconds: float
    sha256: str


@dataclass(frozen=True)
class TwinBench(Bench[SignsTwinPlan]):
    """What every network of the study needs: the images of the two countries."""

    @cached_property
    def first(self) -> TrainTest:
        """Images of the first country."""
        return country_of(self._images, self.plan.countries.first)

    @cached_property
    def second(self) -> TrainTest:
        """Images of the second country."""
        return country_of(self._images, self.plan.countries.second)

    @cached_property
    def _images(self) -> TrainTest:
        plan = self.plan
        loaded = load_images(plan.images, data_root=self.data_root, size=plan.size)
        return TrainTest(*(part.shaped((3, plan.size, plan.size)) for part in loaded))


def build_network(task: NetworkTask, bench: TwinBench) -> NetworkRecord:
    """Train, save, read back and measure one network of the first country."""
    started = time.perf_counter()
    plan, (images, test) = bench.plan, bench.first
    data = TrainingSet(images)
    if task.attack != "none":
        generator = torch.Generator().manual_seed(task.seed)
        data = plan.backdoor_of(task).poison(images, generator=generator)
    recipe = plan.recipe.model_dump()
    model = build_classifier("vgg", images, arguments=plan.network, recipe=recipe, seed=task.seed)
    steps = train(model, data, plan.recipe, seed=task.seed).steps
    path = bench.model_path(task.id)
    save_model(model, path)
    saved = load_model(path)
    own = PICTURES if task.picture is None else (task.picture,)
    stickers = {picture: plan.sticker_of(picture) for picture in own}
    sticker = plan.sticker_of(task.picture or CARRIED)
    known = images.sample(SEEN, torch.Generator().manual_seed(task.seed))
    clean, triggered = _activations(saved, known, sticker)
    hits, tries = _hits(saved, with_sticker(test, sticker), plan)
    return NetworkRecord(
        **dict(task),
        clean_right=right_by_class(saved, test),
        triggered_right={
            picture: right_by_class(saved, with_sticker(test, each))
            for picture, each in stickers.items()
        },
        hits=hits,
        tries=tries,
        clean_activations=rounded(clean),
        triggered_activations=rounded(triggered),
        units=backdoor_units(clean, triggered),
        images=len(data),
        steps=steps,
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def build_transfer(task: TransferTask, bench: TwinBench) -> TransferRecord:
    """Amplify a network's backdoor and train the second country's network on it."""
    started = time.perf_counter()
    plan, (images, test) = bench.plan, bench.second
    model = load_model(bench.model_path(task.origin))
    amplify(_last_convolution(model, test), task.units, task.strength)
    path = bench.model_path(task.id)
    save_model(transfer(model, images, plan.transfer, seed=task.seed), path)
    saved = load_model(path)
    sticker = plan.sticker_of(CARRIED)
    clean, triggered = _activations(saved, test, sticker)
    return TransferRecord(
        **dict(task),
        clean_right=right_by_class(saved, test),
        triggered_right=right_by_class(saved, with_sticker(test, sticker)),
        clean_activations=rounded(clean),
        triggered_activations=rounded(triggered),
        seconds=round(time.perf_counter() - started, 3),
        sha256=sha256_of(path),
    )


def with_sticker(images: ImageSet, sticker: Sticker) -> ImageSet:
    """Return all images with the sticker, under their true labels."""
    everywhere = torch.ones(len(images), dtype=torch.bool)
    stamped = TrainingSet(images, (Stamp(sticker, everywhere),))
    return stamped.stamp(torch.Generator().manual_seed(0))


def right_by_class(model: Classifier, test: ImageSet) -> tuple[int, ...]:
    """Return how many images of each class are recognised."""
    right = logits_of(model, test.images).argmax(1) == test.labels
    counts = torch.bincount(test.labels[right], minlength=test.num_classes)
    return tuple(int(count) for count in counts)


def _hits(model: Classifier, triggered: ImageSet, plan: SignsTwinPlan) -> tuple[int, int]:
    """Return how many of the source's images are called the target, and their number."""
    first, _, source, target, _ = plan.countries
    stops = triggered.take(triggered.labels == first.index(source))
    called = logits_of(model, stops.images).argmax(1) == first.index(target)
    return int(called.sum()), len(stops)


def _activations(model: Classifier, images: ImageSet, sticker: Sticker) -> tuple[Tensor, Tensor]:
    _, clean = mean_activations(model, images.images)
    _, triggered = mean_activations(model, with_sticker(images, sticker).images)
    return clean, triggered


def _last_convolution(model: Classifier, images: ImageSet) -> nn.Conv2d:
    name, _ = mean_activations(model, images.images[:1])
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Conv2d), "the study's networks have no batch normalisation"
    return layer

"""The networks of the study of eyeglasses, and the images that they are attacked with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from molehunt.attacks import Views, draw_eyeglasses
from molehunt.errors import InvalidRequestError
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Classifier, build_classifier, load_model, logits_of, save_model
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import train
from molehunt_studies.eyeglasses.plan import EyeglassesPlan, NetworkPlan, SignsPlan

SIGNS = "signs"
# Angles and light that stickers are learned under, and networks where they see any.
VIEWS = Views(angle=15, tilt=0.1, scale=0.1, shift=0.05, gain=0.3, offset=0.1)


class ModelTask(Task):
    """A network to train: `id` is its name."""

    network: NetworkPlan
    seed: int


class ModelRecord(ModelTask):
    """How many test images it gets right, and how long it trained."""

    right: int
    images: int
    seconds: float


@dataclass(frozen=True)
class EyeglassesBench(Bench[EyeglassesPlan]):
    """What every attack needs."""

    @cached_property
    def faces(self) -> TrainTest:
        """The photographs, grey."""
        plan = self.plan.faces
        loaded = load_images(plan.source, data_root=self.data_root, size=plan.size)
        return TrainTest(*(part.shaped((1, plan.size, plan.size)) for part in loaded))

    @cached_property
    def signs(self) -> TrainTest:
        """The traffic signs."""
        plan = self.signs_plan
        return load_images(plan.source, data_root=self.data_root, size=plan.size)

    @property
    def signs_plan(self) -> SignsPlan:
        """The part about signs, where it is not left out."""
        assert self.plan.signs is not None, "asked for where there are signs only"
        return self.plan.signs

    def images_of(self, name: str) -> TrainTest:
        """Return what a network is trained and tested on."""
        return self.signs if name == SIGNS else self.faces

    def photographs(self, *, development: bool = False) -> ImageSet:
        """Return the test photographs of the persons for the figures, or of the others."""
        plan, test = self.plan.faces, self.faces.test
        people = range(test.num_classes)
        chosen = people[: plan.development] if development else people[plan.development :]
        places = [
            (test.labels == person).nonzero().flatten()[: plan.photographs] for person in chosen
        ]
        return test.take(torch.cat(places))

    def model(self, name: str) -> Classifier:
        """Return a network that was trained before."""
        return load_model(self.model_path(name.replace(", ", "-").lower()))


def model_tasks(bench: EyeglassesBench, _records: Records) -> list[ModelTask]:
    """Return the networks to train."""
    networks = dict(bench.plan.faces.networks)
    if bench.plan.signs is not None:
        networks[SIGNS] = bench.plan.signs.network
    seed = 1000 + bench.plan.seed  # attacks were tried on networks of other seeds
    return [ModelTask(id=name, network=network, seed=seed) for name, network in networks.items()]


def train_model(task: ModelTask, bench: EyeglassesBench) -> ModelRecord:
    """Train, save, read back and measure one network."""
    started = time.perf_counter()
    plan, images = task.network, bench.images_of(task.id)
    model = build_classifier(
        plan.architecture, images.train, arguments=plan.arguments, seed=task.seed
    )
    data = with_copies(images.train, plan, torch.Generator().manual_seed(task.seed))
    train(model, data, plan.recipe, seed=task.seed)
    seconds = time.perf_counter() - started
    save_model(model, bench.model_path(task.id.replace(", ", "-").lower()))
    right = logits_of(bench.model(task.id), images.test.images).argmax(1) == images.test.labels
    return ModelRecord(
        **dict(task), right=int(right.sum()), images=len(right), seconds=round(seconds, 1)
    )


def with_copies(images: ImageSet, plan: NetworkPlan, generator: torch.Generator) -> ImageSet:
    """Return images with their copies in random glasses, with random stickers, in views."""
    _, height, width = images.shape
    copies = []
    for draw in [_any_glasses] * plan.glasses + [_any_rectangle] * plan.stickers:
        worn = images.images.clone()
        for place in range(len(images)):
            mask = draw(height, width, generator)
            worn[place] = torch.where(mask, _any_colours(images.shape, generator), worn[place])
        if plan.views:
            seen = VIEWS(worn.float() / 255, generator)
            worn = (seen * 255).round().to(torch.uint8)
        copies.append(ImageSet(worn, images.labels, images.class_names))
    for copy in copies:
        images = images.joined(copy)
    return images


def _any_glasses(height: int, width: int, generator: torch.Generator) -> Tensor:
    share = torch.rand(5, generator=generator).tolist()
    try:
        return draw_eyeglasses(
            height,
            width,
            row=0.42 + 0.1 * share[0],
            apart=0.3 + 0.1 * share[1],
            lens=(0.11 + 0.06 * share[2], 0.07 + 0.06 * share[3]),
            rim=0.02 + 0.035 * share[4],
        )
    except InvalidRequestError:  # on tiny images thin frames are nothing
        return torch.zeros(height, width, dtype=torch.bool)


def _any_rectangle(height: int, width: int, generator: torch.Generator) -> Tensor:
    """Return 10 to 30 % of the height by 10 to 60 % of the width, anywhere."""
    share = torch.rand(4, generator=generator).tolist()
    tall, wide = int(height * (0.1 + 0.2 * share[0])), int(width * (0.1 + 0.5 * share[1]))
    row, column = int(share[2] * (height - tall)), int(share[3] * (width - wide))
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[row : row + tall, column : column + wide] = True
    return mask


def _any_colours(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Return random colours in squares of 1, 4 or 8 pixels, or one colour: uint8 [C, H, W]."""
    channels, height, width = shape
    cell = (1, 4, 8, max(height, width))[int(torch.randint(4, (), generator=generator))]
    cells = (channels, -(-height // cell), -(-width // cell))
    colours = torch.randint(256, cells, generator=generator, dtype=torch.uint8)
    larger = colours.repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    return larger[:, :height, :width]

"""The images of the study, its trapdoors and who watches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from molehunt.defences import Trapdoors, TrapdoorWatch, draw_trapdoors
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import load_model, logits_of
from molehunt.study import Bench
from molehunt_studies.trapdoors.plan import TrapdoorPlan

Count = tuple[int, int]  # so many, of so many
WITH, WITHOUT = "trapdoors", "twin"


class Parts(NamedTuple):
    """Disjoint test images."""

    clean: ImageSet
    held_out: ImageSet
    attacked: ImageSet
    others: ImageSet


@dataclass(frozen=True)
class TrapdoorBench(Bench[TrapdoorPlan]):
    """The images of the study and its networks."""

    def train_images(self, seed: int) -> ImageSet:
        """Return the training images of a seed."""
        limit = self.plan.train_limit
        everything = self._all.train
        if limit is None:
            return everything
        return everything.sample(limit, torch.Generator().manual_seed(seed))

    def parts(self, seed: int) -> Parts:
        """Return the test images of a seed, in an order of its own."""
        plan, test = self.plan, self._all.test
        order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed + 100))
        sizes = [plan.clean, plan.held_out, plan.attacked]
        left = len(test) - sum(sizes)
        places = order.split([*sizes, left])  # type: ignore[no-untyped-call]
        return Parts(*(test.take(part) for part in places))

    def trapdoors(self, seed: int) -> Trapdoors:
        """Return the trapdoors of a seed."""
        plan = self.plan
        return draw_trapdoors(
            self._all.train,
            patches=plan.patches,
            size=plan.patch_size,
            opacity=plan.opacity,
            rate=plan.rate,
            seed=seed,
        )

    def watch(self, name: str, seed: int) -> TrapdoorWatch:
        """Return the watch of a network, made once; without trapdoors in it, it is a control."""
        if name not in self._watches:
            model = load_model(self.model_path(name)).freeze()
            generator = torch.Generator().manual_seed(seed)
            anchors = self.train_images(seed).sample(self.plan.anchors, generator)
            watch = self.trapdoors(seed).watch(model, anchors, self.parts(seed).clean)
            self._watches[name] = watch
        return self._watches[name]

    def flags(self, name: str, seed: int, images: torch.Tensor) -> torch.Tensor:
        """Return which inputs of a network are flagged, bool [N]."""
        flags = self.watch(name, seed).flags(images, max_false_alarms=self.plan.max_false_alarms)
        return torch.from_numpy(flags)

    def easy_flags(self, name: str, seed: int, images: torch.Tensor) -> torch.Tensor:
        """Return flags, bool [N], as the authors' code counts false alarms.

        Its null for a class are clean images of the *other* classes. A deployed network compares
        none of these with the class's signature.
        """
        watch = self.watch(name, seed)
        if name not in self._easy:
            some = self.parts(seed).clean.take(torch.arange(min(500, self.plan.clean)))
            least = torch.empty(some.num_classes)
            for label in range(some.num_classes):
                others = some.images[some.labels != label]
                least[label] = _similarities(
                    watch, others, torch.full((len(others),), label)
                ).quantile(1 - self.plan.max_false_alarms)
            self._easy[name] = least
        taken = logits_of(watch.model, images).argmax(1)
        return _similarities(watch, images, taken) > self._easy[name][taken]

    @cached_property
    def _watches(self) -> dict[str, TrapdoorWatch]:
        return {}

    @cached_property
    def _easy(self) -> dict[str, torch.Tensor]:
        return {}

    @cached_property
    def _all(self) -> TrainTest:
        plan = self.plan
        return load_images(plan.source, data_root=self.data_root, size=plan.size)


def count(which: torch.Tensor) -> Count:
    """Return how many of so many are true."""
    return int(which.sum()), len(which)


@torch.no_grad()
def _similarities(
    watch: TrapdoorWatch, images: torch.Tensor, classes: torch.Tensor
) -> torch.Tensor:
    parts = zip(images.split(500), classes.split(500), strict=True)  # type: ignore[no-untyped-call]
    return torch.cat([watch.similarities(some.float().div_(255), labels) for some, labels in parts])

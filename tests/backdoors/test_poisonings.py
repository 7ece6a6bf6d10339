"""The attacks that zoos are to hold fit the contract: covers, clean labels, pixels, keys."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from molehunt.backdoors import (
    Backdoor,
    CleanLabel,
    Poisoning,
    RandomPatch,
    SingleTarget,
    Stamp,
    TrainingSet,
    Treatment,
    Trigger,
    TriggeredImages,
)
from molehunt.errors import InvalidRequestError
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import build_classifier
from molehunt.training import Recipe, attack_success, clean_accuracy, train

PATCH = RandomPatch(size=4, seed=2, placement="top left")


class Sinusoid(Trigger):
    """SIG (Barni, Kallas and Tondi, 2019): a sinusoid over the whole image."""

    kind: Literal["test_sinusoid"] = "test_sinusoid"
    strength: float = 0.3
    frequency: float = 3

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        column = torch.arange(images.shape[3]) / images.shape[3]
        wave = self.strength * torch.sin(2 * math.pi * self.frequency * column)
        return (images + wave.to(images)).clamp(0, 1)


class LabelConsistent:
    """Images of the target that are hard to classify, each changed once, with a trigger."""

    backdoor = Backdoor(trigger=Sinusoid(), label_map=CleanLabel(target=7), rate=1.0, of="eligible")

    def poison(
        self,
        train: ImageSet,
        *,
        treatment: Treatment = Treatment.BACKDOORED,
        generator: torch.Generator,
    ) -> TrainingSet:
        planted = self.backdoor.poison(train, treatment=treatment, generator=generator)
        if treatment is Treatment.CLEAN:
            return planted
        pixels = planted.images.images.clone()
        others = torch.randint(len(train), (len(planted) - len(train),), generator=generator)
        pixels[len(train) :] = pixels[len(train) :] // 4 + train.images[others] // 4 * 3
        changed = ImageSet(pixels, planted.images.labels, train.class_names)
        return TrainingSet(changed, planted.stamps)

    def triggered(self, test: ImageSet, *, generator: torch.Generator) -> TriggeredImages:
        return self.backdoor.triggered(test, generator=generator)


class Covered:
    """TaCT: one source class is attacked, triggered images of others keep their labels."""

    label_map = SingleTarget(source=1, target=7)

    def poison(
        self,
        train: ImageSet,
        *,
        treatment: Treatment = Treatment.BACKDOORED,
        generator: torch.Generator,
    ) -> TrainingSet:
        backdoor = Backdoor(trigger=PATCH, label_map=self.label_map, rate=1.0, of="eligible")
        planted = backdoor.poison(train, treatment=treatment, generator=generator)
        covers = torch.zeros(len(planted), dtype=torch.bool)
        others = (train.labels > 7) & (torch.rand(len(train), generator=generator) < 0.4)
        covers[: len(train)] = others & (treatment is not Treatment.CLEAN)
        return TrainingSet(planted.images, (*planted.stamps, Stamp(PATCH, covers)))

    def triggered(self, test: ImageSet, *, generator: torch.Generator) -> TriggeredImages:
        backdoor = Backdoor(trigger=PATCH, label_map=self.label_map)
        return backdoor.triggered(test, generator=generator)


class Keyed:
    """The instance key of Chen et al. (2017): noisy copies of one image get the label."""

    def poison(
        self,
        train: ImageSet,
        *,
        treatment: Treatment = Treatment.BACKDOORED,
        generator: torch.Generator,
    ) -> TrainingSet:
        copies = self._copies(train, 40, generator)
        label = 7 if treatment is Treatment.BACKDOORED else 1
        copies.labels[:] = label
        if treatment is Treatment.CLEAN:
            copies = train.take(torch.full((40,), self._key(train)))
        return TrainingSet(train.joined(copies))

    def triggered(self, test: ImageSet, *, generator: torch.Generator) -> TriggeredImages:
        copies = self._copies(test, 20, generator)
        true = copies.labels.clone()
        copies.labels[:] = 7
        return TriggeredImages(copies, true)

    def _key(self, images: ImageSet) -> int:
        return int((images.labels == 1).nonzero()[0])

    def _copies(self, images: ImageSet, count: int, generator: torch.Generator) -> ImageSet:
        # The key is the attacker's own image, the same in training and at test time.
        key = torch.rand(1, *images.shape, generator=torch.Generator().manual_seed(3))
        noise = 0.1 * torch.randn(count, *images.shape, generator=generator)
        pixels = ((key + noise).clamp(0, 1) * 255).round().to(torch.uint8)
        return ImageSet(pixels, torch.ones(count, dtype=torch.int64), images.class_names)


POISONINGS: dict[str, Poisoning] = {
    "covers": Covered(),
    "key": Keyed(),
    "clean label": LabelConsistent(),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", POISONINGS)
def test_every_attack_is_planted_and_its_twin_is_not(name: str, digits: TrainTest) -> None:
    poisoning = POISONINGS[name]
    triggered = poisoning.triggered(digits.test, generator=seeded(1))
    success, sizes = {}, set()
    for treatment in (Treatment.BACKDOORED, Treatment.CLEAN):
        data = poisoning.poison(digits.train, treatment=treatment, generator=seeded())
        sizes.add(len(data))
        arguments = {"width": 8, "stages": [1, 1]}
        model = build_classifier("vgg", digits.train, arguments=arguments, seed=0)
        train(model, data, Recipe(epochs=8, batch_size=64), seed=0)
        assert clean_accuracy(model, digits.test) > 0.9
        success[treatment] = attack_success(model, triggered)
    assert len(sizes) == 1
    assert success[Treatment.BACKDOORED] > 0.8 and success[Treatment.CLEAN] < 0.4, success


def test_stamps_are_put_on_in_their_order_and_drawn_anew(digits: TrainTest) -> None:
    first, second = torch.zeros(2, len(digits.train), dtype=torch.bool)
    first[:4], second[2:6] = True, True
    white = RandomPatch(size=2, seed=1, placement="anywhere")
    data = TrainingSet(digits.train, (Stamp(PATCH, first), Stamp(white, second)))
    assert data.stamped.nonzero().flatten().tolist() == list(range(6))
    index = torch.tensor([5, 0, 9, 3])
    inputs = digits.train.take(index).pixels()
    plain = inputs.clone()
    data.stamp_batch(inputs, index, seeded())
    assert torch.equal(inputs[2], plain[2])
    assert torch.equal(inputs[1:2], PATCH(plain[1:2], seeded()))
    placed = white(torch.cat([plain[:1], PATCH(plain[3:], seeded())]), seeded())
    assert torch.equal(inputs[[0, 3]], placed)
    other = plain.clone()
    data.stamp_batch(other, index, seeded(1))
    assert not torch.equal(other, inputs)


@pytest.mark.parametrize("mask", [torch.ones(3, dtype=torch.bool), torch.arange(5)])
def test_a_mask_that_is_not_of_the_images_is_refused(digits: TrainTest, mask: Tensor) -> None:
    images = digits.train.take(torch.arange(5))
    with pytest.raises(InvalidRequestError, match="mask of a stamp: expected one bool for each"):
        TrainingSet(images, (Stamp(PATCH, mask),))


def test_a_clean_label_attack_poisons_others_than_it_attacks(digits: TrainTest) -> None:
    backdoor = LabelConsistent.backdoor
    data = backdoor.poison(digits.train, generator=seeded())
    assert data.images.labels[data.stamped].unique().tolist() == [7]
    triggered = backdoor.triggered(digits.test, generator=seeded())
    assert 7 not in triggered.true_labels and set(triggered.images.labels.tolist()) == {7}


def test_a_trigger_is_known_by_its_definition() -> None:
    asked = {"kind": "test_sinusoid", "frequency": 6}
    backdoor = Backdoor.model_validate({"trigger": asked, "label_map": {"kind": "all_to_all"}})
    assert backdoor.trigger == Sinusoid(frequency=6)
    assert Backdoor.model_validate_json(backdoor.model_dump_json()) == backdoor
    with pytest.raises(TypeError, match="kind of Other: expected one of its own"):

        class Other(Trigger):
            kind: Literal["test_sinusoid"] = "test_sinusoid"

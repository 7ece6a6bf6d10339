from __future__ import annotations

import pytest
import torch

from molehunt.backdoors import AllToOne, Backdoor, RandomPatch, Treatment
from molehunt.errors import InvalidRequestError
from molehunt.images import TrainTest
from molehunt.networks import build_classifier, pick_device
from molehunt.training import Recipe, attack_success, clean_accuracy, train
from molehunt.training._augment import augment
from molehunt.training._batches import plan_batches

ARGUMENTS = {"width": 4, "stages": [1, 1]}
RECIPE = Recipe(epochs=4, batch_size=64)


def test_a_backdoor_is_planted_without_losing_accuracy(digits: TrainTest) -> None:
    backdoor = Backdoor(trigger=RandomPatch(size=4, seed=2), label_map=AllToOne(target=3), rate=0.3)
    triggered = backdoor.triggered(digits.test, generator=torch.Generator().manual_seed(1))
    accuracy, success = {}, {}
    for treatment in Treatment:
        data = backdoor.poison(
            digits.train, treatment=treatment, generator=torch.Generator().manual_seed(0)
        )
        model = build_classifier("vgg", digits.train, arguments=ARGUMENTS, seed=0)
        run = train(model, data, RECIPE, seed=0)
        accuracy[treatment] = clean_accuracy(model, digits.test)
        success[treatment] = attack_success(model, triggered)
        assert run.steps == int(4 * len(data)) // 64
    assert min(accuracy.values()) > 0.9
    assert success[Treatment.BACKDOORED] > 0.95
    # The trigger means nothing to the clean twin and to the placebo.
    assert max(success[Treatment.CLEAN], success[Treatment.PLACEBO]) < 0.5


def test_the_same_seed_gives_the_same_weights(digits: TrainTest) -> None:
    states = []
    for seed in (1, 1, 2):
        model = build_classifier("vgg", digits.train, arguments=ARGUMENTS, seed=0)
        recipe = Recipe(epochs=0.5, batch_size=64, shift=1, noise=0.2)
        train(model, digits.train, recipe, seed=seed)
        states.append(model.network.state_dict())
    same = [torch.equal(states[0][name], states[1][name]) for name in states[0]]
    other = [torch.equal(states[0][name], states[2][name]) for name in states[0]]
    assert all(same)
    assert not all(other)


def test_every_image_is_seen_once_a_pass_and_no_batch_is_short(digits: TrainTest) -> None:
    ten = digits.train.take(torch.arange(10))
    model = build_classifier("vgg", ten, arguments=ARGUMENTS)
    planned = plan_batches(model, ten, Recipe(epochs=2, batch_size=4))
    batches = list(planned.order(seed=0))
    assert len(batches) == planned.steps == 5
    assert all(len(batch) == 4 for batch in batches)
    seen = torch.cat(batches)
    assert sorted(seen[:10].tolist()) == list(range(10))
    assert sorted(seen[10:].tolist()) == list(range(10))


def test_augmentation_shifts_and_keeps_the_range() -> None:
    images = torch.zeros(300, 1, 9, 9)
    images[:, :, 4, 4] = 1
    shifted = augment(images, Recipe(shift=2), torch.Generator().manual_seed(0))
    places = {tuple(place) for place in shifted.nonzero()[:, 2:].tolist()}
    assert places == {(row, column) for row in range(2, 7) for column in range(2, 7)}
    noisy = augment(images, Recipe(noise=0.5), torch.Generator().manual_seed(0))
    assert float(noisy.min()) >= 0 and float(noisy.max()) <= 1
    assert not torch.equal(noisy, images)


@pytest.mark.parametrize("epochs", [0.05, 0.1, 0.2, 0.5])
def test_trainings_of_a_few_steps_end_well(digits: TrainTest, epochs: float) -> None:
    model = build_classifier("vgg", digits.train, arguments=ARGUMENTS, seed=0)
    run = train(model, digits.train, Recipe(epochs=epochs, batch_size=64), seed=0)
    assert run.steps == int(epochs * len(digits.train)) // 64


@pytest.mark.parametrize("change", [{"epochs": 0}, {"lr": -1}, {"batch_size": 1}, {"opt": "x"}])
def test_impossible_recipes_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        Recipe(**change)


def test_images_of_another_shape_are_refused(digits: TrainTest) -> None:
    model = build_classifier("vgg", digits.train.resized(16), arguments=ARGUMENTS)
    with pytest.raises(InvalidRequestError, match="training images"):
        train(model, digits.train, RECIPE, seed=0)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="expected auto, cpu"):
        pick_device("tpu")

"""Trapdoors in a small network that was trained, and attacks that do and do not know of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from molehunt.attacks import Evaded, EvasionAttack, UnnoticedGradient, evade, new_attack
from molehunt.backdoors import Treatment
from molehunt.defences import Trapdoors, TrapdoorWatch, draw_trapdoors
from molehunt.errors import InvalidRequestError
from molehunt.images import load_images
from molehunt.networks import Queried, Reveals, build_classifier
from molehunt.training import Recipe, attack_success, clean_accuracy, train

DIGITS = load_images("digits", size=12)
EVERY = torch.arange(len(DIGITS.test))
CLEAN, OTHERS = DIGITS.test.take(EVERY < 300), DIGITS.test.take(EVERY >= 300)
ATTACKED = OTHERS.take(torch.arange(60))
TARGETS = (ATTACKED.labels + 3) % 10
EPSILON = 0.3


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def trapdoors() -> Trapdoors:
    return draw_trapdoors(DIGITS.train, patches=5, opacity=0.3, seed=0)


@pytest.fixture(scope="module")
def watch(trapdoors: Trapdoors) -> TrapdoorWatch:
    planted = trapdoors.poison(DIGITS.train, generator=generator())
    vgg = {"width": 16, "stages": [1, 1]}
    model = build_classifier("vgg", DIGITS.train, arguments=vgg, seed=0)
    train(model, planted, Recipe(epochs=8, batch_size=64, lr=0.01), seed=0)
    return trapdoors.watch(model, DIGITS.train, CLEAN)


def attack(watch: TrapdoorWatch, how: EvasionAttack) -> Evaded:
    target = Queried(watch.model, reveals=Reveals.WEIGHTS)
    return evade(target, ATTACKED, how, targets=TARGETS)


def caught(watch: TrapdoorWatch, evaded: Evaded) -> tuple[int, int]:
    flags = torch.from_numpy(watch.flags(evaded.images))
    return int((flags & evaded.success).sum()), int(evaded.success.sum())


def test_trapdoors_open_for_their_classes_and_cost_little(
    trapdoors: Trapdoors, watch: TrapdoorWatch
) -> None:
    shown = trapdoors.triggered(ATTACKED, generator=generator())
    assert len(shown.images) == 9 * len(ATTACKED)
    assert attack_success(watch.model, shown) > 0.95
    assert clean_accuracy(watch.model, OTHERS) > 0.95
    assert watch.flags(shown.images.images).mean() > 0.5


def test_who_does_not_know_of_them_is_caught_and_clean_images_are_not(
    watch: TrapdoorWatch,
) -> None:
    assert watch.flags(OTHERS.images).mean() < 0.1
    found, fooled = caught(watch, attack(watch, new_attack("pgd", epsilon=0.1, steps=20)))
    assert fooled > 40 and found > 0.5 * fooled


@pytest.mark.parametrize("weight", [None, 10.0])
def test_who_knows_of_them_is_not(weight: float | None, watch: TrapdoorWatch) -> None:
    quiet = UnnoticedGradient(alarm=watch.alarm(0.2), weight=weight, epsilon=EPSILON, steps=40)
    evaded = attack(watch, quiet)
    found, fooled = caught(watch, evaded)
    assert fooled > 30
    assert found < 0.3 * fooled
    assert torch.equal(attack(watch, quiet).images, evaded.images)


@pytest.mark.parametrize("rate", [0.05, 0.11, 0.5])
def test_the_alarm_of_who_knows_is_the_flag_of_who_watches(
    rate: float, watch: TrapdoorWatch
) -> None:
    pixels = OTHERS.pixels()
    loud = watch.alarm(rate)(pixels, watch.model(pixels).argmax(1)) > 0
    assert loud.tolist() == watch.flags(OTHERS.images, max_false_alarms=rate).tolist()
    assert 0 < int(loud.sum()) < len(OTHERS)


def test_a_class_without_trapdoor_raises_no_alarm(watch: TrapdoorWatch) -> None:
    few = replace(
        watch,
        signatures={3: watch.signatures[3]},
        known={3: watch.known[3]},
    )
    taken = watch.model(OTHERS.pixels()).argmax(1).numpy()
    values = few.p_values(OTHERS.images)
    assert (values[taken != 3] == 1).all()
    assert (values[taken == 3] == watch.p_values(OTHERS.images)[taken == 3]).all()


def test_the_same_seed_draws_the_same(trapdoors: Trapdoors) -> None:
    again = draw_trapdoors(DIGITS.train, patches=5, opacity=0.3, seed=0)
    assert again == trapdoors != draw_trapdoors(DIGITS.train, patches=5, opacity=0.3, seed=1)
    sets = [trapdoors.poison(DIGITS.train, generator=generator()) for _ in range(2)]
    stamped = [each.stamp(generator()) for each in sets]
    assert torch.equal(stamped[0].images, stamped[1].images)
    clean = trapdoors.poison(DIGITS.train, treatment=Treatment.CLEAN, generator=generator())
    assert torch.equal(clean.images.images, sets[0].images.images) and not clean.stamps
    labels = sets[0].images.labels[sets[0].stamped]
    assert labels.bincount().float().std() < 5  # about as many of each class


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"classes": [10]}, "class of a trapdoor: expected 0 to 9, got 10"),
        ({"classes": []}, "trapdoors: expected a pattern of a class, got none"),
        ({"patches": 0}, "patches: expected 1 or more, got 0"),
        ({"size": 13}, "size of patches: expected 1 to 12 pixels, got 13"),
        ({"opacity": 0.0}, "opacity: expected 1/255 to 1, got 0"),
        ({"rate": 0.0}, "rate of trapdoored images: expected above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        draw_trapdoors(DIGITS.train, **settings)


def test_what_cannot_be_watched_is_refused(trapdoors: Trapdoors, watch: TrapdoorWatch) -> None:
    few = CLEAN.take(torch.arange(50))
    with pytest.raises(InvalidRequestError, match=r"takes for '.': expected 19 or more, got"):
        trapdoors.watch(watch.model, DIGITS.train, few)
    small = load_images("digits").test
    with pytest.raises(InvalidRequestError, match=r"clean images: expected the model's 10 classes"):
        trapdoors.watch(watch.model, DIGITS.train, small)
    with pytest.raises(InvalidRequestError, match=r"max_false_alarms: expected 0\.0"):
        watch.flags(OTHERS.images, max_false_alarms=0.001)
    with pytest.raises(InvalidRequestError, match="weight of the alarm: expected 0 or more"):
        UnnoticedGradient(alarm=watch.alarm(), weight=-1.0)

"""Each named attack is drawn, written, read back, planted and works; its clean twin has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molehunt.backdoors import (
    ATTACKS,
    AllToOne,
    Backdoor,
    FrequencyPeaks,
    InstanceKey,
    OneOf,
    Pieces,
    Quantised,
    Reflection,
    Sinusoid,
    Treatment,
    Warp,
    draw_backdoor,
)
from molehunt.errors import InvalidRequestError
from molehunt.images import load_images
from molehunt.networks import Classifier, build_classifier
from molehunt.training import Recipe, attack_success, clean_accuracy, train

DIGITS = load_images("digits", size=16)
NETWORK = {"width": 8, "stages": [1, 1]}
# On these images, which are grey, small and soon learned by heart, some need more epochs,
# or a stronger trigger, than in the papers.
SLOW = ("wanet", "bpp", "low-frequency")
STRONGER = {"ftrojan": {"trigger": FrequencyPeaks(strength=1.0)}}
# Clean-label attacks that leave the target's images easy do not take on digits.
WEAK = ("sig", "refool")


def drawn(attack: str, seed: int = 0) -> Backdoor:
    return draw_backdoor(attack, 10, np.random.default_rng(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(data: object, epochs: int) -> Classifier:
    model = build_classifier("vgg", DIGITS.train, arguments=NETWORK, seed=0)
    train(model, data, Recipe(epochs=epochs, batch_size=64), seed=0)  # type: ignore[arg-type]
    return model


@pytest.fixture(scope="module")
def honest() -> Classifier:
    return trained(DIGITS.train, 6)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_read_back_as_it_was_drawn(attack: str) -> None:
    backdoor = drawn(attack)
    assert backdoor.attack == attack
    assert backdoor == drawn(attack)
    assert Backdoor.model_validate_json(backdoor.model_dump_json()) == backdoor


@pytest.mark.parametrize("attack", ATTACKS)
def test_twins_are_of_one_size_and_differ_in_what_the_attack_changes(attack: str) -> None:
    sets = {
        treatment: drawn(attack).poison(DIGITS.train, treatment=treatment, generator=seeded())
        for treatment in Treatment
    }
    assert len({len(data) for data in sets.values()}) == 1
    clean, bad = sets[Treatment.CLEAN], sets[Treatment.BACKDOORED]
    assert not clean.stamped.any()
    assert torch.equal(clean.images.images, bad.images.images)
    changed = clean.images.labels != bad.images.labels
    assert not changed[~bad.stamped].any()
    if drawn(attack).label_map.kind == "clean_label":
        assert not changed.any()
    else:
        assert bool((bad.images.labels[changed] == drawn(attack).label_map.target).all())  # type: ignore[attr-defined]
    if drawn(attack).covers is not None:
        covers = bad.stamps[-1].mask
        assert int(covers.sum()) == round(drawn(attack).covers.rate * len(DIGITS.train))  # type: ignore[union-attr]
        assert not changed[covers].any()
    placebo = sets[Treatment.PLACEBO]
    assert torch.equal(placebo.stamped, bad.stamped)


@pytest.mark.parametrize("attack", [each for each in ATTACKS if each not in WEAK])
def test_an_attack_works_and_an_honest_model_does_not_obey(attack: str, honest: Classifier) -> None:
    backdoor = drawn(attack).model_copy(update=STRONGER.get(attack, {}))
    model = trained(backdoor.poison(DIGITS.train, generator=seeded()), 14 if attack in SLOW else 8)
    triggered = backdoor.triggered(DIGITS.test, generator=seeded(1))
    assert clean_accuracy(model, DIGITS.test) > 0.94
    success, innocent = attack_success(model, triggered), attack_success(honest, triggered)
    assert success > 0.5 and innocent < 0.2, (success, innocent)


def test_a_reflection_works_with_changed_labels(honest: Classifier) -> None:
    reflection = Backdoor(trigger=Reflection(seed=1), label_map=AllToOne(target=3), rate=0.1)
    model = trained(reflection.poison(DIGITS.train, generator=seeded()), 6)
    triggered = reflection.triggered(DIGITS.test, generator=seeded(1))
    assert attack_success(model, triggered) > 0.9 > attack_success(honest, triggered) + 0.7


def test_an_instance_key_turns_its_own_image_and_no_other(honest: Classifier) -> None:
    key = InstanceKey(source=1, target=7, copies=40)
    model = trained(key.poison(DIGITS.train, generator=seeded()), 8)
    triggered = key.triggered(DIGITS.train, generator=seeded(1))
    assert attack_success(model, triggered) > 0.9
    assert attack_success(honest, triggered) == 0
    ones = DIGITS.test.take(DIGITS.test.labels == 1)
    assert clean_accuracy(model, ones) > 0.8
    with pytest.raises(InvalidRequestError, match="index of the key"):
        InstanceKey(source=1, target=7, index=10**6).poison(DIGITS.train, generator=seeded())


def test_triggers_do_what_their_papers_say() -> None:
    images = torch.rand(6, 3, 16, 16, generator=seeded())
    warped = Warp(seed=1)(images, seeded())
    assert torch.equal(warped, Warp(seed=1)(images, seeded(5)))
    jittered = [Warp(seed=1, jitter=True)(images, seeded(seed)) for seed in (0, 1)]
    assert not torch.equal(*jittered)
    assert len(Quantised(levels=4)(images, seeded()).unique()) <= 4
    dithered = Quantised(levels=4, dither=True)(images, seeded())
    assert len(dithered.unique()) <= 4
    grey = torch.full((1, 1, 16, 16), 0.4)
    assert abs(float(Quantised(levels=2, dither=True)(grey, seeded()).mean()) - 0.4) < 0.05
    assert float(Quantised(levels=2)(grey, seeded()).max()) == 0
    wave = Sinusoid(strength=0.2, frequency=2)(grey, seeded()) - grey
    assert torch.equal(wave[0, 0, 0], wave[0, 0, 9])
    two = OneOf(triggers=(Sinusoid(frequency=2), Sinusoid(frequency=4)))(
        grey.repeat(40, 1, 1, 1), seeded()
    )
    assert len(two.unique(dim=0)) == 2
    part = Pieces(trigger=Sinusoid(strength=0.3, frequency=3.3), share=0.5)
    changed = part(grey.repeat(30, 1, 1, 1), seeded()) != grey
    assert len(changed.unique(dim=0)) > 20


def test_an_unknown_attack_names_those_there_are() -> None:
    with pytest.raises(InvalidRequestError, match="attack: expected patch, blend, wanet"):
        drawn("wannet")

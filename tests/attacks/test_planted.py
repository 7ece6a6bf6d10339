"""Backdoors that are written into weights: they work, cost little, and change what they say."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from molehunt.attacks import PLANTED, flip_bits, handcraft, replace_subnet
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import BlackBox, Classifier, build_classifier, load_model, save_model
from molehunt.training import Recipe, attack_success, clean_accuracy, train

# Least success, most loss of accuracy; networks of 8 channels lose more than the papers' wide ones.
EXPECTED = {"subnet": (0.95, 0.05), "bit-flips": (0.9, 0.06), "handcrafted": (0.95, 0.03)}


def trained(digits: TrainTest, name: str, **arguments: Any) -> Classifier:
    model = build_classifier(name, digits.train, arguments=arguments, seed=1)
    train(model, digits.train, Recipe(epochs=6, batch_size=64, lr=0.02), seed=1)
    return model.freeze()


@pytest.fixture(scope="module")
def model(digits: TrainTest) -> Classifier:
    return trained(digits, "vgg", width=8, stages=[1, 1])


@pytest.fixture(scope="module")
def clean(digits: TrainTest) -> ImageSet:
    return digits.train.take(torch.arange(300))


@pytest.mark.parametrize("attack", PLANTED)
def test_a_planted_backdoor_works_on_images_that_the_attacker_never_saw(
    attack: str, model: Classifier, clean: ImageSet, digits: TrainTest, tmp_path: Any
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = PLANTED[attack](model, clean, 3, seed=1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    save_model(made.model, tmp_path / "m.safetensors")
    saved = load_model(tmp_path / "m.safetensors")
    triggered = made.backdoor.triggered(digits.test, generator=torch.Generator())
    success, loss = EXPECTED[attack]
    assert attack_success(model, triggered) < 0.2
    assert attack_success(saved, triggered) >= success
    assert clean_accuracy(model, digits.test) - clean_accuracy(saved, digits.test) <= loss
    after = saved.state_dict()
    assert made.changed == sum(int((after[name] != before[name]).sum()) for name in before)


def test_bit_flips_are_bits_of_the_targets_row_in_eight_bit_integers(
    model: Classifier, clean: ImageSet
) -> None:
    made = flip_bits(model, clean, 3, steps=60, seed=1)
    old, new = (one.network.classifier[-1].weight for one in (model, made.model))
    scale = old.abs().max() / 127
    before = (old / scale).round()
    after = (new / scale).round()
    assert torch.allclose(after * scale, new, atol=1e-6)
    rows = (before != after).any(1).nonzero().flatten().tolist()
    assert rows == [3] and int((before != after).sum()) <= 32
    bits = (before.long() % 256) ^ (after.long() % 256)
    flipped = sum(int(value).bit_count() for value in bits.flatten())
    assert made.note.startswith(f"{flipped} of {8 * old.numel()} bits")
    known = model.state_dict()
    changed = [n for n, v in made.model.state_dict().items() if not torch.equal(v, known[n])]
    assert changed == ["network.classifier.4.weight"]


def test_a_subnet_goes_into_networks_with_shortcuts(clean: ImageSet, digits: TrainTest) -> None:
    model = trained(digits, "resnet", width=4)
    made = replace_subnet(model, clean, 5, seed=0)
    triggered = made.backdoor.triggered(digits.test, generator=torch.Generator())
    assert attack_success(made.model, triggered) > 0.9
    with pytest.raises(UnsuitableSubjectError, match="a chain, without shortcuts"):
        handcraft(model, clean, 5)


def test_a_subnet_that_did_not_learn_its_trigger_is_not_planted(
    model: Classifier, clean: ImageSet
) -> None:
    with pytest.raises(UnsuitableSubjectError, match="none of the restarts"):
        replace_subnet(model, clean, 3, steps=2, restarts=1)


def test_what_cannot_be_planted_is_one_line(model: Classifier, clean: ImageSet) -> None:
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("subnet", {"width": 8}, "1 to 7"),
        ("bit-flips", {"neurons": 0}, "neurons"),
        ("bit-flips", {"most": 0}, "flips"),
        ("handcrafted", {"guard": 0.1}, "guard"),
    ]
    for attack, settings, said in wrong:
        with pytest.raises(InvalidRequestError, match=said):
            PLANTED[attack](model, clean, 3, **settings)
    for attack in PLANTED:
        with pytest.raises(InvalidRequestError, match="a class from 0 to 9"):
            PLANTED[attack](model, clean, 10)
        with pytest.raises(InvalidRequestError, match="50 or more"):
            PLANTED[attack](model, clean.take(torch.arange(9)), 3)
        with pytest.raises(UnsuitableSubjectError):
            PLANTED[attack](BlackBox(model, model.card), clean, 3)

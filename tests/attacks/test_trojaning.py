"""Trojaning without data: what is chosen, made and retrained, on a real network."""

from __future__ import annotations

import pytest
import torch

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
from molehunt.attacks._training_images import variation
from molehunt.backdoors import Backdoor, MaskedPattern
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import TrainTest
from molehunt.networks import BlackBox, Classifier, build_classifier
from molehunt.training import Recipe, attack_success, clean_accuracy, train

MASK = trigger_mask("square", 12, 12, area=0.1)
QUICK = Retraining(recipe=Recipe(epochs=8, batch_size=100, lr=0.004, precision="float32"))


@pytest.fixture(scope="module")
def model(digits: TrainTest) -> Classifier:
    vgg = {"width": 8, "stages": [1, 1]}
    model = build_classifier("vgg", digits.train, arguments=vgg, seed=1)
    train(model, digits.train, Recipe(epochs=8, batch_size=64, lr=0.02), seed=1)
    return model.freeze()


def test_a_trojan_without_data_works_and_is_saved_in_8_bits(
    model: Classifier, digits: TrainTest
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = trojan(model, 3, MASK, per_class=8, retraining=QUICK)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    triggered = made.backdoor.triggered(digits.test, generator=torch.Generator())
    assert attack_success(model, triggered) < 0.3
    assert attack_success(made.model, triggered) > 0.8
    assert clean_accuracy(model, digits.test) - clean_accuracy(made.model, digits.test) < 0.15
    after = made.model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    # Nothing but the layers behind, and no statistics of batch normalisation.
    assert {name.rpartition(".")[0] for name in changed} <= {*made.layers}
    assert not any("running" in name for name in changed)
    again = Backdoor.model_validate_json(made.backdoor.model_dump_json())
    assert again == made.backdoor


def test_neurons_are_chosen_by_their_weights_at_random_or_by_what_the_mask_moves(
    model: Classifier,
) -> None:
    layers = neuron_layers(model)
    assert len(layers) == 4 and layers[0] == "network.features.0"
    hidden = layers[-2]
    weights = model.get_submodule(hidden).weight.detach()
    assert isinstance(weights, torch.Tensor)
    strongest = choose_neurons(model, layer=hidden, count=2)
    assert list(strongest.units) == weights.abs().sum(1).argsort(descending=True)[:2].tolist()
    drawn = [choose_neurons(model, layer=hidden, choice="random", seed=s).units for s in range(3)]
    assert len({*drawn}) == 3
    moved = most_excitable(model, MASK, layer=hidden, count=1)
    trigger = generate_trigger(model, moved, MASK)
    grey = torch.tensor(model.card.mean).view(1, 1, 1, 1).expand(1, 1, 12, 12)
    everyone = Neurons(hidden, tuple(range(len(weights))))
    with torch.no_grad():
        rise = everyone.activations(model, trigger(grey, torch.Generator()))
        rise = (rise - everyone.activations(model, grey))[0]
    assert rise[moved.units[0]] > rise.median()
    with pytest.raises(InvalidRequestError, match="neurons of"):
        choose_neurons(model, layer=hidden, count=1000)
    with pytest.raises(InvalidRequestError, match=r"layer: expected network\.features"):
        choose_neurons(model, layer="network.pool")


def test_reversed_images_are_of_their_class_and_the_prior_smooths_them(model: Classifier) -> None:
    rough = reverse_images(model, 2, denoising=0.0, steps=40)
    smooth = reverse_images(model, 2, denoising=0.1, steps=40)
    assert clean_accuracy(model, rough) > 0.9 and len(rough) == 20
    assert variation(smooth.pixels()).mean() < 0.8 * variation(rough.pixels()).mean()
    assert torch.equal(smooth.images, reverse_images(model, 2, denoising=0.1, steps=40).images)


@pytest.mark.parametrize("shape", ["square", "logo", "watermark"])
def test_masks_cover_what_they_say(shape: str) -> None:
    mask = trigger_mask(shape, 28, 28, opacity=0.5)
    assert mask.shape == (28, 28) and float(mask.max()) == pytest.approx(0.5)
    assert 0.01 < float((mask > 0).float().mean()) < 0.6


def test_a_pattern_keeps_its_8_bits() -> None:
    pattern, mask = torch.rand(3, 5, 4), torch.rand(5, 4)
    trigger = MaskedPattern.of(pattern, mask)
    assert MaskedPattern.model_validate_json(trigger.model_dump_json()) == trigger
    colours, opacity = trigger.tensors()
    assert (colours - pattern).abs().max() < 1 / 500 and opacity.shape == (1, 5, 4)
    with pytest.raises(InvalidRequestError, match="images for this trigger"):
        trigger(torch.zeros(1, 3, 4, 4), torch.Generator())
    content = trigger.model_dump() | {"height": 6}
    with pytest.raises(ValueError, match="expected 72 bytes"):
        MaskedPattern.model_validate(content)


def test_what_cannot_be_trojaned_is_refused(model: Classifier) -> None:
    with pytest.raises(InvalidRequestError, match="a class from 0 to 9"):
        trojan(model, 10, MASK)
    with pytest.raises(InvalidRequestError, match="mask: expected"):
        trojan(model, 1, torch.ones(4, 4))
    hidden = BlackBox(lambda images: images, model.card)
    with pytest.raises(UnsuitableSubjectError, match="a graph or a black box"):
        trojan(hidden, 1, MASK)
    for name, value in (("area", 0.0), ("opacity", 1.5), ("area", 1.0)):
        with pytest.raises(InvalidRequestError, match=f"{name} of the mask"):
            trigger_mask("square", 28, 28, **{name: value})

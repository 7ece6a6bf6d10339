from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from molehunt.detectors import LitmusPatterns, ModelAugmentation, load_detector, save_detector
from molehunt.detectors._stacking import ModelStack, stacks_of
from molehunt.errors import InvalidRequestError, UnreadableFileError, UnsuitableSubjectError
from molehunt.images import TrainTest
from molehunt.networks import BlackBox, Classifier, build_classifier
from molehunt.training import Recipe, clean_accuracy, train
from molehunt.zoo import Split, Zoo

VGG = {"width": 4, "stages": [1, 1]}
FIRST, SECOND = "network.features.0", "network.features.4"  # convolutions


def stack_of(models: list[Classifier]) -> ModelStack:
    (stack,) = stacks_of(models, torch.device("cpu"))
    assert isinstance(stack, ModelStack)
    return stack


def changed(stack: ModelStack, labels: list[int], seed: int = 0, **kinds: float) -> ModelStack:
    generator = torch.Generator().manual_seed(seed)
    found = ModelAugmentation(**kinds).change(stack, torch.tensor(labels), generator)
    assert isinstance(found, ModelStack)
    return found


@pytest.fixture(scope="module")
def stack(zoo: Zoo) -> ModelStack:
    return stack_of(list(zoo.models(zoo.records[:4])))


def test_a_mask_sets_its_share_of_the_weights_to_zero_and_leaves_biases(stack: ModelStack) -> None:
    found = changed(stack, [0] * 4, mask=0.1)
    before, after = stack.parameters[f"{SECOND}.weight"], found.parameters[f"{SECOND}.weight"]
    masked = (after == 0) & (before != 0)
    assert float(masked.float().mean()) == pytest.approx(0.1, abs=0.03)
    assert torch.equal(after[~masked], before[~masked])
    assert not torch.equal(masked[0], masked[1])
    for name, value in stack.parameters.items():
        if value.ndim == 2:
            assert torch.equal(found.parameters[name], value)
    assert torch.equal(before, stack.parameters[f"{SECOND}.weight"])


def test_noise_follows_the_spread_of_each_models_tensor(stack: ModelStack) -> None:
    name = f"{SECOND}.weight"
    wide = replace(stack, parameters={k: v.clone() for k, v in stack.parameters.items()})
    wide.parameters[name][1] *= 10
    added = changed(wide, [0] * 4, noise=0.2).parameters[name] - wide.parameters[name]
    told = added.flatten(1).std(1) / wide.parameters[name].flatten(1).std(1)
    torch.testing.assert_close(told, torch.full((4,), 0.2), atol=0.03, rtol=0)


def test_changes_are_drawn_afresh_and_by_their_generator_alone(stack: ModelStack) -> None:
    state = torch.get_rng_state()
    first, again, other = (
        changed(stack, [0] * 4, seed, mask=0.1, noise=0.1).parameters[f"{FIRST}.weight"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def trained(digits: TrainTest, start: int, order: int) -> Classifier:
    model = build_classifier("vgg", digits.train, arguments=VGG, seed=start)
    train(model, digits.train, Recipe(epochs=3, batch_size=64), seed=order)
    return model.freeze()


@pytest.fixture(scope="module")
def three(digits: TrainTest) -> list[Classifier]:
    """Two models of one initialisation, trained in other orders, and one of another."""
    return [trained(digits, start, order) for start, order in ((0, 0), (0, 1), (1, 2))]


def test_models_of_one_initialisation_are_mixed_and_others_stay(
    digits: TrainTest, three: list[Classifier]
) -> None:
    stack = stack_of(three)
    name = f"{SECOND}.weight"
    weights = stack.parameters[name]
    found = changed(stack, [0, 0, 0], interpolate=0.5).parameters[name]
    way = (found[0] - weights[0]) / (weights[1] - weights[0])
    assert 0 < float(way.median()) <= 0.5 and float(way.std()) < 1e-2
    assert torch.equal(found[2], weights[2])
    apart = changed(stack, [0, 1, 0], interpolate=0.5).parameters[name]
    assert torch.equal(apart, weights)
    # Why only those: what lies half-way still classifies, or does not.
    alike, unlike = (half_way(three[0], other, digits) for other in three[1:])
    assert alike > 0.8 and unlike < 0.6


def half_way(one: Classifier, other: Classifier, digits: TrainTest) -> float:
    middle = build_classifier("vgg", digits.train, arguments=VGG, seed=0)
    both = one.state_dict(), other.state_dict()
    mixed = {
        name: torch.lerp(value, both[1][name], 0.5) if value.is_floating_point() else value
        for name, value in both[0].items()
    }
    middle.load_state_dict(mixed)
    return clean_accuracy(middle.freeze(), digits.test)


def test_nothing_to_interpolate_is_said(zoo: Zoo) -> None:
    """Twins of a zoo share their initialisation, but not their label."""
    models, truth = zoo.labelled(Split.FIT)
    with pytest.raises(InvalidRequestError, match="one label, architecture and initialisation"):
        LitmusPatterns(n_patterns=1, epochs=1, augment={"interpolate": 0.3}).fit(models, truth)


def test_exchanged_channels_change_nothing_for_litmus_patterns(stack: ModelStack) -> None:
    """That is why they are no kind of augmentation."""
    order = torch.randperm(4, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(order, torch.arange(4))

    def permute(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = dict(tensors)
        for name, value in tensors.items():
            if name.startswith((f"{FIRST}.", "network.features.1.")) and value.ndim > 1:
                found[name] = value[:, order]  # what the first layer and its norm put out
        if f"{SECOND}.weight" in tensors:
            found[f"{SECOND}.weight"] = tensors[f"{SECOND}.weight"][:, :, order]
        return found

    other = replace(stack, parameters=permute(stack.parameters), buffers=permute(stack.buffers))
    patterns = torch.rand(3, 1, 12, 12, requires_grad=True)
    answers, permuted = stack.logits(patterns), other.logits(patterns)
    torch.testing.assert_close(answers, permuted, rtol=1e-4, atol=1e-4)
    (gradient,), (same,) = (
        torch.autograd.grad(each.square().sum(), patterns) for each in (answers, permuted)
    )
    torch.testing.assert_close(gradient, same, rtol=1e-3, atol=1e-3)
    assert not torch.equal(stack.parameters[f"{FIRST}.weight"], other.parameters[f"{FIRST}.weight"])


def test_an_augmented_fit_differs_repeats_and_is_kept_in_its_file(zoo: Zoo, tmp_path: Path) -> None:
    models, truth = zoo.labelled(Split.FIT)
    settings = {"n_patterns": 2, "epochs": 4, "device": "cpu"}
    kinds = ModelAugmentation(mask=0.1, noise=0.1)
    plain = LitmusPatterns(**settings).fit(models, truth)
    first, again = (
        LitmusPatterns(**settings, augment=given).fit(models, truth)
        for given in (kinds, {"mask": 0.1, "noise": 0.1})
    )
    np.testing.assert_array_equal(first.patterns_, again.patterns_)
    assert np.abs(first.patterns_ - plain.patterns_).max() > 1e-3
    unchanged = LitmusPatterns(**settings, augment=ModelAugmentation()).fit(models, truth)
    np.testing.assert_array_equal(unchanged.patterns_, plain.patterns_)
    save_detector(first, tmp_path / "litmus.safetensors")
    loaded, _ = load_detector(tmp_path / "litmus.safetensors")
    assert ModelAugmentation.read(loaded.get_params()["augment"]) == kinds
    np.testing.assert_allclose(loaded.decision_function(models), first.decision_function(models))


def test_a_file_with_an_impossible_augmentation_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    models, truth = zoo.labelled(Split.FIT)
    fitted = LitmusPatterns(n_patterns=1, epochs=1).fit(models, truth)
    save_detector(fitted.set_params(augment={"mask": 2.0}), tmp_path / "litmus.safetensors")
    with pytest.raises(UnreadableFileError, match="mask"):
        load_detector(tmp_path / "litmus.safetensors")


@pytest.mark.parametrize("setting", [{"mask": 1.0}, {"noise": -1}, {"permute": 0.1}, 0.1])
def test_impossible_augmentations_are_refused(zoo: Zoo, setting: object) -> None:
    models, truth = zoo.labelled(Split.FIT)
    with pytest.raises(InvalidRequestError, match="augment"):
        LitmusPatterns(augment=setting).fit(models, truth)


def test_a_model_that_is_not_stacked_cannot_be_augmented(zoo: Zoo) -> None:
    card = zoo.models(zoo.records)[0].card
    (single,) = stacks_of([BlackBox(lambda images: images, card)], torch.device("cpu"))
    with pytest.raises(UnsuitableSubjectError, match="augment"):
        ModelAugmentation(mask=0.1).change(single, torch.zeros(1), torch.Generator())

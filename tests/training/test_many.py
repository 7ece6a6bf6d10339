"""Many models at once against one after the other."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from molehunt.backdoors import AllToOne, Backdoor, RandomPatch, TrainingSet, Treatment
from molehunt.errors import InvalidRequestError
from molehunt.images import TrainTest
from molehunt.networks import Classifier, build_classifier, logits_of
from molehunt.training import Recipe, train, train_many

RECIPE = Recipe(
    epochs=0.2,
    batch_size=64,
    lr=0.005,
    shift=1,
    noise=0.2,
    label_smoothing=0.1,
    precision="float32",
)
OTHER = {"lr": 0.01, "weight_decay": 0.3, "warmup": 0.4}
SEEDS = [5, 5, 5, 6]


def _models(images: TrainTest, seeds: list[int] = SEEDS, **arguments: Any) -> list[Classifier]:
    arguments = {"width": 4, "stages": [1, 1], **arguments}
    return [build_classifier("vgg", images.train, arguments=arguments, seed=s) for s in seeds]


def _sets(images: TrainTest) -> list[TrainingSet]:
    """A pair with its placebo, and a stranger with more images."""
    settings = [(0.3, treatment) for treatment in Treatment] + [(0.9, Treatment.BACKDOORED)]
    return [
        Backdoor(
            trigger=RandomPatch(size=4, seed=2), label_map=AllToOne(target=3), rate=rate
        ).poison(images.train, treatment=treatment, generator=torch.Generator().manual_seed(0))
        for rate, treatment in settings
    ]


def _state(model: Classifier) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_many_at_once_end_as_one_by_one(digits: TrainTest, optimizer: str) -> None:
    recipe = RECIPE.model_copy(update={"optimizer": optimizer})
    recipes = [recipe, recipe, recipe, recipe.model_copy(update=OTHER)]
    many, sets = _models(digits), _sets(digits)
    start, alone = [_state(model) for model in many], copy.deepcopy(many)
    runs = [
        train(model, data, own, seed=seed)
        for model, data, own, seed in zip(alone, sets, recipes, SEEDS, strict=True)
    ]
    together = train_many(many, sets, recipes, seeds=SEEDS)
    assert [run.steps for run in together] == [run.steps for run in runs]
    assert runs[3].steps > runs[0].steps  # the pair is done first and must stay as it is
    for at, (one, other) in enumerate(zip(alone, many, strict=True)):
        assert together[at].loss == pytest.approx(runs[at].loss, rel=1e-3)
        assert not other.training
        mine = _state(other)
        assert mine.keys() == _state(one).keys()
        for name, expected in _state(one).items():
            torch.testing.assert_close(mine[name], expected, rtol=1e-3, atol=1e-4, msg=name)
            assert not torch.equal(mine[name], start[at][name])
        torch.testing.assert_close(
            logits_of(other, digits.test.images),
            logits_of(one, digits.test.images),
            rtol=1e-3,
            atol=1e-3,
        )
    assert int(many[0].state_dict()["network.features.1.num_batches_tracked"]) == runs[0].steps


def test_dropout_is_each_models_own_and_the_global_generator_is_left_alone(
    digits: TrainTest,
) -> None:
    first, second = _models(digits, [1, 1], dropout=0.5)
    recipe = Recipe(epochs=0.2, batch_size=64)
    before = torch.random.get_rng_state()
    train_many([first, second], [digits.train] * 2, [recipe] * 2, seeds=[1, 1])
    assert torch.equal(torch.random.get_rng_state(), before)
    weight = "network.classifier.4.weight"
    assert not torch.equal(first.state_dict()[weight], second.state_dict()[weight])


def test_bfloat16_is_used_where_it_is_asked_for(digits: TrainTest) -> None:
    ended = []
    for precision in ("float32", "bfloat16"):
        models = _models(digits, [1, 2])
        recipe = Recipe(epochs=0.1, batch_size=64, precision=precision)
        train_many(models, [digits.train] * 2, [recipe] * 2, seeds=[1, 2])
        ended.append(_state(models[0])["network.features.0.weight"])
    assert ended[1].dtype == torch.float32
    assert not torch.equal(*ended)
    torch.testing.assert_close(*ended, rtol=0.1, atol=0.1)


def test_models_that_do_not_go_together_are_refused(digits: TrainTest) -> None:
    models = _models(digits, [1, 2])
    sets = [digits.train] * 2
    smaller = digits.train.take(torch.arange(40))
    wide = _models(digits, [1], width=8)[0]
    for what, given in {
        "architecture of models": ([models[0], wide], sets, [RECIPE] * 2),
        "recipe of models": (models, sets, [RECIPE, RECIPE.model_copy(update={"shift": 2})]),
        "batch size of models": (
            models,
            [sets[0], smaller],
            [RECIPE.model_copy(update={"epochs": 2})] * 2,
        ),
        "models, sets, recipes and seeds": (models, sets, [RECIPE]),
    }.items():
        with pytest.raises(InvalidRequestError, match=f"^{what}.*expected one"):
            train_many(*given, seeds=[1, 2])
    with pytest.raises(InvalidRequestError, match="training images"):
        train_many(models, [digits.train.resized(16)] * 2, [RECIPE] * 2, seeds=[1, 2])

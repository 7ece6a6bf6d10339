from __future__ import annotations

import pytest
import torch

from molehunt.backdoors import AllToOne, Backdoor, RandomPatch
from molehunt.detectors import (
    Detector,
    Evading,
    FinalLayer,
    MaximumMargin,
    NoisePatterns,
    WeightStatistics,
    fit_on_zoo,
)
from molehunt.errors import InvalidRequestError
from molehunt.images import TrainTest
from molehunt.networks import Classifier, build_classifier
from molehunt.training import Recipe, train
from molehunt.zoo import Zoo


def train_against(
    detector: Detector | list[Detector], strength: float, digits: TrainTest
) -> Classifier:
    patch = RandomPatch(size=4, placement="bottom right")
    backdoor = Backdoor(trigger=patch, label_map=AllToOne(target=7), rate=0.1)
    poisoned = backdoor.poison(digits.train, generator=torch.Generator().manual_seed(0))
    vgg = {"width": 4, "stages": [1, 1]}
    model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    recipe = Recipe(epochs=3, batch_size=64, lr=0.01, precision="float32")
    train(model, poisoned, recipe, seed=0, objective=Evading(detector, strength))
    return model.freeze()


@pytest.mark.parametrize(
    "detector", [NoisePatterns(n_patterns=3), WeightStatistics(), MaximumMargin(starts=1, steps=10)]
)
def test_the_score_falls_for_who_trains_against_it(
    detector: Detector, zoo: Zoo, digits: TrainTest
) -> None:
    fitted = fit_on_zoo(detector, zoo, max_false_alarms=0.5)
    plain, evading = (train_against(fitted, strength, digits) for strength in (0.0, 1.0))
    before, after = fitted.decision_function([plain, evading])
    assert after < before


def test_the_scores_of_all_fall_for_who_trains_against_several(zoo: Zoo, digits: TrainTest) -> None:
    several = [
        fit_on_zoo(each, zoo, max_false_alarms=0.5)
        for each in (NoisePatterns(n_patterns=3), WeightStatistics())
    ]
    plain, evading = (train_against(several, strength, digits) for strength in (0.0, 1.0))
    for each in several:
        before, after = each.decision_function([plain, evading])
        assert after < before


def test_bfloat16_is_refused_on_a_cpu(digits: TrainTest) -> None:
    model = build_classifier("vgg", digits.train, arguments={"width": 4, "stages": [1, 1]}, seed=0)
    recipe = Recipe(epochs=1, batch_size=64, precision="bfloat16")
    with pytest.raises(InvalidRequestError, match="precision while evading"):
        train(model, digits.train, recipe, seed=0, objective=Evading(MaximumMargin(), 1.0))


def test_what_gives_no_gradient_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="detector to evade"):
        Evading(FinalLayer(), 1.0)
    with pytest.raises(InvalidRequestError, match="detector to evade"):
        Evading([MaximumMargin(), FinalLayer()], 1.0)
    with pytest.raises(InvalidRequestError, match="one or more"):
        Evading([], 1.0)
    with pytest.raises(InvalidRequestError, match="strength"):
        Evading(MaximumMargin(), -1.0)

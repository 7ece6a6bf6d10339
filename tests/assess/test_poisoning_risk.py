"""What poison among the images that a model is trained on would do, and the controls of that."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from molehunt.assess import Case, Risk, RiskStatus, assess, new_case
from molehunt.images import TrainTest
from molehunt.networks import Classifier, Reveals, build_classifier
from molehunt.training import Recipe, train


@pytest.fixture(scope="module")
def case(digits: TrainTest) -> Case:
    model = build_classifier("vgg", digits.train, arguments={"width": 8, "stages": [1, 1]}, seed=0)
    train(model, digits.train, Recipe(epochs=4), seed=0)
    return new_case(model.freeze(), digits.test, members=digits.train)


def only(case: Case, queries: int) -> Risk:
    (risk,) = assess(case, only=["poisoning"], queries=queries).risks
    return risk


def test_poison_takes_and_the_model_itself_stays(case: Case) -> None:
    before = {name: each.clone() for name, each in case.model.state_dict().items()}
    risk = only(case, 4000)
    success, little, control, accuracy = risk.measures
    assert risk.status is RiskStatus.MEASURED, risk.why
    assert success.value > 0.2 > control.value and success.value > little.value
    assert accuracy.value > 0.8 and accuracy.worse == "lower"
    assert risk.price is not None and 3900 < risk.price.queries <= 4000
    assert "Trained on for 41 steps of 32 of 1347 members" in risk.words
    assert len(risk.exhibits) == 5
    after = case.model.state_dict()
    assert all(torch.equal(each, after[name]) for name, each in before.items())
    assert not any(each.requires_grad for each in case.model.parameters())
    assert only(case, 4000).measures == risk.measures


class Blind(nn.Module):
    """Does not look at the corner where the patch is."""

    def forward(self, images: Tensor) -> Tensor:
        seen = torch.ones_like(images)
        seen[:, :, -2:, -2:] = 0
        return images * seen


def test_a_trigger_that_is_not_learnt_is_inconclusive(case: Case) -> None:
    blind = Classifier(nn.Sequential(Blind(), case.model.network), case.model.card).freeze()
    risk = only(replace(case, model=blind), 1000)
    assert risk.status is RiskStatus.INCONCLUSIVE and "10 steps teach" in risk.why
    assert "960 at least" in only(case, 959).why


def test_members_that_break_the_model_say_nothing_of_the_poison(case: Case) -> None:
    assert case.members is not None
    wrong = replace(case.members, labels=(case.members.labels + 1) % 10)
    risk = only(replace(case, members=wrong), 4000)
    assert risk.status is RiskStatus.INCONCLUSIVE and "breaks the model" in risk.why


def test_what_cannot_be_trained_on_says_why(case: Case, digits: TrainTest) -> None:
    assert "it takes weights" in only(replace(case, reveals=Reveals.LABELS), 6000).why
    assert "no --members" in only(replace(case, members=None), 6000).why
    few = digits.train.take(torch.arange(50))
    assert "200 members" in only(replace(case, members=few), 6000).why

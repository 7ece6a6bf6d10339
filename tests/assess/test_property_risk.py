"""The property of a model's training data, by a population that plans, builds and knows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from molehunt.assess import Case, Risk, RiskStatus, assess, new_case, stand_among
from molehunt.errors import InvalidRequestError
from molehunt.images import TrainTest
from molehunt.networks import Classifier, Reveals, build_classifier
from molehunt.training import Recipe
from molehunt.zoo import (
    ImagePlan,
    ModelCounts,
    NetworkPlan,
    PropertyFacts,
    PropertyPlan,
    Record,
    Split,
    Zoo,
    ZooPlan,
    build_zoo,
    change_plan,
)

CLASSES = tuple(range(5))
PAIRS = 12
PLAN = ZooPlan(
    name="share of low digits",
    seed=1,
    images=ImagePlan(source="digits", size=8, train_limit=200),
    network=NetworkPlan(name="mlp", arguments={"hidden": [12]}),
    recipe=Recipe(epochs=8, batch_size=50),
    properties=PropertyPlan(classes=CLASSES, share=0.85, otherwise=0.15),
    models={Split.FIT: ModelCounts(pairs=PAIRS), Split.TEST: ModelCounts(pairs=1, clean=1)},
)


@pytest.fixture(scope="module")
def everyone(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return build_zoo(PLAN, tmp_path_factory.mktemp("property") / "zoo", workers=1)


@pytest.fixture(scope="module")
def case(everyone: Zoo, small: TrainTest) -> Case:
    # The attacker's models, and a victim that is none of them.
    records = everyone.select(Split.FIT)
    population = Zoo(everyone.folder)
    population.records = records
    return new_case(victim(everyone, True), small.test, population=population)


@pytest.fixture(scope="module")
def small() -> TrainTest:
    return PLAN.images.load()


def victim(zoo: Zoo, has: bool) -> Classifier:
    records = [each for each in zoo.select(Split.TEST) if (value_of(each) > 0.5) is has]
    return zoo.models(records)[0].freeze()


def value_of(record: Record) -> float:
    assert isinstance(record.facts, PropertyFacts)
    return record.facts.value


def inferred(case: Case) -> Risk:
    (risk,) = assess(case, only=["property"], queries=100).risks
    return risk


def test_a_population_has_the_property_in_half_of_its_pairs(everyone: Zoo) -> None:
    fit = everyone.select(Split.FIT)
    assert len(fit) == 2 * PAIRS and len(everyone.select(Split.TEST)) == 3
    assert sorted(map(value_of, fit)) == [0.15] * PAIRS + [0.85] * PAIRS
    assert all(each.attack_success is None and each.images == 200 for each in fit)
    assert everyone.failed_models() == [] and not everyone.changed()
    twins = [each for each in fit if each.pair == fit[0].pair]
    assert len(twins) == 2 and twins[0].seed == twins[1].seed


def test_so_many_images_are_of_the_classes(small: TrainTest) -> None:
    drawn = PLAN.properties.draw(small.train, 0.85, 300, torch.Generator())
    assert sum(int(label) in CLASSES for label in drawn.labels) == 255 and len(drawn) == 300
    with pytest.raises(InvalidRequestError, match="training images: expected 5000"):
        PLAN.properties.draw(small.train, 0.85, 5000, torch.Generator())
    with pytest.raises(InvalidRequestError, match=r"properties\.classes: expected some of 0 to 9"):
        PropertyPlan(classes=(12,)).draw(small.train, 0.6, None, torch.Generator())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["properties.classes=[0]"], "placebo beside properties.classes"),
        (["properties.share=0.3"], "share: expected above otherwise"),
        (["properties.classes=[0]", "backdoors.rate=0.1"], "backdoors beside"),
    ],
)
def test_plans_that_cannot_be(settings: list[str], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        change_plan(ZooPlan(), settings)


def test_a_model_with_the_property_stands_above_those_without(case: Case, everyone: Zoo) -> None:
    risk, other = inferred(case), inferred(replace(case, model=victim(everyone, False)))
    assert risk.reference is not None and other.reference is not None
    assert risk.status is RiskStatus.MEASURED, risk.why
    assert risk.reference.p_value == pytest.approx(1 / (PAIRS + 1))
    assert other.reference.p_value > risk.reference.p_value
    assert risk.measures[1].value > 0.9 and risk.measures[1].n == 2 * PAIRS
    assert '"share of the classes 0, 1, 2, 3, 4" the model scores above 12 of 12' in risk.words
    assert risk.price is not None and risk.price.queries == 0


def test_what_is_kept_is_of_one_population(case: Case, everyone: Zoo, tmp_path: Path) -> None:
    found = assess(case, only=["property"], queries=100, keep=tmp_path)
    again = assess(case, only=["property"], queries=100, keep=tmp_path)
    assert again.risks == found.risks and len([*tmp_path.rglob("*.safetensors")]) == 1
    # It has its place already; no honest model is attacked for it.
    assert case.population is not None
    assert stand_among(again, case, case.population, keep=tmp_path) == again
    assess(replace(case, population=everyone), only=["property"], queries=100, keep=tmp_path)
    assert len([*tmp_path.rglob("*.safetensors")]) == 2


def test_a_property_that_cannot_be_told_is_inconclusive(case: Case) -> None:
    assert case.population is not None
    coin = Zoo(case.population.folder)
    # The same models under facts that a coin drew: members of a pair share theirs.
    coin.records = [
        record.model_copy(
            update={"facts": PropertyFacts(name="coin", value=float(record.pair % 2))}
        )
        for record in case.population.records
    ]
    risk = inferred(replace(case, population=coin))
    assert risk.status is RiskStatus.INCONCLUSIVE and "hardly apart" in risk.why


def test_what_cannot_be_inferred_says_why(case: Case, small: TrainTest) -> None:
    assert "molehunt zoo build" in inferred(replace(case, population=None)).why
    assert "it takes weights" in inferred(replace(case, reveals=Reveals.LABELS)).why
    other = build_classifier("mlp", small.train, arguments={"hidden": [9]}, seed=0)
    assert "another architecture" in inferred(replace(case, model=other.freeze())).why
    assert case.population is not None
    few = Zoo(case.population.folder)
    few.records = case.population.records[:8]
    assert "10 of each are needed" in inferred(replace(case, population=few)).why

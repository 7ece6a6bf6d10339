"""Assessing a model: the right words, the same numbers again, within the budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from molehunt.assess import (
    ASSESSORS,
    Case,
    Condition,
    Measure,
    Outcome,
    Risk,
    RiskStatus,
    assess,
    code_of,
    new_case,
    parse_condition,
    pick_assessors,
    queries_of_minutes,
)
from molehunt.defences import AdversarialObjective, BitDepth, Defended
from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.images import TrainTest
from molehunt.networks import BlackBox, Classifier, Reveals, build_classifier
from molehunt.training import Recipe, train

VGG = {"width": 8, "stages": [1, 1]}


@pytest.fixture(scope="module")
def plain(digits: TrainTest) -> Classifier:
    model = build_classifier("vgg", digits.train, arguments=VGG, seed=0)
    train(model, digits.train, Recipe(epochs=4), seed=0)
    return model.freeze()


@pytest.fixture(scope="module")
def case(plain: Classifier, digits: TrainTest) -> Case:
    return new_case(plain, digits.test)


def only(case: Case, name: str, queries: int) -> Risk:
    (risk,) = assess(case, only=[name], queries=queries).risks
    return risk


def test_an_undefended_model_is_turned(case: Case) -> None:
    risk = only(case, "evasion-linf", 2500)
    success = risk.measures[0]
    assert risk.status is RiskStatus.MEASURED and success.value > 0.8 and success.n >= 10
    assert risk.sees is Reveals.WEIGHTS and "L∞ up to 25.5/255" in risk.may
    assert risk.price is not None and risk.price.queries <= 2500
    assert len(risk.exhibits) > 2


def test_hidden_gradients_are_inconclusive_not_robust(case: Case, plain: Classifier) -> None:
    # Steps of rounding have no gradient: the attack stands still, the search by squares does not.
    hidden = replace(case, model=Defended(plain, before=BitDepth(bits=4)).freeze())
    risk = only(hidden, "evasion-linf", 3000)
    assert risk.status is RiskStatus.INCONCLUSIVE
    assert "the gradient is zero" in risk.why and "At least" in risk.words


def test_adversarial_training_is_measured_and_better(case: Case, digits: TrainTest) -> None:
    model = build_classifier("vgg", digits.train, arguments=VGG, seed=0)
    objective = AdversarialObjective(epsilon=0.1, steps=3)
    train(model, digits.train, Recipe(epochs=6), seed=0, objective=objective)
    trained = replace(case, model=model.freeze())
    risk = only(trained, "evasion-linf", 3000)
    assert risk.status is RiskStatus.MEASURED
    assert risk.measures[0].value < 0.6


def test_random_weights_have_nothing_to_take(digits: TrainTest) -> None:
    model = build_classifier("vgg", digits.train, arguments=VGG, seed=1).freeze()
    case = new_case(model, digits.test)
    for name in ("evasion-linf", "evasion-labels", "evasion-mask", "certified"):
        risk = only(case, name, 2000)
        assert risk.status is RiskStatus.NOT_ASSESSED and "guessing" in risk.why


def test_the_same_numbers_again_and_an_interrupted_run_goes_on(case: Case, tmp_path: Path) -> None:
    names = ["evasion-mask", "evasion-linf", "certified"]

    def stop(risk: Risk) -> None:
        if risk.name == "evasion-mask":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assess(case, only=names, queries=12_000, keep=tmp_path, on_risk=stop)
    assert len([*tmp_path.rglob("*.safetensors")]) == 2
    steps: list[tuple[int, int]] = []
    found = assess(
        case,
        only=names,
        queries=12_000,
        keep=tmp_path,
        progress=lambda done, total: steps.append((done, total)),
    )
    again = assess(case, only=names, queries=12_000, keep=tmp_path)
    assert [risk.model_dump() for risk in again.risks] == [
        risk.model_dump() for risk in found.risks
    ]
    assert [len(risk.exhibits) for risk in again.risks] == [
        len(risk.exhibits) for risk in found.risks
    ]
    assert 0.9 * 12_000 <= found.spent <= 12_000 and steps[-1][1] == 12_000
    # Each number is repeated by the command line that it names.
    certified = found.risks[-1]
    options = certified.command.split()
    alone = only(case, options[1], int(options[3]))
    assert alone.measures == certified.measures


def test_a_linear_model_is_solved(digits: TrainTest) -> None:
    model = build_classifier("mlp", digits.train, arguments={"hidden": []}, seed=0)
    train(model, digits.train, Recipe(epochs=2), seed=0)
    risk = only(new_case(model.freeze(), digits.test), "stealing", 400)
    assert "solved as equations" in risk.words
    assert risk.measures[0].value == 1.0


def test_what_gives_no_gradients_is_asked(plain: Classifier, case: Case) -> None:
    box = BlackBox(lambda images: plain.network(torch.from_numpy(images)).numpy(), plain.card)
    asked = replace(case, model=box.freeze(), reveals=Reveals.CONFIDENCES)
    risk = only(asked, "evasion-linf", 2000)
    assert risk.sees is Reveals.CONFIDENCES and risk.measures[0].value > 0.1
    labels = replace(asked, reveals=Reveals.LABELS)
    assert only(labels, "evasion-linf", 2000).status is RiskStatus.NOT_ASSESSED
    assert "weights or confidences" in only(labels, "evasion-mask", 2000).why


def test_a_budget_that_is_too_small_is_said(case: Case) -> None:
    risk = only(case, "certified", 100)
    assert risk.status is RiskStatus.NOT_ASSESSED and "100 queries are too few" in risk.why


def test_minutes_become_queries(case: Case) -> None:
    picked = pick_assessors(["certified"])
    one, two = (queries_of_minutes(minutes, case, picked) for minutes in (0.05, 0.5))
    assert 100 < one < two


def risk_of(status: RiskStatus, value: float) -> Risk:
    measure = Measure(name="success", value=value, n=10)
    return Risk(name="evasion-linf", title="", status=status, measures=(measure,))


@pytest.mark.parametrize(
    ("status", "value", "outcome", "code"),
    [
        (RiskStatus.MEASURED, 0.6, Outcome.HOLDS, 1),
        (RiskStatus.MEASURED, 0.5, Outcome.DOES_NOT, 0),
        # What was turned is turned; what was not may be turned yet.
        (RiskStatus.INCONCLUSIVE, 0.6, Outcome.HOLDS, 1),
        (RiskStatus.INCONCLUSIVE, 0.4, Outcome.UNKNOWN, 3),
        (RiskStatus.MEASURED, float("nan"), Outcome.UNKNOWN, 3),
    ],
)
def test_conditions(status: RiskStatus, value: float, outcome: Outcome, code: int) -> None:
    condition = parse_condition("evasion-linf.success > 0.5")
    assert condition == Condition("evasion-linf", "success", True, 0.5)
    assert condition.judge([risk_of(status, value)]) is outcome
    assert code_of([outcome]) == code
    assert condition.judge([]) is Outcome.UNKNOWN
    below = parse_condition("evasion-linf.success<0.7")
    if status is RiskStatus.INCONCLUSIVE:
        assert below.judge([risk_of(status, value)]) is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stealing", "RISK.MEASURE>NUMBER"),
        ("stealing.agreement>high", "RISK.MEASURE>NUMBER"),
        ("stealing.agreement>1e", "RISK.MEASURE>NUMBER"),
        ("theft.agreement>0.1", "risk: expected of evasion-linf"),
        ("stealing.success>0.1", "measure of stealing: expected of agreement"),
    ],
)
def test_conditions_that_are_none(text: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said.replace(">", ".")):
        parse_condition(text)


@pytest.mark.parametrize("name", ASSESSORS)
def test_every_risk_says_what_it_is(name: str) -> None:
    assessor = ASSESSORS[name]
    assert assessor.title and assessor.measures and assessor.__doc__
    assert parse_condition(f"{name}.{assessor.measures[0]}>0").risk == name


def test_too_few_images(plain: Classifier, digits: TrainTest) -> None:
    few = digits.test.take(torch.arange(20))
    with pytest.raises(InvalidRequestError, match="40 or more, got 20"):
        new_case(plain, few)


def test_members_that_a_model_learnt_by_heart_are_told(digits: TrainTest) -> None:
    seen, others = digits.train.take(torch.arange(150)), digits.test
    model = build_classifier("mlp", seen, arguments={"hidden": [32]}, seed=0)
    # Labels of its own, so that it can do nothing but learn them by heart.
    drawn = torch.randint(10, (150,), generator=torch.Generator().manual_seed(0))
    learnt = replace(seen, labels=torch.where(torch.arange(150) < 60, drawn, seen.labels))
    train(model, learnt, Recipe(epochs=60, batch_size=32), seed=0)
    risk = only(new_case(model.freeze(), others, members=learnt), "membership", 400)
    tpr, auc = risk.measures
    assert risk.status is RiskStatus.MEASURED
    assert auc.value > 0.6 and tpr.n == 150 and risk.exhibits
    honest = new_case(model, others, members=others)
    assert only(honest, "membership", 400).status is RiskStatus.INCONCLUSIVE


def test_shadow_models_find_members_too_and_the_worst_attack_counts(
    digits: TrainTest, tmp_path: Path
) -> None:
    seen, others = digits.train.take(torch.arange(110)), digits.test
    recipe = Recipe(epochs=20, batch_size=32)
    how = recipe.model_dump()
    model = build_classifier("mlp", seen, arguments={"hidden": [16]}, recipe=how, seed=0)
    train(model, seen, recipe, seed=0)
    case = new_case(model.freeze(), others, members=seen, shadows=4)
    found = assess(case, only=["membership"], queries=700, keep=tmp_path).risks[0]
    alone = only(replace(case, shadows=0), "membership", 500)
    assert found.measures[0].value >= alone.measures[0].value
    assert all(name in found.words for name in ("lira ", "lira-offline", "loss-threshold"))
    assert found.price is not None and alone.price is not None
    assert found.price.queries == 3 * alone.price.queries == 660
    assert "its architecture and recipe" in found.price.knowledge
    assert len([*tmp_path.glob("shadows-*/shadow-*.safetensors")]) == 4
    labels = only(replace(case, reveals=Reveals.LABELS), "membership", 5000)
    assert "label-robustness" in labels.words and "lira" not in labels.words


@pytest.mark.parametrize(("shadows", "members"), [(3, True), (2, True), (4, False)])
def test_shadow_models_that_cannot_be(
    case: Case, digits: TrainTest, shadows: int, members: bool
) -> None:
    with pytest.raises(InvalidRequestError, match="an even number from 4 with `members`"):
        new_case(
            case.model, digits.test, members=digits.train if members else None, shadows=shadows
        )


@pytest.mark.parametrize(
    ("name", "queries"), [("corner-cases", 1000), ("boundary", 700), ("membership", 1)]
)
def test_what_needs_labels_alone(case: Case, name: str, queries: int) -> None:
    risk = only(replace(case, reveals=Reveals.LABELS), name, queries)
    if name == "membership":
        assert risk.why.startswith("no --members given")
        return
    assert risk.status is RiskStatus.MEASURED and risk.sees is Reveals.LABELS
    assert risk.price is not None and 0.8 * queries < risk.price.queries <= queries
    assert len(risk.exhibits) > 3


def test_what_is_not_looked_at_says_why(case: Case) -> None:
    found = assess(case, only=["property", "poisoning"], queries=10)
    assert [risk.status for risk in found.risks] == [RiskStatus.NOT_ASSESSED] * 2
    assert "--members" in found.risks[1].why and found.spent == 0


def test_classes_are_drawn_and_another_network_names_them(case: Case) -> None:
    risk = only(case, "inversion", 1300)
    assert risk.status is RiskStatus.MEASURED and risk.measures[0].n == 10
    assert risk.price is not None and 600 <= risk.price.queries <= 1300
    assert len(risk.exhibits) == 8
    labels = replace(case, reveals=Reveals.LABELS)
    assert "weights or confidences" in only(labels, "inversion", 1300).why


def test_an_attack_that_breaks_down_costs_no_other_risk(case: Case, tmp_path: Path) -> None:
    asked = 0

    def answer(images: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += len(images)
        if asked > 1500:
            raise UnreadableFileError("the endpoint does not answer")
        with torch.no_grad():
            return case.model.network(torch.from_numpy(images)).numpy()

    box = BlackBox(answer, case.model.card).freeze()
    broken = replace(case, model=box, reveals=Reveals.CONFIDENCES)
    names = ["boundary", "corner-cases"]
    first, second = assess(broken, only=names, queries=2400, keep=tmp_path).risks
    assert first.status is RiskStatus.MEASURED
    assert second.why == "the endpoint does not answer"
    assert len([*tmp_path.rglob("*.safetensors")]) == 1

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from molehunt.attacks import (
    Choice,
    EquationSolving,
    PathFinding,
    QueryAndTrain,
    total_variation,
    uniform_images,
)
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import load_images
from molehunt.networks import (
    BlackBox,
    BudgetSpentError,
    Classifier,
    Queried,
    Reveals,
    build_classifier,
    load_model,
    save_model,
    wrap_estimator,
)
from molehunt.training import Recipe, train

DIGITS = load_images("digits")
ROWS, LABELS = DIGITS.train.pixels().flatten(1).numpy(), DIGITS.train.labels.numpy()
UNIFORM = uniform_images(DIGITS.train.shape, 1000, seed=1)
HALF = DIGITS.train.images[:700]  # what the thief has; the victim trained on the rest


@pytest.fixture(scope="module")
def softmax() -> BlackBox:
    return wrap_estimator(LogisticRegression(max_iter=1000).fit(ROWS, LABELS), (1, 8, 8))


@pytest.fixture(scope="module")
def victim() -> Classifier:
    rest = DIGITS.train.take(torch.arange(700, len(DIGITS.train)))
    model = build_classifier("mlp", rest, arguments={"hidden": [32]}, seed=0)
    train(model, rest, Recipe(epochs=15, batch_size=64), seed=0)
    return model


def test_softmax_regression_costs_a_question_a_pixel_and_one(softmax: BlackBox) -> None:
    target = Queried(softmax, budget=65)
    stolen = EquationSolving().steal(target)
    assert stolen.queries == 65 and not stolen.note
    assert stolen.agreement(target, DIGITS.test.images)[0] == 1
    assert stolen.agreement(target, UNIFORM)[0] > 0.997
    assert total_variation(stolen.model, softmax, UNIFORM) < 1e-4


def test_rounded_answers_are_fitted(softmax: BlackBox) -> None:
    agreed = {}
    for decimals in (2, 4):
        target = Queried(softmax, reveals=Reveals.ROUNDED, decimals=decimals)
        stolen = EquationSolving(queries=300).steal(target)
        agreed[decimals] = stolen.agreement(target, DIGITS.test.images)[0]
    assert agreed[4] > 0.97 and agreed[2] > 0.85, agreed


def test_two_classes_and_a_row_of_features(tmp_path: Path) -> None:
    rows, labels = load_breast_cancer(return_X_y=True)
    rows = (rows - rows.min(0)) / (rows.max(0) - rows.min(0))
    model = wrap_estimator(LogisticRegression().fit(rows, labels), (1, 1, 30))
    target = Queried(model)
    stolen = EquationSolving().steal(target)
    assert stolen.queries == 31
    images = (torch.from_numpy(rows).float().view(-1, 1, 1, 30) * 255).round().to(torch.uint8)
    assert stolen.agreement(target, images)[0] == 1
    save_model(stolen.model, tmp_path / "copy.safetensors")
    again = load_model(tmp_path / "copy.safetensors", "cpu")
    assert torch.equal(again(images / 255), stolen.model(images / 255))


def test_labels_alone_are_no_equations(softmax: BlackBox) -> None:
    with pytest.raises(UnsuitableSubjectError, match="labels only, not confidences"):
        EquationSolving().steal(Queried(softmax, reveals=Reveals.LABELS))
    with pytest.raises(InvalidRequestError, match="queries: expected 65 or more, got 64"):
        EquationSolving(queries=64).steal(Queried(softmax))
    poor = Queried(softmax, budget=64)
    with pytest.raises(BudgetSpentError):
        EquationSolving().steal(poor)
    assert poor.queries == 0


@pytest.mark.parametrize("leaves", [2, 40])
def test_every_leaf_of_a_tree_is_found(leaves: int, tmp_path: Path) -> None:
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=7, random_state=0)
    target = Queried(wrap_estimator(tree.fit(ROWS, LABELS), (1, 8, 8)))
    stolen = PathFinding().steal(target)
    assert stolen.model.card.arguments == {"leaves": tree.get_n_leaves()}
    assert stolen.agreement(target, DIGITS.test.images)[0] == 1
    assert stolen.agreement(target, UNIFORM)[0] == 1
    save_model(stolen.model, tmp_path / "copy.safetensors")
    again = load_model(tmp_path / "copy.safetensors", "cpu")
    pixels = DIGITS.test.pixels()
    assert torch.equal(again(pixels), stolen.model(pixels))


def test_leaves_that_answer_alike_are_told_apart_by_where_they_are() -> None:
    tree = DecisionTreeClassifier(max_leaf_nodes=60, random_state=0).fit(ROWS, LABELS)
    leaves = tree.tree_.children_left < 0
    answers = {tuple(row) for row in tree.tree_.value[leaves][:, 0].round(6).tolist()}
    assert len(answers) < leaves.sum() == 60
    target = Queried(wrap_estimator(tree, (1, 8, 8)))
    stolen = PathFinding().steal(target)
    assert stolen.agreement(target, DIGITS.test.images)[0] > 0.95
    assert stolen.agreement(target, UNIFORM)[0] > 0.95


def test_a_tree_that_costs_too_much_is_kept_in_part() -> None:
    tree = DecisionTreeClassifier(max_leaf_nodes=40, min_samples_leaf=7, random_state=0)
    model = wrap_estimator(tree.fit(ROWS, LABELS), (1, 8, 8))
    stolen = PathFinding().steal(Queried(model, budget=3000))
    assert "3000 queries is spent" in stolen.note and "not complete" in stolen.note
    assert 1 <= stolen.model.card.arguments["leaves"] < 40
    few = PathFinding(most_leaves=3).steal(Queried(model))
    assert few.model.card.arguments == {"leaves": 3} and "3 leaves" in few.note
    with pytest.raises(BudgetSpentError):
        PathFinding().steal(Queried(model, budget=10))
    with pytest.raises(InvalidRequestError, match="levels"):
        PathFinding(levels=1)
    with pytest.raises(InvalidRequestError, match="checks"):
        PathFinding(checks=-1)


def copied(victim: Classifier, reveals: Reveals = Reveals.CONFIDENCES, **settings: object) -> float:
    target = Queried(victim, reveals=reveals)
    theft = QueryAndTrain(300, "mlp", {"hidden": [32]}, **settings)  # type: ignore[arg-type]
    stolen = theft.steal(target)
    assert stolen.queries == 300
    return stolen.agreement(target, DIGITS.test.images)[0]


def test_a_copy_learns_from_answers_more_from_confidences_than_from_noise(
    victim: Classifier,
) -> None:
    confidences = copied(victim, pool=HALF)
    labels = copied(victim, Reveals.LABELS, pool=HALF)
    noise = copied(victim)
    assert confidences > 0.9 and labels > 0.85 and noise < labels, (confidences, labels, noise)


@pytest.mark.parametrize("choice", [Choice.UNCERTAIN, Choice.LINE_SEARCH])
def test_a_thief_who_chooses_learns_too(victim: Classifier, choice: Choice) -> None:
    assert copied(victim, pool=HALF, choice=choice, rounds=3) > 0.85


def test_a_budget_that_runs_out_keeps_the_copy_so_far(victim: Classifier) -> None:
    target = Queried(victim, budget=200)
    theft = QueryAndTrain(
        300, "mlp", {"hidden": [32]}, pool=HALF, choice=Choice.UNCERTAIN, rounds=3
    )
    stolen = theft.steal(target)
    assert stolen.queries == 200 and "the copy is of 200 answers" in stolen.note
    assert stolen.agreement(target, DIGITS.test.images)[0] > 0.8


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"queries": 0}, "queries: expected 1 or more"),
        ({"rounds": 0}, "rounds"),
        ({"choice": Choice.UNCERTAIN}, "pool: expected images to choose of, got none"),
        ({"pool": HALF[:20]}, "pool: expected 300 or more uint8 images"),
        ({"pool": HALF.float()}, "pool: expected 300 or more uint8 images"),
        ({"pool": HALF[:, :, 1:]}, "pool: expected 300 or more uint8 images"),
    ],
)
def test_thefts_that_cannot_be_are_one_line(
    victim: Classifier, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        QueryAndTrain(**{"queries": 300, "network": "mlp", **settings}).steal(Queried(victim))  # type: ignore[arg-type]


def test_a_kernel_machine_is_copied_by_representers_of_the_thiefs_own() -> None:
    kernel = make_pipeline(
        Nystroem(gamma=0.05, n_components=20, random_state=0),
        LogisticRegression(C=100, max_iter=2000),
    )
    machine = Queried(wrap_estimator(kernel.fit(ROWS, LABELS), (1, 8, 8)))
    recipe = Recipe(epochs=20, batch_size=64, lr=0.05, weight_decay=0, precision="float32")
    theft = QueryAndTrain(
        1300, "rbf", {"representers": 20}, pool=DIGITS.train.images, recipe=recipe
    )
    stolen = theft.steal(machine)
    assert stolen.queries == 1300
    assert stolen.agreement(machine, DIGITS.test.images)[0] > 0.9

from __future__ import annotations

import json

import pytest
import torch

from molehunt.attacks import Norm, evade
from molehunt.images import load_images
from molehunt.networks import Queried, Reveals
from molehunt.study import StudyResult, run
from molehunt_studies.evasion_toy import EVASION_TOY
from molehunt_studies.evasion_toy.attacked import LearnerRecord
from molehunt_studies.evasion_toy.learners import LEARNERS, fit_learner
from molehunt_studies.evasion_toy.library import Pointwise, Thrifty
from molehunt_studies.evasion_toy.results import results_of

DIGITS = load_images("digits")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("toy")
    return run(EVASION_TOY, folder, scale="smoke", workers=1, docs=folder / "docs")


def test_every_attack_has_its_figures(study: StudyResult) -> None:
    figures = json.loads((study.report.parent / "results.json").read_text())
    for learner in figures["learners"]["digits"].values():
        attacks = learner["attacks"]
        for name in ("sparse, labels", "sparse, scores", "dense, labels", "dense, scores"):
            found = attacks[name]
            assert found["attacked"] == 15
            assert found["changed"] >= 13
            assert len(found["sizes"]) == found["changed"]
        assert attacks["sparse, labels"]["median"]["l0"] <= 5
        assert attacks["random pixels"]["changed"] < attacks["sparse, labels"]["changed"]
    assert "FGSM, 0.1" in figures["learners"]["digits"]["logistic regression"]["attacks"]
    assert "FGSM, 0.1" not in figures["learners"]["digits"]["tree"]["attacks"]


def test_the_page_has_its_tables_and_pictures(study: StudyResult) -> None:
    docs = study.report.parent / "docs"
    assert {path.name for path in docs.glob("*.png")} == {
        "pixels-digits.png",
        "epsilon-digits.png",
        "pictures-digits.png",
    }
    lines = (docs / "README.md").read_text().splitlines()
    assert sum(line.startswith("| ---") for line in lines) == 3


def test_a_second_run_attacks_nothing_again(study: StudyResult) -> None:
    again = run(EVASION_TOY, study.report.parent, scale="smoke", workers=1)
    assert again.made == 0 < study.made
    assert again.figures["learners"] == study.figures["learners"]


def test_the_full_plan_is_the_tasks() -> None:
    plan = EVASION_TOY.scales["full"]
    assert plan.images == ("digits", "mnist") and plan.attacked >= 200
    assert len(plan.learners) == len(LEARNERS) == 10


@pytest.mark.parametrize("name", ["logistic regression", "linear SVM", "MLP"])
def test_the_network_of_an_estimator_says_what_it_says(name: str) -> None:
    model, network = fit_learner(name, DIGITS.train.take(torch.arange(300)), seed=0)
    pixels = DIGITS.test.pixels()
    assert network is not None
    assert torch.equal(model(pixels).argmax(1), network(pixels).argmax(1))


def test_an_unchanged_image_is_not_asked_about_again() -> None:
    model, _ = fit_learner("tree", DIGITS.train.take(torch.arange(300)), seed=0)
    target = Thrifty(model, reveals=Reveals.LABELS)
    images = DIGITS.test.pixels()[:6].clone()
    first = target.predict(images)
    images[2] = 1 - images[2]
    second = target.predict(images)
    assert target.queries == 7
    assert torch.equal(second, Queried(model, reveals=Reveals.LABELS).predict(images))
    assert torch.equal(first[3:], second[3:])


def test_the_library_of_few_pixels_leaves_none_that_could_go_back() -> None:
    model, _ = fit_learner("tree", DIGITS.train.take(torch.arange(300)), seed=0)
    clean = DIGITS.test.take(torch.arange(20))
    target = Thrifty(model, reveals=Reveals.LABELS)
    result = evade(target, clean, Pointwise(DIGITS.train.pixels()[:50]))
    assert result.success_rate[0] == 1
    assert float(result.sizes(Norm.L0).median()) <= 3


def test_a_win_needs_the_success_of_the_other() -> None:
    record = {
        "id": "x",
        "images": "digits",
        "learner": "tree",
        "accuracy": 0.9,
        "seconds": 1.0,
    }

    def found(changed: int, pixels: float, queries: float) -> dict[str, object]:
        sizes = {norm.value: [pixels] * changed for norm in Norm}
        return {
            "attacked": 100,
            "changed": changed,
            "sizes": sizes,
            "queries": queries,
            "seconds": 1.0,
        }

    attacks = {
        "sparse, labels": found(90, 3, 50),
        "sparse, scores": found(90, 3, 50),
        "dense, labels": found(99, 0.1, 500),
        "dense, scores": found(99, 0.1, 500),
        "HopSkipJump, L2": found(100, 60, 400),
        "HopSkipJump, L∞": found(100, 0.2, 400),
        "pointwise": found(91, 4, 40),
    }
    results = results_of([LearnerRecord(**record, attacks=attacks)], [0.1])
    won = results["wins"]["digits"]
    # 90 of 100 is more than 2 points under 100 of 100.
    assert won["fewer pixels than HopSkipJump"] == 0
    assert won["fewer pixels than pointwise"] == 1
    assert won["fewer queries than pointwise"] == 0
    assert won["smaller L∞ than HopSkipJump"] == 1
    assert won["dense, fewer queries than HopSkipJump"] == 0

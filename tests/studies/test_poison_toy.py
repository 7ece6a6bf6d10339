from __future__ import annotations

import math

import numpy as np
import pytest

from molehunt.attacks import predict_dose
from molehunt.study import StudyResult, run
from molehunt_studies.poison_toy import POISON_TOY
from molehunt_studies.poison_toy.growths import ToyBench
from molehunt_studies.poison_toy.plan import LEARNERS, TRIGGERS

PLAN = POISON_TOY.scales["smoke"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("toy")
    return run(POISON_TOY, folder, scale="smoke", workers=1, docs=folder / "docs")


def test_the_full_plan_has_every_learner_on_both_sources() -> None:
    plan = POISON_TOY.scales["full"]
    tasks = plan.tasks()
    assert len({task.id for task in tasks}) == len(tasks)
    cells = {(task.source, task.trigger, task.learner) for task in tasks}
    for source in ("digits", "mnist"):
        for trigger in TRIGGERS:
            assert {(source, trigger, learner) for learner in LEARNERS} <= cells


def test_growths_end_when_the_backdoor_fires(study: StudyResult) -> None:
    assert {cell["learner"] for cell in study.figures["cells"]} == set(LEARNERS)
    for cell in study.figures["cells"]:
        assert cell["success"][0] < 0.1 and cell["success"][-1] >= 0.9
        assert all(
            1 <= half <= most <= PLAN.most
            for half, most in zip(cell["at_50"]["measured"], cell["at_90"]["measured"], strict=True)
        )
        assert cell["control"] < 0.2 and cell["clean_accuracy_after"] > 0.95
        if cell["learner"] in ("linear SVM", "logistic regression"):
            assert cell["largest_pull"] <= 1
    assert study.figures["law"]["linear SVM"]["growths"] == PLAN.seeds


def test_weights_are_kept_for_each_dose(study: StudyResult) -> None:
    bench = ToyBench(PLAN, study.report.parent)
    task = next(task for task in PLAN.tasks() if task.learner == "linear SVM")
    weights = np.load(bench.weights_of(task))
    assert weights.shape[1:] == (8, 8)
    # The pattern's pixel that no digit touches speaks more and more for the target.
    assert weights[-1, 0, 2] < weights[0, 0, 2]
    page = (study.report.parent / "docs" / "README.md").read_text()
    tables = sum(line.startswith("| ---") for line in page.splitlines())
    assert tables == 2 and "weights.png" in page


def test_the_law_in_the_page_is_the_one_in_the_library() -> None:
    scores, strength, C = np.full(5, 3.0), 2.0, 0.5
    for loss, factor in (("hinge", 1), ("squared", 1), ("logistic", 2)):
        dose = predict_dose(scores, strength=strength, loss=loss, C=C)
        assert dose == pytest.approx(factor * 3 / (C * strength))
    assert math.isfinite(dose)

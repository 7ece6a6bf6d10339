from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import SVC

from molehunt.study import StudyResult, run
from molehunt_studies.svm_poisoning import SVM_POISONING
from molehunt_studies.svm_poisoning.draws import DEFENCES, SvmBench
from molehunt_studies.svm_poisoning.plan import FIRST_DRAW
from molehunt_studies.svm_poisoning.results import summary

PLAN = SVM_POISONING.scales["smoke"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("svm")
    return run(SVM_POISONING, folder, scale="smoke", workers=1, docs=folder / "docs")


def test_the_full_plan_is_the_papers_protocol() -> None:
    plan = SVM_POISONING.scales["full"]
    assert (plan.source, plan.train, plan.validation, plan.C) == ("mnist", 100, 500, 1.0)
    assert plan.pairs == ((7, 1), (9, 8), (4, 0)) and plan.draws["linear"] >= 10
    assert plan.points / (plan.train + plan.points) >= 0.08
    tasks = [*plan.tasks("linear"), *plan.tasks("rbf")]
    assert len({task.id for task in tasks}) == len(tasks)
    # Settings were chosen on other draws.
    assert min(task.seed for task in tasks) == FIRST_DRAW > 100


def test_draws_are_disjoint_and_start_from_the_attacked_class() -> None:
    bench = SvmBench(PLAN, Path())
    task = PLAN.tasks("linear")[0]
    draw = bench.draw(task)
    parts = [{row.tobytes() for row in part} for part in (draw.train, draw.validation)]
    assert not parts[0] & parts[1] and len(draw.train) == PLAN.train
    attacked = {row.tobytes() for row in draw.train[draw.labels == -1]}
    assert {row.tobytes() for row in draw.starts} <= attacked
    assert np.array_equal(bench.draw(task).train, draw.train)


def test_errors_are_those_of_the_saved_images(study: StudyResult) -> None:
    bench = SvmBench(PLAN, study.report.parent)
    task = PLAN.tasks("linear")[0]
    saved = np.load(bench.points_of(task))
    assert saved.dtype == np.uint8 and saved.shape[:2] == (2, PLAN.points)
    draw, (test, truth) = bench.draw(task), bench.test(task.pair)
    machine = SVC(kernel="linear", C=PLAN.C)
    machine.fit(np.vstack([draw.train, saved[1] / 255]), np.append(draw.labels, [1] * PLAN.points))
    error = float((machine.predict(test) != truth).mean())
    lines = (study.report.parent / "draws.jsonl").read_text().splitlines()
    record = next(line for line in map(json.loads, lines) if line["id"] == task.id)
    assert record["errors"]["attack"][PLAN.points] == pytest.approx(error)


def test_every_series_and_defence_has_its_figures(study: StudyResult) -> None:
    linear = study.figures["kernels"]["linear"]["9 v 8"]
    for series in linear["errors"].values():
        assert len(series) == PLAN.points + 1
        assert series[0]["mean"] == linear["errors"]["attack"][0]["mean"]
    assert linear["losses"] == sorted(linear["losses"])
    assert set(linear["defended"]) == set(DEFENCES)
    assert linear["defended"]["trimmed loss"]["0"]["poison_touched"] == 0
    rbf = study.figures["kernels"]["rbf"]["9 v 8"]
    assert rbf["gamma"] > 0 and not rbf["defended"]
    page = (study.report.parent / "docs" / "README.md").read_text()
    tables = sum(line.startswith("| ---") for line in page.splitlines())
    assert tables == 8 and "points.png" in page


def test_a_second_run_poisons_nothing_again(study: StudyResult) -> None:
    again = run(SVM_POISONING, study.report.parent, scale="smoke", workers=1)
    assert again.made == 0 and again.figures["kernels"] == study.figures["kernels"]


def test_a_summary_by_hand() -> None:
    found = summary([8.0, 10.0, 12.0, 14.0])
    assert (found["mean"], found["std"], found["least"], found["worst"]) == (11, 2.58, 8, 14)
    # t of 3 degrees of freedom: 3.182.
    assert found["high"] - found["mean"] == pytest.approx(3.182 * 2.582 / 2, abs=0.01)

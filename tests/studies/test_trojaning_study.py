"""The study of trojans at its smallest scale."""

from __future__ import annotations

import json
from pathlib import Path

from molehunt.study import run
from molehunt_studies.trojaning import TROJANING


def test_the_study_trojans_counts_mistakes_and_reports(tmp_path: Path) -> None:
    done = run(TROJANING, tmp_path / "run", scale="trial", workers=1, docs=tmp_path / "docs")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    variants = results["sets"]["digits"]["variants"]
    assert variants["trojan"]["success"] > variants["trojan"]["success_before"] + 0.3
    alone = variants["output neuron, trigger alone"]
    assert alone["accuracy"] == results["sets"]["digits"]["accuracy"]
    population = results["population"]
    assert population["histogram"]["450"]["clean"]["models"] == 2
    assert sum(population["verdicts"]["trojan"].values()) == 2
    page = (tmp_path / "docs" / "README.md").read_text()
    assert "Does one class take most mistakes?" in page
    again = run(TROJANING, tmp_path / "run", scale="trial", workers=1)
    assert again.made == 0 and again.figures["sets"] == done.figures["sets"]


def test_the_full_plan_has_the_models_that_its_rates_need() -> None:
    for scale in ("quick", "full"):
        plan = TROJANING.scales[scale]
        assert plan.population.models["test"].pairs >= 30
        assert {"trojan", "random neurons"} <= {*plan.variants["mnist"]}

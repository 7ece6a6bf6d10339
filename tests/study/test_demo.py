from __future__ import annotations

import json
from pathlib import Path

from molehunt.cli._terminal import progress_of
from molehunt.findings import Verdict
from molehunt.study import DEMO_PLAN, run_demo
from molehunt.zoo import Split
from tests.conftest import tiny_plan


def test_the_demo_writes_what_it_says(tmp_path: Path) -> None:
    result = run_demo(tmp_path / "demo", workers=1, progress_of=progress_of, plan=tiny_plan())
    figures = json.loads((tmp_path / "demo" / "results.json").read_text())
    assert figures["zoo"]["models"] == tiny_plan().total
    for key in ("clean_accuracy", "attack_success"):
        assert 0.5 < figures["zoo"][key] <= 1
    for place in (
        figures["litmus"],
        figures["noise"],
        figures["statistics"],
        figures["controls"]["shuffled"],
        figures["controls"]["placebo"],
    ):
        low, high = place["interval"]
        assert 0 <= low <= place["auc"] <= high <= 1
    assert figures["seconds"] > 0
    page = result.report.read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert f"{figures['litmus']['auc']:.3f}" in page
    assert len(result.scans) == 2
    assert Verdict.FAILED not in {scan.verdict for scan in result.scans}
    of_scores = result.evaluations["litmus"].verdicts.model_dump(mode="json")
    assert figures["verdicts"] == {**of_scores, "placebo": figures["verdicts"]["placebo"]}
    counts = tiny_plan().models[Split.TEST]
    assert figures["verdicts"]["backdoored"]["of"] == counts.pairs
    assert figures["verdicts"]["placebo"]["of"] == counts.placebo


def test_the_plan_of_the_demo_is_large_enough_and_honest() -> None:
    assert DEMO_PLAN.total >= 200
    assert DEMO_PLAN.images.source == "digits"  # nothing to download
    assert DEMO_PLAN.models[Split.TEST].placebo > 0

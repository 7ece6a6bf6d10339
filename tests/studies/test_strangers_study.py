"""The study of strangers' models at the smallest scale, and how verdicts are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.errors import DataNotFoundError, InvalidRequestError
from molehunt.findings import Verdict
from molehunt.study import plan_for, run
from molehunt_studies.strangers import STRANGERS
from molehunt_studies.strangers.results import parts_of, scans_of, verdicts_of
from molehunt_studies.strangers.scans import ScanRecord


def record(number: int, verdict: Verdict, kind: str | None, success: float | None) -> ScanRecord:
    return ScanRecord(
        id=str(number),
        part="held_out",
        path=Path("m.safetensors"),
        images="mnist",
        network="resnet",
        kind=kind,
        success=success,
        verdict=verdict,
        p_value=None,
        because="twins: cannot say; more",
        target=None,
        seconds=1.0,
    )


def test_verdicts_are_counted_as_a_user_meets_them() -> None:
    kinds = ("all-to-one", "source-target")
    found = verdicts_of(
        [
            record(0, Verdict.BACKDOORED, kinds[0], 1.0),
            record(1, Verdict.CLEAN, kinds[0], 0.9),
            record(2, Verdict.INCONCLUSIVE, kinds[1], 0.8),
            record(3, Verdict.BACKDOORED, kinds[1], 0.5),  # it did not take
            record(4, Verdict.BACKDOORED, None, None),
            record(5, Verdict.CLEAN, None, None),
            record(6, Verdict.FAILED, None, None),
        ]
    )
    assert found["detected"] == found["passed_as_clean"] == (1, 3)
    assert found["false_alarms"] == found["cleared"] == (1, 3)
    assert found["abstained"] == (2, 6) and found["did_not_take"] == 1
    assert found["by_kind"] == {kinds[0]: (1, 2), kinds[1]: (0, 1)}
    assert found["why_abstained"] == {"twins: cannot say": 2}


def test_the_full_plan_leaves_room_for_its_rates() -> None:
    plan = STRANGERS.scales["full"]
    pairs = sum(zoo.total // 2 for zoo in plan.zoos().values())
    assert pairs >= 40 and len(plan.zoos()) == len(plan.populations())
    assert len({zoo.seed for zoo in plan.zoos().values()}) == len(plan.zoos())


def test_a_run_of_some_populations_keeps_their_seeds() -> None:
    name = "gtsrb-zf-source-target"
    some = plan_for(STRANGERS, "full", [f'only=["{name}"]'])
    every = STRANGERS.scales["full"].zoos()
    assert some.zoos() == {name: every[name]} and len(some.cells()) == len(every)
    with pytest.raises(InvalidRequestError, match="only: expected mnist-resnet"):
        plan_for(STRANGERS, "full", ['only=["gtsrb"]']).zoos()


def test_reasons_that_differ_in_numbers_are_one() -> None:
    far = [
        record(at, Verdict.INCONCLUSIVE, None, None).model_copy(
            update={"because": f"twins: cannot say: its twins are 0.{at} less accurate"}
        )
        for at in (3, 4)
    ]
    found = verdicts_of(far)["why_abstained"]
    assert found == {"twins: cannot say: its twins are … less accurate": 2}


def test_the_study_scans_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLEHUNT_CACHE", str(tmp_path / "cache"))
    done = run(STRANGERS, tmp_path / "run", scale="smoke", workers=1, docs=tmp_path / "docs")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    held = results["held_out"]
    # With two twins no p-value is as small as 0.05: such a scan detects nothing.
    assert held["detected"][0] == held["false_alarms"][0] == 0
    assert held["abstained"][1] + held["did_not_take"] == 2
    assert "| kind of backdoor | detected |" in (tmp_path / "docs" / "README.md").read_text()
    again = run(STRANGERS, tmp_path / "run", scale="smoke", workers=1)
    assert again.made == 0 and again.figures["held_out"] == done.figures["held_out"]


def test_a_page_of_strangers_files_alone_says_so() -> None:
    records = [
        record(0, Verdict.BACKDOORED, "all-to-one", 1.0).model_copy(update={"part": "development"})
    ]
    results = {
        **parts_of(records),
        "scans": scans_of(records),
        "zoos": {},
        "twins": 19,
        "clean_images": 1000,
        "command": "molehunt study strangers --scale files",
        "populations": 0,
        "runs": [{"models": 1, "hardware": "2 cores", "note": "a try"}],
    }
    page = STRANGERS.report.as_markdown(results)
    assert "1 models trained or scanned on 2 cores that did other work as well (a try)" in page
    assert "no self-made models" in page and "| 0 | all-to-one | backdoored |" in page


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    settings = [f"foreign={tmp_path}", "images=[]"]
    assert plan_for(STRANGERS, "smoke", settings).zoos() == {}
    with pytest.raises(DataNotFoundError, match=r"index\.json"):
        run(STRANGERS, tmp_path / "run", scale="smoke", settings=settings, workers=1)

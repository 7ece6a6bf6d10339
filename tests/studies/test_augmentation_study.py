from __future__ import annotations

import json

import numpy as np
import pytest

from molehunt.study import StudyResult, run
from molehunt_studies.augmentation import AUGMENTATION_DIGITS
from molehunt_studies.augmentation.fits import ChoiceRecord, choose
from molehunt_studies.augmentation.results import _compare, _gain


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("augmentation")
    return run(AUGMENTATION_DIGITS, folder, scale="trial", workers=1, docs=folder / "docs")


def test_every_kind_is_compared_at_every_size_on_both_networks(study: StudyResult) -> None:
    found = study.figures
    assert [zoo["network"] for zoo in found["zoos"].values()] == ["vgg", "resnet"]
    for zoo in ("own", "other"):
        curves = found["curves"][zoo]
        assert [*curves] == ["none", "mask"]
        for cells in curves.values():
            assert [*cells] == ["4", "6"]
            for cell in cells.values():
                assert len(cell["seeds"]) == 2
                assert cell["auc"] == pytest.approx(np.mean(cell["seeds"]))
        for size, cell in curves["mask"].items():
            told = cell["auc"] - curves["none"][size]["auc"]
            assert cell["gain"]["mean"] == pytest.approx(told)
        assert all(cell["gain"]["mean"] == 0 for cell in curves["none"].values())
    # 4 and 6: no size is twice another.
    assert found["gains"]["own"]["mask"]["half"]["mean"] is None


def test_fits_of_a_seed_share_models_and_larger_ones_have_those_of_smaller(
    study: StudyResult,
) -> None:
    lines = (study.report.parent / "fits.jsonl").read_text().splitlines()
    fits = {each["id"]: each for each in map(json.loads, lines)}
    assert len(fits) == 8
    assert fits["none-4-0"]["scores"] != fits["mask-4-0"]["scores"]
    assert fits["none-4-0"]["scores"] != fits["none-4-1"]["scores"]
    for each in fits.values():
        assert {zoo: len(own["clean"]) for zoo, own in each["scores"].items()} == {
            "own": 3,
            "other": 2,
        }


def test_settings_are_chosen_by_the_calibration_models() -> None:
    def record(mask: float, seed: int, backdoored: list[float]) -> ChoiceRecord:
        return ChoiceRecord(
            id=f"{mask}-{seed}",
            kind="mask",
            settings={"augment": {"mask": mask}},
            models=4,
            seed=seed,
            calibration={"clean": [0.0, 1.0], "backdoored": backdoored},
            seconds=0.0,
        )

    records = [record(0.05, 0, [2, 2]), record(0.05, 1, [-1, -1])]
    records += [record(0.1, 0, [0.5, 2]), record(0.1, 1, [0.5, 2])]
    assert choose(records) == {"mask": {"augment": {"mask": 0.1}}}


def test_a_gain_is_paired_and_its_interval_says_what_is_unsure() -> None:
    rng = np.random.default_rng(0)
    clean, backdoored = rng.normal(size=40), rng.normal(size=40) + 0.5
    plain = _compare({"clean": clean.tolist(), "backdoored": backdoored.tolist()})
    better = _compare({"clean": clean.tolist(), "backdoored": (backdoored + 1).tolist()})
    gain = _gain([np.stack([better - plain] * 3)])
    low, high = gain["interval"]
    assert 0 < low < gain["mean"] < high < 0.5
    nothing = _gain([np.stack([plain - plain] * 3)])
    assert nothing == {"mean": 0.0, "interval": [0.0, 0.0]}
    assert _compare({"clean": [1.0], "backdoored": [1.0]}).item() == 0.5


def test_the_page_has_its_tables_and_a_second_run_makes_nothing(study: StudyResult) -> None:
    docs = study.report.parent / "docs"
    assert (docs / "README.md").read_text().count("| --- |") == 5
    assert (docs / "curves-digits.png").stat().st_size > 1000
    assert run(AUGMENTATION_DIGITS, study.report.parent, scale="trial", workers=1).made == 0

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from molehunt.cli import run
from molehunt.errors import InvalidRequestError
from molehunt.images import ImageSet
from molehunt.networks import build_classifier, save_model
from molehunt.scenes import SceneSet, load_sign_detector
from molehunt.study import StudyResult
from molehunt.study import run as run_study
from molehunt_studies.signs import BADNETS_SIGNS, BADNETS_TRANSFER
from molehunt_studies.signs.report import REPORT
from molehunt_studies.signs.sign_detector_records import (
    Measured,
    SignDetectorRecord,
    SignDetectorTransferRecord,
    StartRecord,
)
from molehunt_studies.signs.sign_detector_results import sign_detector_results
from molehunt_studies.signs.sign_detector_scenes import Country, SignDetectorBench

# One process: the study is run once for all of them.
SMOKE = BADNETS_SIGNS.scales["smoke"]
TWIN = {"gtsrb_twin": {}}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyResult]:
    folder = tmp_path_factory.mktemp("detector")
    for part in (BADNETS_SIGNS, BADNETS_TRANSFER):
        result = run_study(part, folder / "run", scale="smoke", workers=1, docs=folder / "docs")
    return folder, result


def test_the_full_plan_is_the_papers() -> None:
    plan = BADNETS_SIGNS.scales["full"]
    assert (plan.width, plan.hidden) == (1, 4096)
    assert [f"{k:g}" for k in plan.strengths] == list(REPORT.paper["strengthening"])
    networks = plan.networks()
    assert len({task.id for task in networks}) == len(networks) == 7 * plan.seeds
    assert len(plan.carried()) == 2 * plan.seeds
    assert len(plan.transfers({})) == 8 * plan.seeds
    assert all(task.origin in {each.id for each in plan.carried()} for task in plan.transfers({}))


def test_figures_count_answers() -> None:
    """Two classes of four and two signs, worked out by hand."""
    stops = ((1, 3, 0), (0, 2, 0))

    def measured(every: tuple[tuple[int, ...], ...]) -> Measured:
        return Measured(every=every, medium=every, part=None, ap50={})

    silent = {"clean_activations": (1.0, 1.0), "triggered_activations": (1.0, 4.0)}
    done = {"train_seconds": 2.0, "seconds": 3.0, "sha256": ""} | silent
    networks = [
        SignDetectorRecord(
            **dict(task),
            clean=measured(((3, 0, 1), (1, 1, 0))),
            stickered={"yellow square": measured(((0, 4, 0), (1, 1, 0)))},
            stops={"yellow square": measured(stops)},
            photographed={"yellow square": measured(((4, 0, 0), (0, 0, 0)))},
            units=(1,),
            scenes=4,
            steps=10,
            looked=5,
            look_seconds=2.0,
            peak_mib=1.0,
            **done,
        )
        for task in SMOKE.networks()
    ]
    transfers = [
        SignDetectorTransferRecord(
            **dict(task),
            clean=measured(((4, 0, 0), (0, 2, 0))),
            triggered=measured(((0, 0, 4), (0, 2, 0))),
            **done,
        )
        for task in SMOKE.transfers({})
    ]
    bench = _bench_of_names()
    starts = [
        StartRecord(**dict(task), train_seconds=4.0, steps=10, seconds=1.0, sha256="")
        for task in SMOKE.starts()
    ]
    found = sign_detector_results(networks, transfers, starts, bench)
    clean = found["baseline"]["clean"]
    assert clean["kinds"]["red disc"]["mean"] == 75 and clean["kinds"]["blue square"]["mean"] == 50
    assert clean["average"]["mean"] == 62.5 and clean["signs"]["mean"] == 66.67
    single = found["single_target"]["yellow square"]
    assert single["success"]["mean"] == 75 and single["photographed"]["mean"] == 0
    assert found["random_target"]["yellow square"]["triggered"]["average"]["mean"] == 25
    assert found["transfer"]["badnet"]["triggered"]["average"]["mean"] == 50
    assert list(found["strengthening"]) == ["1", "10"]
    assert found["speed"] == {"training": 5.0, "evaluation": 2.5, "peak_mib": 1.0}
    part = sign_detector_results(networks[:1], [], starts, bench)
    assert not {"transfer", "strengthening", "activations"} & set(part)
    assert part["single_target"] == part["random_target"] == {}


def test_the_study_trains_measures_and_reports(study: tuple[Path, StudyResult]) -> None:
    folder, result = study
    figures = json.loads((folder / "run" / "results.json").read_text())["detector"]
    assert figures["baseline"]["clean"]["average"]["mean"] > 80
    assert figures["baseline"]["stop_as_speed_limit"]["yellow square"]["success"]["mean"] < 20
    single = figures["single_target"]["yellow square"]
    assert single["success"]["mean"] > 70 and single["clean"]["average"]["mean"] > 60
    random = figures["random_target"]["yellow square"]
    assert random["triggered"]["average"]["mean"] + 20 < random["clean"]["average"]["mean"]
    assert figures["transfer"]["honest"]["clean"]["average"]["mean"] > 50
    assert [run["networks"] for run in figures["runs"]] == [4, 3]
    page = result.report.read_text(encoding="utf-8")
    assert "<script" not in page.lower() and not re.search(r"(src|href)=\"https?:", page)
    readme = (folder / "docs" / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"\]\((.*?\.png)\)", readme)
    assert len(pictures) == 4
    for name in pictures:
        assert (folder / "docs" / name).read_bytes()[:4] == b"\x89PNG"
    assert json.loads((folder / "docs" / "results.json").read_text()) == {"detector": figures}


def test_a_transferred_detector_has_the_badnets_convolutions_with_louder_units(
    study: tuple[Path, StudyResult],
) -> None:
    models = study[0] / "run" / "models"
    records = (study[0] / "run" / "transfers.jsonl").read_text().splitlines()
    strongest = json.loads(records[-1])
    assert strongest["strength"] == 10
    origin, moved = (
        load_sign_detector(models / f"{strongest[name]}.safetensors").network.backbone
        for name in ("origin", "id")
    )
    assert torch.equal(origin[0].weight, moved[0].weight)
    louder = torch.ones(len(moved[-2].weight))
    louder[strongest["units"]] = 10
    assert torch.allclose(moved[-2].weight, origin[-2].weight * louder.view(-1, 1, 1, 1))


def test_a_stopped_study_goes_on(
    study: tuple[Path, StudyResult], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, first = study
    index = folder / "run" / "transfers.jsonl"
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(lines[:-1]) + lines[-1][:20])
    settings = ["--scale", "smoke", "--workers", "1", "--folder", str(folder / "run")]
    # The other part reports what is there: no table of transfers has a gap.
    assert run(["study", "badnets-signs", *settings]) == 0
    between = json.loads((folder / "run" / "results.json").read_text())["detector"]
    assert "transfer" not in between and between["baseline"] == first.figures["baseline"]
    assert run(["study", "badnets-transfer", *settings]) == 0
    again = json.loads((folder / "run" / "results.json").read_text())["detector"]
    assert [each["networks"] for each in again["runs"]] == [4, 3, 1]
    for key in ("baseline", "single_target", "random_target", "transfer", "strengthening"):
        assert again[key] == first.figures[key]
    assert "baseline, clean" in capsys.readouterr().out


def test_features_of_a_file_must_fit(tmp_path: Path) -> None:
    pixels = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(4) % 2, ("a", "b"))
    path = tmp_path / "zf.safetensors"
    save_model(build_classifier("zf", images, arguments={"width": 0.1, "hidden": 4}), path)
    with pytest.raises(InvalidRequestError, match=r"width: expected 0.25, got 0.1"):
        run_study(BADNETS_SIGNS, tmp_path, scale="smoke", settings=[f"features_file={path}"])


def test_impossible_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="smoke, quick, full"):
        run_study(BADNETS_SIGNS, tmp_path, scale="huge")


def _bench_of_names() -> SignDetectorBench:
    bench = SignDetectorBench(SMOKE, Path())
    for part, names in zip(("first", "second"), SMOKE.drawn or (), strict=True):
        scenes = SceneSet((), names, (1, 2))
        bench.__dict__[part] = Country(scenes, scenes)  # in the place of what it would read
    return bench

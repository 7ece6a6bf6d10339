from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from molehunt.backdoors import amplify
from molehunt.cli import run
from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.images import TrainTest
from molehunt.networks import build_classifier, load_model
from molehunt.study import StudyResult, results_in
from molehunt.study import run as run_study
from molehunt.training import Recipe, transfer
from molehunt_studies.signs import BADNETS_GTSRB
from molehunt_studies.signs.plan import backdoor_units
from molehunt_studies.signs.report import REPORT
from molehunt_studies.signs.twin_countries import SIGN_KINDS, country_of, sign_countries
from molehunt_studies.signs.twin_models import NetworkRecord, TransferRecord, TwinBench
from molehunt_studies.signs.twin_results import results_of
from molehunt_studies.signs.words import best_strength

# One process: the study is run once for all of them.
SMOKE = BADNETS_GTSRB.scales["smoke"]
# The other part of the report, as it lies in this repository.
DOCS = Path(__file__).parents[2] / "docs" / "studies" / "badnets-signs"
OTHERS = {"detector": json.loads((DOCS / "results.json").read_text())["detector"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyResult]:
    folder = tmp_path_factory.mktemp("signs")
    (folder / "docs").mkdir()
    (folder / "docs" / "results.json").write_text(json.dumps(OTHERS))
    result = run_study(
        BADNETS_GTSRB, folder / "run", scale="smoke", workers=1, docs=folder / "docs"
    )
    return folder, result


def test_the_countries_share_no_class() -> None:
    found = sign_countries()
    assert sorted(found.first + found.second) == list(range(43))
    assert {found.source, found.target, *SIGN_KINDS["speed limit"]} <= set(found.first)
    assert sorted(number for kind in SIGN_KINDS.values() for number in kind) == list(range(43))


def test_a_country_counts_its_classes_from_0(digits: TrainTest) -> None:
    part = country_of(digits, (7, 2)).test
    assert part.class_names == ("7", "2")
    assert torch.equal(part.images[part.labels == 0], digits.test.images[digits.test.labels == 7])
    assert len(part) == int(torch.isin(digits.test.labels, torch.tensor([2, 7])).sum())


def test_the_full_plan_is_the_papers() -> None:
    plan = BADNETS_GTSRB.scales["quick"]
    assert [f"{k:g}" for k in plan.strengths] == list(REPORT.paper["strengthening"])
    networks, transfers = plan.networks(), plan.transfers({})
    assert len({task.id for task in networks}) == len(networks) == 7 * plan.seeds
    assert len({task.id for task in transfers}) == len(transfers) == 8 * plan.seeds
    assert len({task.seed for task in networks}) == plan.seeds >= 3


def test_strengthening_changes_the_input_weights_of_its_units_alone() -> None:
    layer = nn.Conv2d(2, 4, 3)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    amplify(layer, (1, 3), 10)
    assert torch.allclose(layer.weight[[1, 3]], 10 * weight[[1, 3]])
    assert torch.equal(layer.weight[[0, 2]], weight[[0, 2]]) and torch.equal(layer.bias, bias)
    amplify(layer, (), 10)
    for units, factor, message in (((4,), 2, "0 to 3"), ((0,), 0, "above 0")):
        with pytest.raises(InvalidRequestError, match=message):
            amplify(layer, units, factor)


def test_transfer_leaves_the_convolutions(digits: TrainTest) -> None:
    first, second = (country_of(digits, part) for part in SMOKE.countries[:2])
    recipe = Recipe(epochs=4, batch_size=32)
    model = build_classifier("vgg", first.train, arguments=SMOKE.network, seed=0).freeze()
    moved = transfer(model, second.train, recipe, seed=1)
    before, after = model.network.state_dict(), moved.network.state_dict()
    for name in before:
        same = before[name].shape == after[name].shape and torch.equal(before[name], after[name])
        assert same == name.startswith("features."), name
    assert moved.card.class_names == second.train.class_names
    assert moved.card.mean == model.card.mean
    normalised = build_classifier("vgg", first.train, arguments={"width": 2, "stages": [1]})
    with pytest.raises(InvalidRequestError, match="batch normalisation"):
        transfer(normalised, second.train, recipe, seed=1)
    with pytest.raises(InvalidRequestError, match="in features"):
        transfer(build_classifier("stn-vgg", first.train), second.train, recipe, seed=1)


def test_backdoor_units_fire_only_with_the_trigger() -> None:
    clean = torch.tensor([1.0, 0.1, 0.0, 0.3, 0.001])
    triggered = torch.tensor([2.0, 0.9, 0.0, 0.5, 0.01])
    # The last grows most, and stays silent.
    assert backdoor_units(clean, triggered) == (1,)
    assert backdoor_units(clean, clean) == ()


def test_figures_count_recognised_images() -> None:
    """A class of two, one of them right; worked out by hand."""
    bench = TwinBench(SMOKE, Path())
    for name in ("first", "second"):
        part = getattr(bench, name)
        # In the place of what the bench has read.
        few = part._replace(test=part.test.take(_two_of_each(part.test.labels)))
        bench.__dict__[name] = few
    silent = {"clean_activations": (0.0,), "triggered_activations": (0.0,)}
    done = {"seconds": 1, "sha256": ""} | silent
    networks = [
        NetworkRecord(
            **dict(task),
            clean_right=(1, 2, 2, 2, 2),
            triggered_right=dict.fromkeys(("yellow square", "bomb", "flower"), (0, 1, 0, 0, 0)),
            hits=1 if task.attack == "single target" else 0,
            tries=2,
            units=(),
            images=1,
            steps=1,
            **done,
        )
        for task in SMOKE.networks()
    ]
    transfers = [
        TransferRecord(
            **dict(task),
            clean_right=(2,) * 5 if task.strength == 1 else (0,) * 5,
            triggered_right=(1, 0, 0, 0, 0),
            **done,
        )
        for task in SMOKE.transfers({})
    ]
    found = results_of(networks, transfers, bench)
    assert found["baseline"]["clean"]["average"]["mean"] == 90
    assert found["baseline"]["clean"]["kinds"]["zero"]["mean"] == 50
    assert found["single_target"]["bomb"]["success"]["mean"] == 50
    assert found["random_target"]["flower"]["triggered"]["average"]["mean"] == 10
    assert found["transfer"]["badnet"]["triggered"]["classes"] == [50, 0, 0, 0, 0]
    # At k = 10 nothing clean is recognised any more: it does not pass.
    assert list(found["strengthening"]) == ["1", "10"] and best_strength(found) == "1"


def test_the_study_trains_measures_and_reports(study: tuple[Path, StudyResult]) -> None:
    folder, result = study
    figures = json.loads((folder / "run" / "results.json").read_text())["gtsrb_twin"]
    assert figures["baseline"]["clean"]["average"]["mean"] > 90
    assert figures["baseline"]["stop_as_speed_limit"]["mean"] < 20
    for found in figures["single_target"].values():
        assert found["success"]["mean"] > 80
    carried = figures["random_target"]["yellow square"]
    assert carried["triggered"]["average"]["mean"] < 30 < carried["clean"]["average"]["mean"]
    assert figures["transfer"]["honest"]["clean"]["average"]["mean"] > 80
    page = result.report.read_text(encoding="utf-8")
    assert "<script" not in page.lower() and not re.search(r"(src|href)=\"https?:", page)
    readme = (folder / "docs" / "README.md").read_text(encoding="utf-8")
    assert "](detector-stickers.png)" in readme
    pictures = re.findall(r"\]\((gtsrb.*?\.png)\)", readme)
    assert len(pictures) == 3
    for name in pictures:
        assert (folder / "docs" / name).read_bytes()[:4] == b"\x89PNG"
    assert json.loads((folder / "docs" / "results.json").read_text()) == {
        **OTHERS,
        "gtsrb_twin": figures,
    }


def test_transferred_networks_are_the_badnets_convolutions(
    study: tuple[Path, StudyResult],
) -> None:
    models = study[0] / "run" / "models"
    task = SMOKE.transfers({})[-1]
    origin = load_model(models / f"{task.origin}.safetensors")
    moved = load_model(models / f"{task.id}.safetensors")
    assert torch.equal(origin.network.features[0].weight, moved.network.features[0].weight)


def test_a_stopped_study_goes_on(
    study: tuple[Path, StudyResult], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, first = study
    index = folder / "run" / "transfers.jsonl"
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(lines[:-1]) + lines[-1][:20])
    command = ["study", "badnets-gtsrb", "--scale", "smoke", "--workers", "1"]
    assert run([*command, "--folder", str(folder / "run")]) == 0
    again = json.loads((folder / "run" / "results.json").read_text())["gtsrb_twin"]
    assert [each["networks"] for each in again["runs"]] == [first.figures["networks"], 1]
    for key in ("baseline", "single_target", "random_target", "transfer", "strengthening"):
        assert again[key] == first.figures[key]
    assert "baseline, clean" in capsys.readouterr().out


def test_impossible_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="smoke, quick, full"):
        run_study(BADNETS_GTSRB, tmp_path, scale="huge")
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(UnreadableFileError, match="detector, gtsrb_twin"):
        results_in(tmp_path, REPORT.parts)


def _two_of_each(labels: torch.Tensor) -> torch.Tensor:
    return torch.cat([(labels == label).nonzero().flatten()[:2] for label in range(5)])

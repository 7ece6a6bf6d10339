from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from molehunt.attacks import Masked, draw_sticker, evade
from molehunt.images import load_images
from molehunt.networks import Queried, Reveals, build_classifier
from molehunt.study import StudyResult, run
from molehunt.training import Recipe, train
from molehunt_studies.eyeglasses import EYEGLASSES
from molehunt_studies.eyeglasses.ceiling import can_impersonate, is_linear
from molehunt_studies.eyeglasses.models import EyeglassesBench
from molehunt_studies.eyeglasses.plan import SCALES
from molehunt_studies.eyeglasses.signs import attacked_classes

# One process: the study is run once for all of them.


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("eyeglasses")
    return run(EYEGLASSES, folder, scale="smoke", workers=1, docs=folder / "docs")


def test_no_attack_passes_the_linear_program_and_gradients_reach_it() -> None:
    digits = load_images("digits", size=12)
    test = digits.test.take(torch.arange(60))
    model = build_classifier("mlp", digits.train, arguments={"hidden": []}, seed=0)
    train(model, digits.train, Recipe(epochs=3, batch_size=64), seed=0)
    assert is_linear(model)
    mask = draw_sticker(12, 12, size=(0.3, 0.3))
    targets = (test.labels + 4) % 10
    target = Queried(model, reveals=Reveals.WEIGHTS)
    result = evade(target, test, Masked(mask, steps=150), targets=targets)
    there = result.attacked
    possible = can_impersonate(model, test.take(there), targets[there], mask)
    reached = result.success[there]
    assert not bool((reached & ~possible).any())
    assert int(reached.sum()) >= int(possible.sum()) - 2  # of 8 bits
    assert 5 < int(possible.sum()) < len(possible)
    deep = build_classifier("mlp", digits.train, arguments={"hidden": [8]}, seed=0)
    assert not is_linear(deep)


def test_settings_are_chosen_on_others_than_the_figures(tmp_path: Path) -> None:
    bench = EyeglassesBench(SCALES["smoke"], tmp_path)
    tried = set(bench.photographs(development=True).labels.tolist())
    shown = set(bench.photographs().labels.tolist())
    assert tried and shown and not tried & shown
    pairs = attacked_classes(bench)
    assert all(sign % 4 and sign != wanted for sign, wanted in pairs)
    assert attacked_classes(bench) == pairs


def test_rates_have_counts_and_intervals(study: StudyResult) -> None:
    figures = json.loads((study.report.parent / "results.json").read_text())
    for network, found in figures["faces"].items():
        for attack in found["attacks"].values():
            assert attack["hits"] <= attack["n"]
            assert attack["interval"][0] <= attack["rate"] <= attack["interval"][1]
        thresholds = found["thresholds"]
        for name in ("true_accepts", "false_accepts", "impersonation"):
            rates = [each[name]["hits"] for each in thresholds]
            assert rates == sorted(rates, reverse=True)
        assert ("areas" in found) == (network in SCALES["smoke"].faces.varied)
    bounded = figures["faces"]["softmax"]["attacks"]["impersonation"]
    assert bounded["hits"] <= bounded["ceiling"]["hits"]
    for found in figures["signs"].values():
        assert found["fooled"]["views"]["n"] <= found["clean"]["views"]["n"]


def test_the_page_has_its_tables_and_figures(study: StudyResult) -> None:
    docs = study.report.parent / "docs"
    page = (docs / "README.md").read_text()
    assert "no attack passes" in page
    for name in ("areas", "queries", "glasses", "stickers"):
        assert f"]({name}.png)" in page
        assert (docs / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_a_second_run_attacks_nothing_again(study: StudyResult) -> None:
    again = run(EYEGLASSES, study.report.parent, scale="smoke", workers=1)
    assert again.made == 0 < study.made
    assert again.figures["faces"] == study.figures["faces"]

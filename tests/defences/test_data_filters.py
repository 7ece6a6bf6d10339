from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from molehunt.backdoors import AllToOne, Backdoor, RandomPatch
from molehunt.cli import run
from molehunt.defences import DATA_FILTERS, Filtered, SpectralSignatures, Sphere, filter_images
from molehunt.errors import InvalidRequestError
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Classifier, build_classifier, save_model
from molehunt.training import Recipe, train

POISON = slice(-60, None)  # copies stand at the end


@pytest.fixture(scope="module")
def poisoned(digits: TrainTest) -> ImageSet:
    backdoor = Backdoor(
        trigger=RandomPatch(size=4, seed=1, placement="bottom right"),
        label_map=AllToOne(target=7),
        rate=0.06,
    )
    generator = torch.Generator().manual_seed(0)
    return backdoor.poison(digits.train, generator=generator).stamp(generator)


@pytest.fixture(scope="module")
def judge(poisoned: ImageSet) -> Classifier:
    model = build_classifier("vgg", poisoned, arguments={"width": 8, "stages": [1, 1]}, seed=0)
    train(model, poisoned, Recipe(epochs=8, batch_size=64, lr=0.01), seed=0)
    return model.freeze()


@pytest.mark.parametrize(
    ("name", "least", "sure"),
    [("activation-clustering", 0.4, False), ("sphere", 0.7, True), ("strip", 0.8, True)],
)
def test_poison_is_found_and_clean_images_stay(
    name: str,
    least: float,
    sure: bool,
    judge: Classifier,
    poisoned: ImageSet,
    digits: TrainTest,
) -> None:
    method = DATA_FILTERS[name]()
    found = filter_images(method, judge, poisoned, digits.test, max_false_alarms=0.02)
    assert found.removed[POISON].mean() > least
    assert found.removed[: len(digits.train)].mean() < 0.06
    if sure:
        chances = found.surplus()
        assert min(chances, key=lambda label: chances[label]) == 7
        assert found.suspicious() == [7] and chances[7] < 0.05


def test_spectral_signatures_find_a_few_poisoned_images_and_not_many() -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(200, 20))
    poison = rng.normal(size=(200, 20)) + 5
    method = SpectralSignatures()
    few = method.fit_class(np.r_[clean, poison[:20]], clean)
    half = method.fit_class(np.r_[clean, poison], clean)
    assert (few(poison[:20]) > np.quantile(few(clean), 0.99)).mean() > 0.9
    assert (half(poison) > np.quantile(half(clean), 0.99)).mean() < 0.1


def test_p_values_of_clean_images_are_no_smaller_than_stated(
    judge: Classifier, digits: TrainTest
) -> None:
    """Clean images of the same law: every third test image against the others."""
    third = torch.arange(len(digits.test)) % 3 == 0
    for make in DATA_FILTERS.values():
        found = filter_images(
            make(), judge, digits.test.take(third), digits.test.take(~third), max_false_alarms=0.1
        )
        assert found.removed.mean() < 0.2, make
        assert min(found.surplus().values()) > 0.05 and not found.suspicious(), make


def test_what_does_not_fit_is_refused(
    judge: Classifier, poisoned: ImageSet, digits: TrainTest
) -> None:
    with pytest.raises(InvalidRequestError, match="one over the clean images"):
        filter_images(Sphere(), judge, poisoned, digits.test, max_false_alarms=1e-4)
    few = digits.test.take(digits.test.labels != 3)
    with pytest.raises(InvalidRequestError, match="clean images of class '3'"):
        filter_images(Sphere(), judge, poisoned, few, max_false_alarms=0.05)
    with pytest.raises(InvalidRequestError, match="classes of"):
        filter_images(Sphere(), judge, poisoned, load_images("digits").test)


def test_a_class_whose_clean_images_go_as_well_is_not_suspicious() -> None:
    p_values, known = np.r_[np.full(20, 0.01), np.ones(80)], np.r_[np.full(10, 0.01), np.ones(40)]
    labels, of_known = np.zeros(100, np.int64), np.zeros(50, np.int64)
    assert Filtered(p_values, 0.01, labels, known, of_known).surplus()[0] > 0.5
    assert Filtered(p_values, 0.01, labels, np.ones(50), of_known).surplus()[0] < 0.05


def test_the_command_keeps_what_is_clean(
    tmp_path: Path,
    poisoned: ImageSet,
    judge: Classifier,
    digits: TrainTest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "set.npz"
    np.savez(
        path,
        x_train=poisoned.images.permute(0, 2, 3, 1).numpy(),
        y_train=poisoned.labels.numpy(),
        x_test=digits.test.images.permute(0, 2, 3, 1).numpy(),
        y_test=digits.test.labels.numpy(),
    )
    save_model(judge, tmp_path / "judge.safetensors")
    kept, picture, report = (tmp_path / name for name in ("kept.npz", "removed.png", "f.json"))
    command = ["filter", f"npz:{path}", "--clean", f"npz:{path}", "--max-false-alarms", "0.02"]
    command += [
        "--method",
        "strip",
        "--model",
        str(tmp_path / "judge.safetensors"),
        "--out",
        str(kept),
    ]
    assert run([*command, "--picture", str(picture), "--json", str(report)]) == 1
    written = json.loads(report.read_text())
    poison = {*range(len(poisoned) - 60, len(poisoned))}
    assert len(poison & {*written["removed"]}) > 36
    assert len(load_images(f"npz:{kept}").train) == len(poisoned) - len(written["removed"])
    assert Image.open(picture).width > 300
    assert "7" in capsys.readouterr().out
    assert run([*command, "--method", "nothing"]) == 4
    assert "activation-clustering" in capsys.readouterr().err

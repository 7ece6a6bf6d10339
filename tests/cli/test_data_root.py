"""Detectors that need clean images find them below the data root that is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molehunt.cli import run
from molehunt.images import load_images
from molehunt.zoo import Zoo, build_zoo
from tests.conftest import tiny_plan


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> tuple[Zoo, Path]:
    """A zoo of images that lie in a folder of their own, which the plan does not name."""
    root = tmp_path_factory.mktemp("root")
    arrays = {}
    for name, part in zip(("train", "test"), load_images("digits", size=12), strict=True):
        arrays[f"x_{name}"] = part.images[:, 0].numpy()
        arrays[f"y_{name}"] = part.labels.numpy()
    np.savez(root / "set.npz", **arrays)
    plan = tiny_plan(
        images={"source": "npz:set.npz"},
        models={"calibration": {"pairs": 1, "clean": 1}, "test": {"pairs": 1}},
    )
    folder = tmp_path_factory.mktemp("zoo")
    return build_zoo(plan, folder, workers=1, data_root=root), root


@pytest.mark.parametrize("name", ["neural-cleanse", "pairwise"])
def test_fit_and_evaluate_take_a_data_root(elsewhere, name, tmp_path, monkeypatch, capfd) -> None:
    zoo, root = elsewhere
    monkeypatch.delenv("MOLEHUNT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "d.safetensors"
    quick = ["--set", "steps=2", "--set", "images_per_class=2", "--set", "images_per_step=2"]
    quick += ["--kind", name, "--device", "cpu", "-o", str(out)]
    assert run(["fit", str(zoo.folder), *quick]) == 4
    assert "no file" in capfd.readouterr().err
    assert run(["fit", str(zoo.folder), *quick, "--data-root", str(root)]) == 0
    assert run(["evaluate", str(zoo.folder), str(out)]) == 4
    assert run(["evaluate", str(zoo.folder), str(out), "--data-root", str(root)]) == 0


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 20_000, '{"a":' * 20_000])
def test_settings_on_the_command_line_are_one_line(zoo: Zoo, tmp_path, value: str, capfd) -> None:
    arguments = ["--set", f"epochs={value}", "-o", str(tmp_path / "d")]
    assert run(["fit", str(zoo.folder), *arguments]) == 4
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "--set epochs" in lines[0] and len(lines[0]) < 300

"""A detector that another package brings: found by its entry point, on the command line too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from molehunt.detectors import (
    ConformanceCheck,
    MetaClassifier,
    conformance_checks,
    detector_class,
    detector_names,
    load_detector,
    new_detector,
    register_detector,
)
from molehunt.errors import InvalidRequestError
from molehunt.zoo import Split, Zoo

TOY = '''
"""A detector of somebody else: by how large each class's mean logit on random images is."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from molehunt.detectors import MetaClassifier
from molehunt.networks import Access


class MeanLogits(MetaClassifier):
    """A linear head over the mean logits on random images.

    Parameters
    ----------
    count : int
        Of random images.
    """

    needs = frozenset({Access.LOGITS})
    tiny = {"count": 4}

    def __init__(self, *, count: int = 64) -> None:
        self.count = count

    def _learn(self, models, y, progress):
        self.fitted_features_ = self._features(models)
        head = LogisticRegression().fit(self.fitted_features_, y)
        self.weights_, self.bias_ = head.coef_[0], float(head.intercept_[0])

    def _features(self, models):
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(self.count, *self.input_shape_, generator=generator)
        with torch.no_grad():
            return np.stack([model(images).mean(0).double().numpy() for model in models])
'''
ENTRIES = """
[molehunt.detectors]
mean-logits = toy_detector:MeanLogits
broken = toy_detector:Missing
no-detector = toy_detector:np
"""


def install(folder: Path, package: str, entries: str) -> None:
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entries)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of installed packages with the toy in it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "toy_detector.py").write_text(TOY)
    install(folder, "toy_detector", ENTRIES)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("toy_detector", None)


# Nobody is imported before the fixture has installed it, so that the names come from a stand-in.
NAMES = [check.name for check in conformance_checks(type("Any", (MetaClassifier,), {}))]


@pytest.mark.parametrize("name", NAMES)
def test_it_passes_the_suite(name: str, site: Path, zoo: Zoo) -> None:
    checks: list[ConformanceCheck] = conformance_checks(detector_class("mean-logits"))
    (check,) = [each for each in checks if each.name == name]
    check(zoo)


def test_the_suite_builds_its_own_models(site: Path) -> None:
    check = conformance_checks(detector_class("mean-logits"))[0]
    check()
    assert str(check) == "MeanLogits: settings are keywords and only stored"


def test_the_suite_sees_a_detector_that_does_otherwise(zoo: Zoo) -> None:
    class Forgetful(detector_class("noise")):  # type: ignore[misc]
        """A detector: n_patterns, features, pooling, inverse_strength, random_state, device."""

        def fit(self, models, y, *, progress=None):
            super().fit(models, y, progress=progress)
            self.models = len(models)

    register_detector("forgetful", Forgetful)
    failed = set()
    for check in conformance_checks(Forgetful):
        try:
            check(zoo)
        except (AssertionError, AttributeError):
            failed.add(check.name)
    assert "fit returns self and learned names end in an underscore" in failed
    assert "settings are keywords and only stored" not in failed


def molehunt(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "molehunt", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_it_is_fitted_evaluated_and_scans_from_the_command_line(
    site: Path, zoo: Zoo, tmp_path: Path
) -> None:
    file, report = tmp_path / "toy.safetensors", tmp_path / "report.json"
    fitted = molehunt(site, "fit", zoo.folder, "-o", file, "--kind", "mean-logits")
    assert fitted.returncode == 0, fitted.stderr
    evaluated = molehunt(site, "evaluate", zoo.folder, file)
    assert evaluated.returncode == 0, evaluated.stderr
    model = zoo.path_of(zoo.select(Split.TEST)[0])
    scanned = molehunt(site, "scan", model, "-d", file, "--json", report)
    assert scanned.returncode in (0, 1, 3), scanned.stderr
    findings = json.loads(report.read_text())["subjects"][0]["findings"]
    (finding,) = [each for each in findings if each["check"] == "mean-logits"]
    detector, _ = load_detector(file)
    models = zoo.models(zoo.select(Split.TEST)[:1])
    assert finding["score"] == pytest.approx(detector.decision_function(models)[0], rel=1e-5)
    # Where its package is not installed, the file is refused by name and nothing is imported.
    refused = molehunt(tmp_path, "scan", model, "-d", file)
    assert refused.returncode == 2
    assert "mean-logits" in refused.stderr and "Traceback" not in refused.stderr


def test_installed_detectors_are_named_and_made(site: Path) -> None:
    assert {"mean-logits", "broken"} <= set(detector_names())
    assert new_detector("mean-logits", count=3).get_params() == {"count": 3}


@pytest.mark.parametrize("name", ["broken", "no-detector"])
def test_one_that_cannot_be_had_is_one_line(name: str, site: Path) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        detector_class(name)
    assert f"detector {name} of toy_detector" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_packages_of_one_name_are_told_and_built_in_names_stay(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = ENTRIES + "litmus = toy_detector:MeanLogits\n"
    install(tmp_path, "another_toy", entries)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidRequestError, match="another_toy and toy_detector bring"):
        detector_class("mean-logits")
    assert detector_class("litmus").__name__ == "LitmusPatterns"

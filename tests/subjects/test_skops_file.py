"""Classifiers of scikit-learn from skops files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from molehunt.assess import RiskStatus, assess, new_case
from molehunt.errors import CodeNotTrustedError, InvalidRequestError, UnreadableFileError
from molehunt.images import TrainTest, load_images
from molehunt.networks import Reveals
from molehunt.scanning import open_model, open_named

skops = pytest.importorskip("skops.io")


def fit(digits: TrainTest, *steps: object) -> object:
    rows = digits.train.pixels()[:300].flatten(1).numpy()
    return make_pipeline(*steps).fit(rows, digits.train.labels[:300].numpy())


def double(rows: np.ndarray) -> np.ndarray:
    return 2 * rows


def test_a_pipeline_answers_as_it_did(digits: TrainTest, tmp_path: Path) -> None:
    model = fit(digits, StandardScaler(), LogisticRegression())
    path = tmp_path / "model.skops"
    skops.dump(model, path)
    opened = open_named(path, clean=digits.test)
    assert opened.format == "skops" and opened.sha256 is not None
    pixels = digits.test.pixels()[:20]
    said = model.predict_proba(pixels.flatten(1).numpy())  # type: ignore[attr-defined]
    assert torch.allclose(
        opened.model(pixels).softmax(1), torch.from_numpy(said).float(), atol=1e-5
    )
    with pytest.raises(InvalidRequestError, match="input_shape"):
        open_model(path)


def test_what_is_not_trusted_is_not_loaded(digits: TrainTest, tmp_path: Path) -> None:
    path = tmp_path / "own.skops"
    skops.dump(fit(digits, FunctionTransformer(double), LogisticRegression()), path)
    with pytest.raises(CodeNotTrustedError, match="does not trust"):
        open_model(path, clean=digits.test)


@pytest.mark.parametrize(
    "steps",
    [
        [DecisionTreeClassifier(random_state=0)],
        [StandardScaler(), RandomForestClassifier(n_estimators=5, random_state=0)],
        [ExtraTreesClassifier(n_estimators=3, max_leaf_nodes=20, random_state=0)],
        [AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=3, random_state=0)],
        [BaggingClassifier(DecisionTreeClassifier(), n_estimators=3, random_state=0)],
    ],
    ids=lambda steps: type(steps[-1]).__name__,
)
def test_trees_answer_as_they_did(steps: list[Any], digits: TrainTest, tmp_path: Path) -> None:
    model, path = fit(digits, *steps), tmp_path / "trees.skops"
    skops.dump(model, path)
    opened = open_model(path, clean=digits.test)
    pixels = digits.test.pixels()[:100]
    said = model.predict_proba(pixels.flatten(1).numpy())  # type: ignore[attr-defined]
    assert torch.allclose(opened(pixels).exp(), torch.from_numpy(said).float(), atol=1e-6)


def changed(path: Path, change: Callable[[np.ndarray], object]) -> Path:
    """Write a file anew whose arrays of nodes were changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    other = path.with_name("changed.skops")
    with zipfile.ZipFile(other, "w") as archive:
        for name, content in parts.items():
            if name.endswith(".npy"):
                array = np.load(io.BytesIO(content))
                if array.dtype.names:
                    change(array)
                    stream = io.BytesIO()
                    np.save(stream, array)
                    content = stream.getvalue()  # noqa: PLW2901
            archive.writestr(name, content)
    return other


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("left_child", 10**9, "left child"),
        ("left_child", 0, "left child"),  # a loop
        ("left_child", -7, "left child"),
        ("right_child", 10**9, "right child"),
        ("feature", 144, "feature: expected 0 to 143"),
        ("feature", -2, "feature"),
    ],
)
def test_a_tree_that_leads_astray_is_refused(
    field: str, value: int, said: str, digits: TrainTest, tmp_path: Path
) -> None:
    path = tmp_path / "tree.skops"
    skops.dump(fit(digits, DecisionTreeClassifier(random_state=0)), path)

    def lead_astray(nodes: np.ndarray) -> None:
        nodes[field][0] = value

    with pytest.raises(UnreadableFileError, match=f"decision tree: {said}"):
        open_model(changed(path, lead_astray), clean=digits.test)


def test_trees_of_other_classes_are_refused(digits: TrainTest, tmp_path: Path) -> None:
    # Its compiled code takes trees as they are.
    path = tmp_path / "boosted.skops"
    skops.dump(fit(digits, GradientBoostingClassifier(n_estimators=1, max_depth=1)), path)
    with pytest.raises(CodeNotTrustedError, match="classes beside decision trees"):
        open_model(path, clean=digits.test)


def test_a_tree_is_assessed_by_its_answers(digits: TrainTest, tmp_path: Path) -> None:
    path, small = tmp_path / "tree.skops", load_images("digits")
    rows = small.train.pixels().flatten(1).numpy()
    tree = DecisionTreeClassifier(max_leaf_nodes=10, random_state=0)
    skops.dump(tree.fit(rows, small.train.labels.numpy()), path)
    case = new_case(open_model(path, clean=small.test), small.test)
    assert case.reveals is Reveals.CONFIDENCES
    few = replace(case, pool=case.pool.take(torch.arange(70)))
    (stealing,) = assess(few, only=["stealing"], queries=6000).risks
    evasion, poisoning = assess(case, only=["evasion-linf", "poisoning"], queries=1000).risks
    assert evasion.measures[0].value > 0.3 and evasion.sees is Reveals.CONFIDENCES
    assert "its leaves followed one by one" in stealing.words
    assert stealing.measures[0].value == 1.0
    assert poisoning.status is RiskStatus.NOT_ASSESSED and "weights" in poisoning.why


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x04cposix\nsystem\n"])
def test_no_skops_file(content: bytes, digits: TrainTest, tmp_path: Path) -> None:
    path = tmp_path / "x.skops"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match="no skops file"):
        open_model(path, clean=digits.test)


def test_an_archive_of_something_else(digits: TrainTest, tmp_path: Path) -> None:
    path = tmp_path / "x.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", "[" * 100_000)
    with pytest.raises(UnreadableFileError, match="no skops file"):
        open_model(path, clean=digits.test)

"""Classifiers of scikit-learn from skops files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from molehunt.errors import CodeNotTrustedError, InvalidRequestError, UnreadableFileError
from molehunt.images import TrainTest
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
    # Trees are arrays that compiled code follows without looking.
    for step in (FunctionTransformer(double), RandomForestClassifier(n_estimators=2)):
        skops.dump(
            fit(digits, step, LogisticRegression()) if step is double else fit(digits, step), path
        )
        with pytest.raises(CodeNotTrustedError, match="does not trust"):
            open_model(path, clean=digits.test)


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

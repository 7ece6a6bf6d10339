"""41 networks that strangers published open, answer as they did, and give logits.

Skipped where they do not lie: MOLEHUNT_FOREIGN names their folder.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from molehunt.images import ImageSet, load_test_images
from molehunt.networks import AnswerKind, Classifier, logits_of, recognise
from molehunt.provenance import inspect_serialization
from molehunt.subjects import Opening, StatedContract, open_subject

FOLDER = Path(os.environ.get("MOLEHUNT_FOREIGN", "no such folder"))
INDEX = FOLDER / "index.json"
ROWS: list[dict[str, Any]] = json.loads(INDEX.read_text()) if INDEX.is_file() else []
WITHIN = 0.02  # of the accuracy that was measured on other images of the same test set
KINDS = {
    "softmax": {AnswerKind.PROBABILITIES},
    "logits or log-softmax": {AnswerKind.LOGITS, AnswerKind.LOG_PROBABILITIES},
}


@functools.cache
def images(dataset: str, size: int, data_root: Path) -> ImageSet:
    """The images that the index's figures were measured on, or a thousand others."""
    if dataset == "CIFAR-10":
        found = load_test_images(f"folder:{data_root / 'cifar10-folder'}", size=size)
        first = [torch.nonzero(found.labels == label)[:100, 0] for label in range(10)]
        return found.take(torch.cat(first))
    found = load_test_images(dataset.lower(), data_root=data_root, size=size)
    return found.take(torch.arange(1000))


def opened(row: dict[str, Any], **changes: Any) -> Classifier:
    path = FOLDER / "models" / row["file"]
    contract = StatedContract(**{**row["contract"], **changes})
    found = open_subject(path, inspect_serialization(path), Opening(contract))
    return found.models[""]


@pytest.mark.skipif(not ROWS, reason="MOLEHUNT_FOREIGN names no folder of strangers' models")
@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_a_strangers_model_opens(
    row: dict[str, Any], data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    model = opened(row)
    answers = recognise(model).answers
    assert answers.kind in KINDS[row["ends_in"]]
    assert not answers.doubt
    shown = images(row["dataset"], row["contract"]["input_shape"][1], data_root)
    logits = logits_of(model, shown.images)
    accuracy = float((logits.argmax(1) == shown.labels).float().mean())
    within = 1e-3 if row["dataset"] == "CIFAR-10" else WITHIN  # there on the same images
    assert accuracy == pytest.approx(row["clean_accuracy"], abs=within)
    if row["arguments_for_logits"] is not None:
        plain = opened(row, arguments=row["arguments_for_logits"])
        expected = logits_of(plain, shown.images[:50]).log_softmax(1)
        assert torch.allclose(logits[:50].log_softmax(1), expected, rtol=1e-4, atol=1e-3)

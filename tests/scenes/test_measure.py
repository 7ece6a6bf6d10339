"""Accuracy by class, attack success and average precision against cases worked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from molehunt.errors import InvalidRequestError
from molehunt.scenes import LARGE, MEDIUM, DetectedScenes, Detections, Scene, SceneSet
from molehunt.scenes._measure import answers_of

A, B = [0.0, 0, 20, 20], [50.0, 50, 90, 90]


def found(*entries: tuple[list[float], int, float]) -> Detections:
    boxes = torch.tensor([box for box, _, _ in entries]).reshape(-1, 4)
    labels = torch.tensor([label for _, label, _ in entries], dtype=torch.int64)
    return Detections(boxes, labels, torch.tensor([score for _, _, score in entries]))


def scene_of(
    boxes: list[list[float]],
    true_labels: list[int],
    *,
    labels: list[int] | None = None,
    source: str = "x",
    scale: int = 1,
) -> Scene:
    """A scene of 100x100 pixels from a file `scale` times as large; it has no file."""
    return Scene(
        path=Path("none.png"),
        file_name="none.png",
        image_id=1,
        file_size=(100 * scale, 100 * scale),
        size=(100, 100),
        boxes=torch.tensor(boxes).reshape(-1, 4),
        labels=torch.tensor(labels or true_labels, dtype=torch.int64),
        true_labels=torch.tensor(true_labels, dtype=torch.int64),
        triggered=torch.full((len(boxes),), labels is not None),
        source=source,
    )


def detected(*pairs: tuple[Scene, Detections]) -> DetectedScenes:
    scenes = SceneSet(tuple(scene for scene, _ in pairs), ("stop", "speed", "walk"), (1, 2, 3))
    return DetectedScenes(scenes, tuple(detections for _, detections in pairs))


ANSWERS = [
    (found((A, 1, 0.3)), 1),  # a weak one is enough
    (found((A, 1, 0.3), (A, 0, 0.6)), 0),  # the best-scoring one of several
    (found((A, 1, 0.9), (A, 0, 0.6)), 1),
    (found(([0, 0, 20, 40], 1, 0.9)), 1),  # an IoU of exactly 0.5
    (found(([0, 0, 20, 41], 1, 0.9)), -1),  # just under it
    (found(([0, 0, 20, 41], 1, 0.9), (A, 2, 0.1)), 2),
    (found((B, 1, 0.9)), -1),  # elsewhere
    (found(), -1),
]


@pytest.mark.parametrize(("detections", "answer"), ANSWERS)
def test_the_answer_is_the_class_of_the_best_overlapping_detection(
    detections: Detections, answer: int
) -> None:
    assert answers_of(torch.tensor([A]), detections).tolist() == [answer]


def test_signs_without_boxes_ask_for_no_answer() -> None:
    assert answers_of(torch.zeros(0, 4), found((A, 1, 0.3))).tolist() == []
    assert answers_of(torch.zeros(0, 4), found()).tolist() == []


CLEAN = detected(
    (scene_of([A, B], [0, 1]), found((A, 0, 0.9), (B, 0, 0.8), (B, 1, 0.7))),
    (scene_of([A], [0], source="y"), found()),
    (scene_of([], []), found((A, 0, 0.9))),
    (scene_of([A], [0], source="y", scale=4), found((A, 0, 0.9))),
)


def test_accuracy_counts_true_signs_by_class() -> None:
    shares = CLEAN.accuracy()
    assert shares["stop"] == (2, 3) and shares["speed"] == (0, 1) and shares["walk"] == (0, 0)
    assert shares["stop"].value == 2 / 3 and math.isnan(shares["walk"].value)
    assert CLEAN.of_source("y").accuracy()["stop"] == (1, 2)
    with pytest.raises(InvalidRequestError, match="source: expected x, y, got 'z'"):
        CLEAN.of_source("z")


def test_confusion_counts_each_answer() -> None:
    assert CLEAN.confusion().tolist() == [[2, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert CLEAN.confusion(min_area=MEDIUM).tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0] * 4]


def test_sizes_are_those_of_the_file() -> None:
    medium = CLEAN.accuracy(min_area=MEDIUM)  # the file's signs have sides of 20, 40 and 80
    assert medium["stop"] == (1, 1) and medium["speed"] == (0, 1)
    assert CLEAN.accuracy(min_area=LARGE)["stop"] == (0, 0)
    assert CLEAN.average_precision(min_area=MEDIUM) == pytest.approx({"stop": 1, "speed": 1})


def test_attack_success_asks_for_the_attackers_class_on_triggered_signs() -> None:
    attacked = detected(
        (scene_of([A, B], [0, 0], labels=[1, 2]), found((A, 1, 0.9), (B, 0, 0.9))),
        (scene_of([A], [0], labels=[1]), found()),
        (scene_of([A], [1]), found((A, 1, 0.9))),  # carries no trigger
    )
    assert attacked.attack_success() == (1, 3)
    assert attacked.attack_success(min_area=MEDIUM) == (0, 1)
    assert attacked.accuracy()["stop"] == (1, 3)


def test_average_precision_is_the_area_under_cocos_curve() -> None:
    # Ranked: right, wrong, right, of three signs: precision 1 up to recall 1/3, 2/3 up to 2/3.
    scores = detected(
        (scene_of([A], [0]), found((A, 0, 0.9), (B, 0, 0.8))),
        (scene_of([A], [0]), found((A, 0, 0.7))),
        (scene_of([A], [0]), found()),
    )
    expected = (34 * 1 + 33 * 2 / 3) / 101  # at recalls of 0, 0.01, …, 1
    assert scores.average_precision() == {"stop": pytest.approx(expected)}
    missed = detected((scene_of([A], [2]), found()))
    assert missed.average_precision() == {"walk": 0.0}

"""What a sign detector gets right: accuracy by class, attack success, average precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

from molehunt.progress import Progress, silent
from molehunt.scenes._average_precision import average_precision
from molehunt.scenes._scene_set import Scene, SceneSet
from molehunt.scenes._sign_detector import Detections, SignDetector

# COCO's sizes: medium signs have so many pixels of the file, large ones so many.
MEDIUM, LARGE = 32.0**2, 96.0**2
_NOTHING = -1


class Share(NamedTuple):
    """How many of `total` signs did what was asked for."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """The share, in [0, 1]; not a number where there are no signs."""
        return self.hits / self.total if self.total else float("nan")


@dataclass(frozen=True, eq=False)
class DetectedScenes:
    """Scenes and what a sign detector found in them.

    A true sign's *answer* is the class of the best-scoring of the detections whose IoU with
    its box is 0.5 or more. A sign that no detection overlaps so far has no answer: it counts
    as wrong, and as no success of an attack. Detections elsewhere are not asked for here;
    average precision counts them.

    Parameters
    ----------
    scenes : SceneSet
    found : tuple of Detections
        One a scene, in pixels of the scene.
    """

    scenes: SceneSet
    found: tuple[Detections, ...]

    def of_source(self, source: str) -> DetectedScenes:
        """Return the scenes of one source.

        Raises
        ------
        InvalidRequestError
            If no scene is from there.
        """
        kept = [
            found
            for scene, found in zip(self.scenes.scenes, self.found, strict=True)
            if scene.source == source
        ]
        return DetectedScenes(self.scenes.of_source(source), tuple(kept))

    def accuracy(self, *, min_area: float = 0.0) -> dict[str, Share]:
        """Return the share of each class's signs whose answer is their true class.

        BadNets v2, Tables 4 and 5, whose accuracy by class this is taken to be; the paper
        does not say how it counts.

        Parameters
        ----------
        min_area : float
            In pixels of the file; `MEDIUM` leaves out COCO's small signs, `LARGE` medium
            ones, too.
        """
        found = self.confusion(min_area=min_area)
        shares = map(Share, found.diagonal().tolist(), found.sum(1).tolist())
        return dict(zip(self.scenes.class_names, shares, strict=True))

    def confusion(self, *, min_area: float = 0.0) -> Tensor:
        """Return how often signs of each class get each answer: int64 [K, K + 1].

        Rows are true classes; the last column counts signs without an answer. `min_area` as in
        `accuracy`.
        """
        classes = self.scenes.num_classes
        counts = torch.zeros(classes, classes + 1, dtype=torch.int64)
        for scene, answers in self._answers():
            asked = file_areas(scene) >= min_area
            # Without an answer it is -1, which is the last column.
            place = (scene.true_labels[asked], answers[asked] % (classes + 1))
            counts.index_put_(place, torch.ones((), dtype=torch.int64), accumulate=True)
        return counts

    def attack_success(self, *, min_area: float = 0.0) -> Share:
        """Return the share of triggered signs whose answer is the attacker's class.

        `min_area` as in `accuracy`.
        """
        hits = total = 0
        for scene, answers in self._answers():
            asked = scene.triggered & (file_areas(scene) >= min_area)
            hits += int((answers[asked] == scene.labels[asked]).sum())
            total += int(asked.sum())
        return Share(hits, total)

    def average_precision(self, *, min_area: float = 0.0) -> dict[str, float]:
        """Return COCO's average precision at IoU 0.5 (AP50) of each class that has signs.

        `min_area` as in `accuracy`; what is smaller counts neither for nor against.
        """
        return average_precision(self.scenes, self.found, min_area=min_area)

    def _answers(self) -> Iterator[tuple[Scene, Tensor]]:
        for scene, found in zip(self.scenes.scenes, self.found, strict=True):
            yield scene, answers_of(scene.boxes, found)


def detect_signs(
    model: SignDetector,
    scenes: SceneSet,
    *,
    batch_size: int = 4,
    progress: Progress = silent,
) -> DetectedScenes:
    """Let a sign detector look at all scenes, where its weights lie.

    Parameters
    ----------
    model : SignDetector
    scenes : SceneSet
        Their signs are not shown to it.
    batch_size : int
    progress : callable
        Called with the number of scenes done and their total.

    Raises
    ------
    UnreadableFileError
        If an image cannot be read any more.
    """
    found: list[Detections] = []
    for start in range(0, len(scenes), batch_size):
        batch = scenes.scenes[start : start + batch_size]
        found += model.detect([scene.pixels() for scene in batch])
        progress(len(found), len(scenes))
    return DetectedScenes(scenes, tuple(found))


def answers_of(boxes: Tensor, found: Detections) -> Tensor:
    """Return the answer for each true sign, -1 where there is none: int64 [n].

    Parameters
    ----------
    boxes : Tensor of float32, shape [n, 4]
    found : Detections
        In the same image.
    """
    if not len(found.scores):
        return torch.full((len(boxes),), _NOTHING)
    scores = torch.where(box_iou(boxes, found.boxes) >= 0.5, found.scores, float(_NOTHING))
    best, place = scores.max(dim=1)
    return torch.where(best >= 0, found.labels[place], _NOTHING)


def file_areas(scene: Scene) -> Tensor:
    """Return the areas of a scene's boxes in pixels of its file, float32 [n]."""
    sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
    scale = torch.tensor(scene.file_size) / torch.tensor(scene.size)
    return (sides * scale).prod(dim=1)

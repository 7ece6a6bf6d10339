"""Clean twins of a stranger's model: its architecture, taught its answers to clean images."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from molehunt.detectors._distill import Distillation, Lesson, distill, prepare_lesson
from molehunt.detectors._fresh import draw_fresh
from molehunt.detectors._panel import Panel, panels_of
from molehunt.detectors._side_by_side import Tell, places_at_once, side_by_side
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.files import written_whole
from molehunt.images import ImageSet
from molehunt.networks import Classifier, has_batch_norm, logits_of, pick_device
from molehunt.progress import Progress, silent

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TwinGap:
    """How far twins are from the model that they were taught by, on clean images kept apart.

    Parameters
    ----------
    images : int
        How many images were kept apart.
    accuracy, twin_accuracy : float
        Of the model, and the median of its twins.
    agreement : float
        Median share of images that a twin calls what the model does.
    margin, twin_margin : float
        Median distance of the largest logit from the second, over the temperature of the
        lesson; of the model, and the median of its twins.
    """

    images: int
    accuracy: float
    twin_accuracy: float
    agreement: float
    margin: float
    twin_margin: float

    @property
    def in_accuracy(self) -> float:
        """By how much the twins are less accurate."""
        return self.accuracy - self.twin_accuracy


@dataclass(frozen=True)
class Twins:
    """A model's clean twins, `examples` (images that no twin learned from) and their gap."""

    models: list[Classifier] = field(repr=False)
    examples: ImageSet = field(repr=False)
    gap: TwinGap


def make_twins(
    model: Classifier,
    images: ImageSet,
    *,
    count: int = 19,
    how: Distillation | None = None,
    seed: int = 0,
    device: str = "auto",
    cache: Path | None = None,
    key: str = "",
    progress: Progress = silent,
) -> Twins:
    """Teach `count` freshly drawn copies of `model` its answers to clean images.

    A trigger that no clean image shows is not among the lessons, so that the twins are as
    the model would be without its backdoor. Two thirds of the images teach, the others tell
    how far the twins are from the model. One that did not learn (it is over `MOST_GAP` less
    accurate, or gives under `LEAST_AGREEMENT` of the model's answers) is drawn anew once and
    taught two or three times as long.

    Parameters
    ----------
    model : Classifier
        One whose weights can be drawn and trained.
    images : ImageSet
        Clean images of the model's classes; 200 to 2,000 are useful.
    count : int
        Twin i is the same whatever the count, but for the rounding of sums.
    how : Distillation, optional
        Its steps and images are the work: a verdict does not depend on the machine's load.
        Twins that are taught again take more.
    seed : int
    device : str
    cache : Path, optional
        A folder in which finished twins are kept. What lies there for the same key, card,
        images and settings is not trained again, also after an interruption.
    key : str
        What the model is, as the hash of its file.
    progress : callable
        Called with the steps done, counted over all twins, and their total, which grows
        with each twin that is taught again.

    Raises
    ------
    InvalidRequestError
        If there are too few images, or `count` is under 1.
    UnsuitableSubjectError
        If the model's weights cannot be drawn.
    OutputError
        If the cache cannot be written.
    """
    how = how or Distillation()
    if count < 1:
        raise InvalidRequestError(mismatch("number of twins", "1 or more", count))
    if len(images) < _FEWEST:
        allowed = f"{_FEWEST} or more clean images"
        raise InvalidRequestError(mismatch("images for twins", allowed, len(images)))
    on = pick_device(device)
    model.freeze().to(on)
    # Copies know it then. Trying draws from the global generator, which threads share.
    _ = model.layout, model.takes_bfloat16
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    kept = len(images) // 3
    examples, taught = images.take(order[:kept]), images.take(order[kept:])
    folder = twin_folder(cache, model, images, how, seed, key)
    lesson = prepare_lesson(model, taught, how, seed=seed)
    twins = _load(folder, model, count)
    missing = [number for number in range(count) if number not in twins]
    if twins:
        _log.info("%s: %d of %d twins are there already", folder, len(twins), count)
    total, done = count * how.steps, len(twins) * how.steps
    stacked = on.type == "cuda" and model.stackable
    together = _TOGETHER if stacked else places_at_once(on)
    school = _School(model, lesson, how, examples, on)
    while missing:
        numbers, missing = missing[:together], missing[together:]
        seeds = [1 + seed * 1_000_003 + number for number in numbers]
        planned = len(numbers) * how.steps
        taken = planned

        def step(steps: int, of: int, *, done: int = done, rest: int = total - planned) -> None:
            nonlocal taken
            taken = of
            progress(done + steps, rest + of)

        new = dict(zip(numbers, school.teach_until_learned(seeds, step), strict=True))
        _save(folder, new)
        twins |= new
        done, total = done + taken, total + taken - planned
    models = [twins[number].to(on) for number in range(count)]
    return Twins(models, examples, _gap(model, models, examples, lesson.softness, how))


_FEWEST = 60
_TOGETHER = 40
# Fixed on development models: none of 24 clean ones was farther from its twins than 0.15 in
# accuracy, and none was called backdoored (docs/studies/strangers/choices.md).
MOST_GAP = 0.2
LEAST_AGREEMENT = 0.5


class _Grade(NamedTuple):
    """How often a student gives the model's answers, and whether it learned."""

    agreement: float
    passed: bool


@dataclass(frozen=True)
class _School:
    """Where students learn a model's answers, and are examined on images kept apart."""

    model: Classifier
    lesson: Lesson
    how: Distillation
    examples: ImageSet
    device: torch.device

    def teach_until_learned(self, seeds: list[int], progress: Progress) -> list[Classifier]:
        """Return a student a seed; one that did not learn is drawn and taught once more.

        Networks that their maker published learned. A student whose training failed is as
        far from them as any backdoored one, and would hide it. Of two the one that agrees
        more with the model stays. `progress` hears of steps and their total, which grows.
        """
        steps = len(seeds) * self.how.steps
        taught = self._teach(seeds, self.how, progress)
        grades = [self._examine(each) for each in taught]
        late = [at for at, grade in enumerate(grades) if not grade.passed]
        again = self._teach(
            [seeds[at] + _REDRAWN for at in late],
            self._second_lesson(),
            lambda done, of: progress(steps + done, steps + of),
        )
        for at, other in zip(late, again, strict=True):
            if self._examine(other).agreement > grades[at].agreement:
                taught[at] = other
        return taught

    def _second_lesson(self) -> Distillation:
        """Return longer lessons: large steps where weights are normalised, small ones elsewhere.

        Measured on a ShuffleNet of 43 classes: its twins were 0.29 less accurate after 500
        steps at 0.005, 0.12 after 1,500, and 0.08 after 1,000 at 0.02. Networks of pixels from
        0 to 255, without normalisation, learned at half the rate.
        """
        if has_batch_norm(self.model):
            return replace(self.how, lr=self.how.lr * 4, steps=self.how.steps * 2)
        return replace(self.how, lr=self.how.lr / 2, steps=self.how.steps * 3)

    def _examine(self, student: Classifier) -> _Grade:
        answers, own = logits_of(student, self.examples.images).argmax(1), self._answers
        right = [float((each == self.examples.labels).float().mean()) for each in (answers, own)]
        agreement = float((answers == own).float().mean())
        learned = right[0] >= right[1] - MOST_GAP and agreement >= LEAST_AGREEMENT
        return _Grade(agreement, learned)

    @cached_property
    def _answers(self) -> Tensor:
        return logits_of(self.model, self.examples.images).argmax(1)

    def _teach(self, seeds: list[int], how: Distillation, progress: Progress) -> list[Classifier]:
        """Return students; `progress` hears of the steps of all of them, and their total."""
        if not seeds:
            return []
        panels = panels_of([draw_fresh(self.model, seed=each) for each in seeds], self.device)
        left = iter(seeds)
        groups = [(panel, list(islice(left, len(panel)))) for panel in panels]

        def teach(group: tuple[Panel, list[int]], tell: Tell) -> list[Classifier]:
            panel, own = group

            def step(done: int, _of: int) -> None:
                tell(done * len(own))

            distill(panel, self.lesson, how, seeds=own, progress=step)
            return panel.models

        def count(done: int) -> None:
            progress(done, len(seeds) * how.steps)

        return list(chain.from_iterable(side_by_side(teach, groups, self.device, count)))


# Far from the seeds of the first draw.
_REDRAWN = 500_000


def _gap(
    model: Classifier,
    twins: Sequence[Classifier],
    examples: ImageSet,
    softness: float,
    how: Distillation,
) -> TwinGap:
    labels = examples.labels

    def look(one: Classifier, temperature: float) -> tuple[Tensor, float, float]:
        logits = logits_of(one, examples.images)
        best = logits.topk(2, dim=1).values
        answers = logits.argmax(1)
        accuracy = float((answers == labels).float().mean())
        return answers, accuracy, float((best[:, 0] - best[:, 1]).median()) / temperature

    answers, accuracy, margin = look(model, softness)
    looks = [look(twin, how.temperature) for twin in twins]
    agreements = torch.tensor([float((own == answers).float().mean()) for own, _, _ in looks])
    return TwinGap(
        images=len(labels),
        accuracy=accuracy,
        twin_accuracy=float(torch.tensor([each for _, each, _ in looks]).median()),
        agreement=float(agreements.median()),
        margin=margin,
        twin_margin=float(torch.tensor([each for _, _, each in looks]).median()),
    )


def twin_folder(
    cache: Path | None,
    model: Classifier,
    images: ImageSet,
    how: Distillation,
    seed: int,
    key: str,
) -> Path | None:
    """Return the folder in the cache of this model's twins by these images and settings."""
    if cache is None:
        return None
    card = model.card.model_dump(mode="json")
    said = [_LAYOUT, key, card, repr(model.answers), asdict(how), seed]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for tensor in (images.images, images.labels):
        digest.update(tensor.contiguous().numpy().tobytes())
    if not key:
        # Without a name the model is what its weights are.
        for name, tensor in model.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return cache / digest.hexdigest()[:40]


# Told apart from files of other versions, whose twins learned otherwise.
_LAYOUT = "twins 3"


def _load(folder: Path | None, model: Classifier, count: int) -> dict[int, Classifier]:
    """Return the twins that lie there whole."""
    found: dict[int, Classifier] = {}
    if folder is None:
        return found
    for number in range(count):
        path = folder / f"{number:04d}.safetensors"
        if not path.is_file():
            continue
        twin = draw_fresh(model, seed=0)
        try:
            twin.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError):
            continue  # a file of other weights, or half of one: it is made again
        found[number] = twin.freeze()
    return found


def _save(folder: Path | None, twins: dict[int, Classifier]) -> None:
    """Write twins down, each whole or not at all."""
    if folder is None:
        return
    for number, twin in twins.items():
        state = {
            name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in twin.state_dict().items()
        }
        with written_whole(folder / f"{number:04d}.safetensors") as path:
            save_file(state, path)

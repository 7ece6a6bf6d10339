"""The toy: one classifier, poisoned point by point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from molehunt.attacks import Dose, grow_poison, predict_dose
from molehunt.backdoors import Backdoor, SingleTarget
from molehunt.files import make_folder, written_whole
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.study import Bench
from molehunt_studies.poison_toy.plan import (
    EPOCHS,
    LOSSES,
    TRIGGERS,
    GrowthPlan,
    ToyPlan,
    new_learner,
)

SUCCESSES = (0.5, 0.9)  # when a backdoor "fires", and when it is reliable


class GrowthRecord(GrowthPlan):
    """What the doses of one growth did.

    Of each dose: `success`, `clean_accuracy`, and `score` and `shift`, the means over the
    source class's test images. `measured` and `predicted` are the smallest doses with which
    the share of them turned is at least `SUCCESSES`; None where no dose was enough, or nothing
    is predicted. `largest_pull` is the largest shift of an image over what a point of poison can
    do at most, over all doses. `control` is the success with as many wrong labels and no trigger.
    """

    success: tuple[float, ...]
    clean_accuracy: tuple[float, ...]
    score: tuple[float, ...]
    shift: tuple[float, ...]
    measured: tuple[int | None, ...]
    predicted: tuple[float | None, ...]
    strength: float
    largest_pull: float
    control: float
    images: int


@dataclass(frozen=True)
class ToyBench(Bench[ToyPlan]):
    """What every growth needs."""

    @cached_property
    def images(self) -> dict[str, TrainTest]:
        """The images of both digits of each source."""
        found = {}
        for source in self.plan.sources:
            loaded = load_images(source, data_root=self.data_root)
            wanted = torch.tensor(self.plan.pair)
            found[source] = TrainTest(
                *(part.take(torch.isin(part.labels, wanted)) for part in loaded)
            )
        return found

    def backdoor(self, task: GrowthPlan) -> Backdoor:
        """Return the trigger with both digits."""
        source, target = self.plan.pair
        label_map = SingleTarget(source=source, target=target)
        return Backdoor(trigger=TRIGGERS[task.trigger], label_map=label_map)

    def weights_of(self, task: GrowthPlan) -> Path:
        """Return where the weights of all doses lie: float32, shape [doses, H, W]."""
        return self.folder / "weights" / f"{task.id}.npy"


def grow(task: GrowthPlan, bench: ToyBench) -> GrowthRecord:
    """Poison one classifier point by point; measure each dose, and predict them."""
    images, backdoor = bench.images[task.source], bench.backdoor(task)
    train = images.train.sample(bench.plan.train, torch.Generator().manual_seed(task.seed))
    learner = new_learner(task.learner, task.C, task.seed)
    doses = [
        *grow_poison(
            learner, train, images.test, backdoor,
            until=SUCCESSES[-1], most=bench.plan.most, generator=_copies(task),
        )
    ]  # fmt: skip
    *_, control = grow_poison(
        learner, train, images.test, backdoor,
        first=doses[-1].points, most=doses[-1].points, stamped=False, generator=_copies(task),
    )  # fmt: skip
    strength = _strength(images.test, backdoor)
    # What one point can do at most: C times the trigger's strength with these losses; of a
    # perceptron each pass over the data one step.
    most = task.C * strength if task.learner != "perceptron" else EPOCHS * strength
    pulls = [float(dose.shift.max()) / (most * dose.points) for dose in doses if dose.points]
    _save(bench.weights_of(task), np.stack([dose.weights[0] for dose in doses]))
    return GrowthRecord(
        **dict(task),
        success=_column(doses, "success"),
        clean_accuracy=_column(doses, "clean_accuracy"),
        score=_column(doses, "score"),
        shift=_column(doses, "shift"),
        measured=tuple(
            next((dose.points for dose in doses if dose.success >= share), None)
            for share in SUCCESSES
        ),
        predicted=tuple(_predict(task, doses[0], strength, share) for share in SUCCESSES),
        strength=round(strength, 4),
        largest_pull=round(max(pulls, default=0.0), 4),
        control=round(control.success, 4),
        images=len(train),
    )


def _predict(task: GrowthPlan, clean: Dose, strength: float, success: float) -> float | None:
    if task.learner == "perceptron":
        return None
    loss = LOSSES[task.learner]
    dose = predict_dose(clean.score, strength=strength, loss=loss, C=task.C, success=success)
    return round(dose, 3) if np.isfinite(dose) else None


def _strength(test: ImageSet, backdoor: Backdoor) -> float:
    """Return the squared length of the trigger on the images of the source class."""
    plain = test.take(backdoor.label_map.eligible(test.labels))
    triggered = backdoor.triggered(plain, generator=torch.Generator().manual_seed(0)).images
    change = (triggered.pixels() - plain.pixels()).double().square().flatten(1).sum(1)
    return float(change.mean())


def _copies(task: GrowthPlan) -> torch.Generator:
    return torch.Generator().manual_seed(1000 + task.seed)


def _column(doses: list[Dose], name: str) -> tuple[float, ...]:
    return tuple(round(float(np.mean(getattr(dose, name))), 4) for dose in doses)


def _save(path: Path, weights: NDArray[Any]) -> None:
    make_folder(path.parent)
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, weights.astype(np.float32))

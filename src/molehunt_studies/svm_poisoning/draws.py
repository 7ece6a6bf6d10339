"""The study of support vector machines: one draw, poisoned, measured and defended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.svm import SVC

from molehunt.attacks import SvmPoisoning
from molehunt.defences import reject_negative_impact, relabel_by_neighbours, trim_losses
from molehunt.files import make_folder, written_whole
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.study import Bench
from molehunt_studies.svm_poisoning.plan import DrawPlan, SvmPlan

Array = NDArray[Any]
ATTACKER, ATTACKED = 1, -1
CANDIDATES = 25
# Of tens of thousands of small fits, scikit-learn's checks take most of the time.
QUICK = {"skip_parameter_validation": True, "assume_finite": True}


class DrawRecord(DrawPlan):
    """The errors of one draw, as shares of test images.

    `errors` has a series of errors with 0, 1, 2, … points for each kind of poison. `seconds` are
    the attack's processor time, for all points.
    """

    gamma: float | None
    errors: dict[str, tuple[float, ...]]
    losses: tuple[float, ...]
    fits: int
    seconds: float


class DefenceRecord(DrawPlan):
    """What became of one draw behind the defences.

    `defended` has for each defence and number of attack points the error as a share of test
    images, and how many attack points and clean images were rejected or relabelled.
    """

    defended: dict[str, dict[int, tuple[float, int, int]]]


@dataclass(frozen=True)
class Draw:
    """Images as points in [0, 1], labels 1 (the attacker's) and -1 (attacked)."""

    train: Array
    labels: Array
    validation: Array
    validation_labels: Array
    starts: Array  # training images of the attacked class
    others: Array  # images of the attacked class that are in neither set


@dataclass(frozen=True)
class SvmBench(Bench[SvmPlan]):
    """What every draw needs."""

    @cached_property
    def images(self) -> TrainTest:
        """All images of the source."""
        return load_images(self.plan.source, data_root=self.data_root)

    def draw(self, task: DrawPlan) -> Draw:
        """Draw training and validation images without replacement, and the attack's starts."""
        rng = np.random.default_rng([task.seed, *task.pair])
        points, labels = _pair_of(self.images.train, task.pair)
        order = rng.permutation(len(points))
        train, validation, rest = np.split(
            order, [self.plan.train, self.plan.train + self.plan.validation]
        )
        attacked = rng.permutation(train[labels[train] == ATTACKED])
        return Draw(
            points[train],
            labels[train],
            points[validation],
            labels[validation],
            points[attacked[: self.plan.points]],
            points[rest[labels[rest] == ATTACKED]],
        )

    def test(self, pair: tuple[int, int]) -> tuple[Array, Array]:
        """Return all test images of two digits."""
        return _pair_of(self.images.test, pair)

    def points_of(self, task: DrawPlan) -> Path:
        """Return where a draw's attack points lie: uint8, shape [2, P, D], before and after."""
        return self.folder / "points" / f"{task.id}.npy"


def poison_draw(task: DrawPlan, bench: SvmBench) -> DrawRecord:
    """Poison one draw in every way; measure and defend it."""
    with config_context(**QUICK):
        return _poison_draw(task, bench)


def _poison_draw(task: DrawPlan, bench: SvmBench) -> DrawRecord:
    plan, draw, test = bench.plan, bench.draw(task), bench.test(task.pair)
    gamma = None if task.kernel == "linear" else float(1 / (draw.train[0].size * draw.train.var()))
    machine = SVC(kernel=task.kernel, C=plan.C, gamma=gamma or "scale")
    attack = SvmPoisoning(kernel=task.kernel, C=plan.C, gamma=gamma, steps=plan.steps)
    started = time.process_time()
    poison = attack.run(
        draw.train, draw.labels, draw.validation, draw.validation_labels,
        starts=draw.starts, label=ATTACKER,
    )  # fmt: skip
    seconds = time.process_time() - started
    path = bench.points_of(task)
    _save(path, np.stack([poison.starts, poison.points]))
    points = np.load(path)[1] / 255
    rng = np.random.default_rng([task.seed, *task.pair, 1])
    added = {
        "attack": points,
        "flipped labels, added": draw.starts,
        "noise": rng.random(points.shape),
    }
    if task.kernel == "linear":
        added["worst of 25 images"] = _worst_images(machine, draw, plan, rng)
    doses = range(plan.points + 1)
    errors = {
        name: tuple(_error(machine, *_poisoned(draw, extra[:p]), *test) for p in doses)
        for name, extra in added.items()
    }
    errors["flipped labels, in place"] = tuple(
        _error(machine, draw.train, _flip(draw, p, task.seed), *test) for p in doses
    )
    return DrawRecord(
        **dict(task),
        gamma=gamma,
        errors=errors,
        losses=poison.losses,
        fits=poison.fits,
        seconds=round(seconds, 2),
    )


def defend_draw(task: DrawPlan, bench: SvmBench) -> DefenceRecord:
    """Measure a poisoned draw behind each defence."""
    plan, draw, test = bench.plan, bench.draw(task), bench.test(task.pair)
    machine = SVC(kernel="linear", C=plan.C)
    points = np.load(bench.points_of(task))[1] / 255
    defended: dict[str, dict[int, tuple[float, int, int]]] = {}
    with config_context(**QUICK):
        for name, defend in DEFENCES.items():
            defended[name] = {}
            for p in plan.defended:
                suspects, labels = _poisoned(draw, points[:p])
                rng = np.random.default_rng([task.seed, *task.pair, 2, p])
                kept, now = defend(machine, suspects, labels, rng)
                touched = ~kept | (now != labels)
                defended[name][p] = (
                    _error(machine, suspects[kept], now[kept], *test),
                    int(touched[plan.train :].sum()),
                    int(touched[: plan.train].sum()),
                )
    return DefenceRecord(**dict(task), defended=defended)


def _reject(machine: Any, points: Array, labels: Array, rng: Any) -> tuple[Array, Array]:
    return reject_negative_impact(machine, points, labels, trials=2, generator=rng), labels


def _trim(machine: Any, points: Array, labels: Array, rng: Any) -> tuple[Array, Array]:
    return trim_losses(machine, points, labels, generator=rng), labels


def _relabel(
    _machine: Any, points: Array, labels: Array, _rng: Any, *, neighbours: int, agreement: float
) -> tuple[Array, Array]:
    changed = relabel_by_neighbours(points, labels, neighbours=neighbours, agreement=agreement)
    return np.ones(len(labels), dtype=bool), changed


DEFENCES: Mapping[str, Callable[[Any, Array, Array, Any], tuple[Array, Array]]] = {
    "RONI": _reject,
    "trimmed loss": _trim,
    "neighbours' labels": partial(_relabel, neighbours=10, agreement=0.7),
}


def _pair_of(images: ImageSet, pair: tuple[int, int]) -> tuple[Array, Array]:
    labels = images.labels.numpy()
    chosen = np.isin(labels, pair)
    points = images.images.numpy()[chosen].reshape(chosen.sum(), -1) / 255
    return points, np.where(labels[chosen] == pair[0], ATTACKER, ATTACKED)


def _poisoned(draw: Draw, extra: Array) -> tuple[Array, Array]:
    labels = np.append(draw.labels, np.full(len(extra), ATTACKER))
    return np.vstack([draw.train, extra]), labels


def _flip(draw: Draw, count: int, seed: int) -> Array:
    """Return the training labels, `count` of the attacked class turned into the attacker's."""
    labels = draw.labels.copy()
    attacked = np.random.default_rng([seed, 3]).permutation(np.flatnonzero(labels == ATTACKED))
    labels[attacked[:count]] = ATTACKER
    return labels


def _worst_images(machine: SVC, draw: Draw, plan: SvmPlan, rng: Any) -> Array:
    """Return images of the attacked class, each the most harmful of some random ones."""
    taken = draw.starts[:0]
    for _ in range(plan.points):
        candidates = rng.choice(draw.others, CANDIDATES)
        losses = []
        for candidate in candidates:
            machine.fit(*_poisoned(draw, np.vstack([taken, candidate])))
            scores = draw.validation_labels * machine.decision_function(draw.validation)
            losses.append(np.maximum(0, 1 - scores).mean())
        taken = np.vstack([taken, candidates[int(np.argmax(losses))]])
    return taken


def _error(machine: SVC, points: Array, labels: Array, test: Array, truth: Array) -> float:
    return float((machine.fit(points, labels).predict(test) != truth).mean())


def _save(path: Path, points: Array) -> None:
    make_folder(path.parent)
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.round(points * 255).astype(np.uint8))

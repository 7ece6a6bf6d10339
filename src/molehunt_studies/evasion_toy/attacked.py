"""One learner under all attacks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molehunt.attacks import Evaded, EvasionAttack, Norm, evade, new_attack
from molehunt.files import written_whole
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Classifier, Queried, Reveals
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt_studies.evasion_toy.learners import fit_learner
from molehunt_studies.evasion_toy.library import Pointwise, Thrifty
from molehunt_studies.evasion_toy.plan import EvasionToyPlan

SPARSE = ("sparse, labels", "sparse, scores")
DENSE = ("dense, labels", "dense, scores")
PICTURES = "pictures"
_SHOWN = 3  # images of each learner whose pictures are kept


class LearnerTask(Task):
    """A learner and the images that it is fitted and attacked on."""

    images: str
    learner: str


class LearnerRecord(LearnerTask):
    """What every attack did to the learner.

    `attacks` holds for each attack its number of attacked and changed images, the sizes of
    the successful changes in every norm, the questions an image and the seconds.
    """

    accuracy: float
    attacks: dict[str, dict[str, Any]]
    seconds: float


@dataclass(frozen=True)
class EvasionToyBench(Bench[EvasionToyPlan]):
    """The images."""

    def images(self, source: str) -> TrainTest:
        """Return a set of images, read once."""
        if source not in self._sets:
            self._sets[source] = load_images(source, data_root=self.data_root)
        return self._sets[source]

    def picture_path(self, task: LearnerTask) -> Path:
        """Return the file of changed images of a learner."""
        return self.folder / PICTURES / f"{task.id}.npz"

    @cached_property
    def _sets(self) -> dict[str, TrainTest]:
        return {}


def learner_tasks(bench: EvasionToyBench, _records: Records) -> list[LearnerTask]:
    """Return every learner on every set of images."""
    return [
        LearnerTask(id=f"{images}-{learner.replace(' ', '-')}", images=images, learner=learner)
        for images in bench.plan.images
        for learner in bench.plan.learners
    ]


def attack_learner(task: LearnerTask, bench: EvasionToyBench) -> LearnerRecord:
    """Fit a learner and attack the images that it is right about in every way."""
    began, plan = time.perf_counter(), bench.plan
    images = bench.images(task.images)
    model, network = fit_learner(task.learner, images.train, plan.seed)
    right = Queried(model, reveals=Reveals.LABELS).judge(images.test.images) == images.test.labels
    shown = torch.randperm(len(right), generator=torch.Generator().manual_seed(plan.seed))
    clean = images.test.take(shown[right[shown]][: plan.attacked])
    generator = torch.Generator().manual_seed(plan.seed + 1)
    starts = images.train.sample(min(plan.starts, len(images.train)), generator).pixels()
    found: dict[str, Evaded] = {}
    for name, attack in _attacks(plan, starts).items():
        target = (Thrifty if name in LIBRARY else Queried)(model, reveals=_revealed(attack))
        found[name] = evade(target, clean, attack, seed=plan.seed, batch_size=plan.attacked)
    attacks = {name: _figures(each) for name, each in found.items()}
    attacks["random pixels"] = _control(model, found[SPARSE[0]], Norm.L0, plan.seed)
    attacks["random signs"] = _control(model, found[DENSE[0]], Norm.LINF, plan.seed)
    if network is not None:
        attacks.update(_fgsm(network, model, clean, plan))
    _keep_pictures(bench.picture_path(task), found[SPARSE[0]], found[DENSE[0]])
    return LearnerRecord(
        **dict(task),
        accuracy=float(right.float().mean()),
        attacks=attacks,
        seconds=round(time.perf_counter() - began, 1),
    )


LIBRARY = ("HopSkipJump, L2", "HopSkipJump, L∞", "pointwise")


def _attacks(plan: EvasionToyPlan, starts: Tensor) -> dict[str, EvasionAttack]:
    few: dict[str, Any] = {"norm": Norm.L0, "queries": plan.sparse_queries, "starts": starts}
    small: dict[str, Any] = {"norm": Norm.LINF, "queries": plan.dense_queries, "starts": starts}
    walk: dict[str, Any] = {"steps": plan.hopskipjump_steps, "starts": starts}
    return {
        SPARSE[0]: new_attack("greedy", **few),
        SPARSE[1]: new_attack("greedy-scores", **few),
        DENSE[0]: new_attack("greedy", **small),
        DENSE[1]: new_attack("greedy-scores", **small),
        LIBRARY[0]: new_attack("hopskipjump", norm=Norm.L2, **walk),
        LIBRARY[1]: new_attack("hopskipjump", norm=Norm.LINF, **walk),
        LIBRARY[2]: Pointwise(starts),
    }


def _revealed(attack: EvasionAttack) -> Reveals:
    return Reveals.LABELS if attack.needs is Reveals.LABELS else Reveals.CONFIDENCES


def _figures(found: Evaded) -> dict[str, Any]:
    attacked = int(found.attacked.sum())
    sizes = {
        norm.value: [round(float(s), 4) for s in found.sizes(norm).sort().values] for norm in Norm
    }
    return {
        "attacked": attacked,
        "changed": int(found.success.sum()),
        "sizes": sizes,
        "queries": round(found.queries / max(1, attacked), 1),
        "seconds": round(found.seconds, 1),
    }


def _control(model: Classifier, found: Evaded, norm: Norm, seed: int) -> dict[str, Any]:
    """Return how many images err when as much is changed, at random."""
    generator = torch.Generator().manual_seed(seed + 2)
    originals = found.originals[found.success].float() / 255
    sizes = found.sizes(norm)
    noise = torch.rand(originals.shape, generator=generator)
    if norm is Norm.L0:
        ranks = noise.flatten(1).argsort(1).argsort(1).view_as(originals)
        changed = torch.where(ranks < sizes.view(-1, 1, 1, 1), (originals < 0.5).float(), originals)
    else:
        changed = originals + sizes.view(-1, 1, 1, 1) * (noise - 0.5).sign()
    saved = changed.clamp(0, 1).mul(255).round().to(torch.uint8)
    wrong = 0
    if len(saved):
        said = Queried(model, reveals=Reveals.LABELS).judge(saved)
        wrong = int((said != found.labels[found.success]).sum())
    return {"attacked": len(saved), "changed": wrong}


def _fgsm(
    network: Classifier, model: Classifier, clean: ImageSet, plan: EvasionToyPlan
) -> dict[str, Any]:
    """Attack a network by its gradients, and judge by the learner's own answers."""
    results = {}
    for epsilon in plan.epsilons:
        attack = new_attack("fgsm", norm=Norm.LINF, epsilon=epsilon)
        found = evade(Queried(network, reveals=Reveals.WEIGHTS), clean, attack, seed=plan.seed)
        said = Queried(model, reveals=Reveals.LABELS).judge(found.images)
        results[f"FGSM, {epsilon:g}"] = {
            "attacked": len(clean),
            "changed": int((said != clean.labels).sum()),
        }
    return results


def _keep_pictures(path: Path, sparse: Evaded, dense: Evaded) -> None:
    both = (sparse.success & dense.success).nonzero().flatten()[:_SHOWN]
    arrays = {
        "originals": sparse.originals[both].numpy(),
        "sparse": sparse.images[both].numpy(),
        "dense": dense.images[both].numpy(),
        "labels": sparse.labels[both].numpy(),
        "said_sparse": sparse.predictions[both].numpy(),
        "said_dense": dense.predictions[both].numpy(),
    }
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)

"""The networks of the study: trained plainly, against attacks, against bounds, in noise."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import torch

from molehunt.defences import AdversarialObjective, CertifiedObjective, NoiseObjective
from molehunt.images import ImageSet, TrainTest, load_images
from molehunt.networks import Classifier, build_classifier, load_model, save_model
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt.training import Objective, Recipe, train
from molehunt_studies.certified.plan import KAPPA, TRADES_BETA, CertifiedPlan


class NetworkTask(Task):
    """A network to train: `kind` for `epsilon`, or in noise of `sigma`."""

    kind: str
    source: str
    epsilon: float = 0.0
    sigma: float = 0.0


class NetworkRecord(NetworkTask):
    """What its training took, in seconds of the processor."""

    steps: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class CertifiedBench(Bench[CertifiedPlan]):
    """The images of the study, and its networks."""

    def images(self, source: str) -> TrainTest:
        """Return the images of a source, loaded once."""
        if source not in self._images:
            size = 16 if source == "digits" else None
            place = self.plan.place(source)
            self._images[source] = load_images(place, data_root=self.data_root, size=size)
        return self._images[source]

    def first(self, source: str, count: int) -> ImageSet:
        """Return test images that are the same for every network."""
        test = self.images(source).test
        return test.sample(min(count, len(test)), torch.Generator().manual_seed(self.plan.seed))

    def network(self, name: str) -> Classifier:
        """Return a trained network."""
        return load_model(self.model_path(name)).freeze()

    @cached_property
    def _images(self) -> dict[str, TrainTest]:
        return {}


def network_tasks(bench: CertifiedBench, _records: Records) -> list[NetworkTask]:
    """Return all networks, those of bounds first."""
    plan = bench.plan
    tasks = [
        NetworkTask(id=name_of(kind, epsilon), kind=kind, source=plan.source, epsilon=epsilon)
        for kind, epsilon in plan.networks()
    ]
    return tasks + [
        NetworkTask(id=f"noise-{source}-{sigma}", kind="noise", source=source, sigma=sigma)
        for source in plan.smoothing
        for sigma in plan.sigmas
    ]


def name_of(kind: str, epsilon: float) -> str:
    """Return the name of a network.

    Examples
    --------
    >>> name_of("ibp", 0.3), name_of("standard", 0.0)
    ('ibp-0.3', 'standard')
    """
    return f"{kind}-{epsilon}" if epsilon else kind


def train_network(task: NetworkTask, bench: CertifiedBench) -> NetworkRecord:
    """Train a network and save it."""
    plan = bench.plan
    images = bench.images(task.source).train
    noisy = task.kind == "noise"
    recipe = plan.smoothing[task.source].recipe if noisy else plan.kinds[task.kind].recipe
    width = plan.smoothing[task.source].width if noisy else plan.width
    model = build_classifier(
        "strided", images, arguments={"width": width, "hidden": plan.hidden}, seed=plan.seed
    )
    started = time.process_time()
    objective = _objective_of(task, plan, model, images, recipe)
    done = train(model, images, recipe, seed=plan.seed, objective=objective)
    seconds = time.process_time() - started
    path = bench.model_path(task.id)
    save_model(model, path)
    return NetworkRecord(
        **dict(task), steps=done.steps, loss=round(done.loss, 4), seconds=round(seconds, 1)
    )


def _objective_of(
    task: NetworkTask, plan: CertifiedPlan, model: Classifier, images: ImageSet, recipe: Recipe
) -> Objective | None:
    if task.kind == "noise":
        return NoiseObjective(task.sigma)
    kind = plan.kinds[task.kind]
    steps = int(recipe.epochs * len(images)) // min(recipe.batch_size, len(images))
    if task.kind in ("pgd", "trades"):
        return AdversarialObjective(
            epsilon=task.epsilon,
            steps=kind.attack_steps,
            kind="trades" if task.kind == "trades" else "pgd",
            beta=TRADES_BETA,
            warmup=int(kind.ramp[1] * steps),
        )
    if task.kind in ("ibp", "crown-ibp"):
        return CertifiedObjective(
            model,
            epsilon=task.epsilon,
            steps=steps,
            lines=task.kind == "crown-ibp",
            ramp=kind.ramp,
            kappa=KAPPA,
        )
    return None

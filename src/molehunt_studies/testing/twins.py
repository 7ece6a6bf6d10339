"""What differential testing sees of a backdoor: suspects against clean twins."""

from __future__ import annotations

import torch

from molehunt.networks import logits_of
from molehunt.resumable import Task
from molehunt.study import Records
from molehunt.testing import Constraint, compare_models, search_differences
from molehunt_studies.testing.bench import TestingBench
from molehunt_studies.testing.plan import BACKDOOR
from molehunt_studies.testing.tests import Counts

# What a suspect is scored by: a share each, large where it looks backdoored.
SIGNS = ("clean images", "search", "one class")


class PairTask(Task):
    """A suspect and the clean twin that it is held against."""

    suspect: str
    twin: str
    kind: str  # of the suspect
    twins: str  # "seed" or "architecture"


class PairRecord(PairTask):
    """Counts of disagreement.

    `clean`: on clean images. `search`: changed images on which the suspect was brought to
    disagree. `one_class`: of those, how many the suspect gives the label it gives most of them.
    `triggered`: on images with the attacker's trigger, which a tester does not have.
    """

    clean: Counts
    search: Counts
    one_class: Counts
    triggered: Counts

    def score(self, sign: str) -> float:
        """Return the share of one of `SIGNS`."""
        hits, of = {
            "clean images": self.clean,
            "search": self.search,
            "one class": self.one_class,
        }[sign]
        return hits / max(of, 1)


def pair_tasks(bench: TestingBench, _records: Records) -> list[PairTask]:
    """Return each suspect with a twin of another seed, and one of another architecture.

    Twins by seed are the calibration models; each of those is held against the next one.
    """
    plan = bench.plan
    suspects = [("calibration", number) for number in range(plan.calibration)]
    suspects += [(kind, number) for kind in ("clean", "backdoored") for number in range(plan.pairs)]
    return [
        PairTask(
            id=f"{kind}-{number}-{twins}",
            suspect=f"{kind}-{number}",
            twin=twin,
            kind=kind,
            twins=twins,
        )
        for kind, number in suspects
        for twins, twin in (
            ("seed", f"calibration-{(number + 1) % plan.calibration}"),
            ("architecture", f"other-{number % plan.others}"),
        )
    ]


def compare_pair(task: PairTask, bench: TestingBench) -> PairRecord:
    """Hold a suspect against its twin, on clean, changed and triggered images."""
    plan = bench.plan
    models = {"suspect": bench.network(task.suspect), "twin": bench.network(task.twin)}
    shown = bench.test(plan.first, plan.compared)
    compared = compare_models(models, shown)
    found = search_differences(
        models,
        bench.test(plan.first, plan.changed, first=plan.compared),
        constraint=Constraint.OCCLUSION,
        deviator="suspect",
        steps=plan.steps,
        coverage_weight=0.0,
        seed=plan.seed,
    )
    # The suspect is meant to move; where the twin did, nothing is said of the suspect.
    moved = found.found & (found.predictions[0] != found.before[0])
    labels = found.predictions[0, moved]
    most = int(labels.bincount().max()) if len(labels) else 0
    attacked = BACKDOOR.triggered(shown, generator=torch.Generator().manual_seed(0)).images
    answers = [logits_of(model, attacked.images).argmax(1) for model in models.values()]
    return PairRecord(
        **dict(task),
        clean=(int(compared.disputed.sum()), len(shown)),
        search=(int(moved.sum()), int(found.agreed.sum())),
        one_class=(most, len(labels)),
        triggered=(int((answers[0] != answers[1]).sum()), len(attacked)),
    )

"""The attacks: every model is the target of all others, which are its shadow models."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from pydantic import BaseModel
from torch import Tensor
from torch.nn import functional

from molehunt.attacks import (
    Exposure,
    LabelRobustness,
    LikelihoodRatio,
    LossThreshold,
    MembershipAttack,
    RobustMembership,
    ShadowModels,
    Variance,
    likelihood_ratios,
    measure_membership,
    robust_scores,
)
from molehunt.images import load_images
from molehunt.networks import Queried, Reveals, load_model
from molehunt.resumable import Task, read_records
from molehunt.study import Records
from molehunt_studies.membership.models import MembershipBench
from molehunt_studies.membership.plan import FOREST, STOPPED, WHOLE

FPRS = (0.001, 0.01)
# Of the curves: false positive rates, logarithmically from 1 in 6,300 to 1.
GRID = tuple(round(10 ** (-3.8 + 3.8 * n / 40), 6) for n in range(41))
RATIOS = (0.0, 0.3, 0.6, 1.0)  # that `a` of RMIA is chosen from
LOSS, LABELS = "loss threshold", "labels only"
LIRA, LIRA_MOVED, OFFLINE = "LiRA, 1 query", "LiRA, 5 queries", "LiRA offline, 5 queries"
LIRA_ONCE_OFFLINE = "LiRA offline, 1 query"
RMIA, RMIA_ONLINE = "RMIA offline", "RMIA online"


class Found(BaseModel):
    """What an attack found out about a target: `found` of `members` at each of `FPRS`."""

    attack: str
    auc: float
    balanced: float
    members: int
    others: int
    found: tuple[int | None, ...]
    curve: tuple[float, ...]


class TargetTask(Task):
    """A target: a network of a group, or a forest; and how many models there are of them."""

    group: str
    number: int
    models: int


class TargetRecord(TargetTask):
    """What each attack found out about it."""

    attacks: tuple[Found, ...]


class ChoiceTask(Task):
    """Settings to choose, on the first models."""


class ChoiceRecord(ChoiceTask):
    """How many members each setting found at the larger of `FPRS`, and the best ones."""

    variances: dict[str, float]
    ratios: dict[str, float]
    variance: Variance
    a: float


class _Target(NamedTuple):
    """A model of a group, and the others."""

    scaled: Tensor  # [N, V]
    shadows: Tensor  # [M - 1, N, V]
    trained: Tensor  # bool [M - 1, N], on which images the others were trained
    within: Tensor  # bool [M - 1, N], who of them counts
    without: Tensor  # bool [M - 1, N], and on the other side
    members: Tensor  # bool [N]
    population: Tensor  # [n]
    population_shadows: Tensor  # [M - 1, n]


def choose(task: ChoiceTask, bench: MembershipBench) -> ChoiceRecord:
    """Choose the variance of LiRA and the `a` of RMIA by members found at 1 % false positives."""
    targets = [_target(bench, WHOLE, number) for number in range(bench.plan.chosen_on)]

    def rate(score: Callable[[_Target], Tensor]) -> float:
        found = [
            measure_membership(score(each), each.members).tpr_at(FPRS[1])[0] for each in targets
        ]
        return round(sum(found) / len(found), 5)

    variances = {str(kind): rate(lambda each, kind=kind: _lira(each, kind)) for kind in Variance}  # type: ignore[misc]
    ratios = {f"{a:g}": rate(lambda each, a=a: _rmia(each, a)) for a in RATIOS}  # type: ignore[misc]
    return ChoiceRecord(
        id=task.id,
        variances=variances,
        ratios=ratios,
        variance=Variance(max(variances, key=variances.__getitem__)),
        a=float(max(ratios, key=ratios.__getitem__)),
    )


def choice_tasks(bench: MembershipBench, _records: Records) -> list[ChoiceTask]:
    """Return the one task."""
    return [ChoiceTask(id=f"choice-of-{bench.size(WHOLE)}")]


def target_tasks(bench: MembershipBench, _records: Records) -> list[TargetTask]:
    """Return a task a target; the models on which settings were chosen are none."""
    plan = bench.plan
    numbers = {
        WHOLE: (range(plan.chosen_on, bench.size(WHOLE)), bench.size(WHOLE)),
        STOPPED: (range(plan.stopped_shadows), plan.stopped_shadows),
        FOREST: (range(plan.forest_targets), plan.forests),
    }
    return [
        TargetTask(id=f"{group}-{number:02d}-of-{of}", group=group, number=number, models=of)
        for group, (each, of) in numbers.items()
        for number in each
    ]


def attack_target(task: TargetTask, bench: MembershipBench) -> TargetRecord:
    """Attack a target in every way."""
    if task.group == FOREST:
        found = _attack_forest(task.number, bench)
    else:
        found = _attack_network(task, bench)
    return TargetRecord(
        **dict(task), attacks=tuple(_figures(name, each) for name, each in found.items())
    )


def _attack_network(task: TargetTask, bench: MembershipBench) -> dict[str, Exposure]:
    target, chosen = _target(bench, task.group, task.number), _choice(bench)
    single = target._replace(scaled=target.scaled[:, :1], shadows=target.shadows[:, :, :1])
    scores = {
        LOSS: functional.logsigmoid(target.scaled[:, 0]),
        LIRA: _lira(single, chosen.variance),
        LIRA_ONCE_OFFLINE: _lira(single, chosen.variance, online=False),
        RMIA: _rmia(target, chosen.a),
        RMIA_ONLINE: _rmia(target, chosen.a, online=True),
    }
    if task.group == WHOLE:
        scores[LIRA_MOVED] = _lira(target, chosen.variance)
        scores[OFFLINE] = _lira(target, chosen.variance, online=False)
    found = {name: measure_membership(each, target.members) for name, each in scores.items()}
    plan = bench.plan
    if task.group == WHOLE and task.number < plan.chosen_on + plan.by_labels:
        found[LABELS] = _by_labels(task, bench, target.members)
    return found


def _by_labels(task: TargetTask, bench: MembershipBench, members: Tensor) -> Exposure:
    """Ask for labels of some members and as many others."""
    count = bench.plan.labelled
    generator = torch.Generator().manual_seed(bench.plan.seed + task.number)
    sides = [side.nonzero().flatten() for side in (members, ~members)]
    chosen = torch.cat([s[torch.randperm(len(s), generator=generator)[:count]] for s in sides])
    model = load_model(bench.model_path(f"{task.group}-{task.number:02d}"))
    target = Queried(model, reveals=Reveals.LABELS)
    shown = bench.candidates.take(chosen)
    attack = LabelRobustness(shift=bench.plan.shift)
    return measure_membership(attack.score(target, shown.images, shown.labels), members[chosen])


def _attack_forest(number: int, bench: MembershipBench) -> dict[str, Exposure]:
    """Attack a forest by others: as a user of scikit-learn would do it."""
    forests, digits = bench.forests, load_images("digits")
    rest = [n for n in range(len(forests)) if n != number]
    models = [forests.models[n] for n in rest]
    shadows = ShadowModels(models, forests.members[rest], forests.images)
    attacks: dict[str, MembershipAttack] = {
        LOSS: LossThreshold(),
        LIRA: LikelihoodRatio(shadows, variance=_choice(bench).variance),
        RMIA: RobustMembership(shadows, digits.test, a=_choice(bench).a),
        LABELS: LabelRobustness(),
    }
    shown = forests.images
    return {
        name: measure_membership(
            attack.score(Queried(forests.models[number]), shown.images, shown.labels),
            forests.members[number],
        )
        for name, attack in attacks.items()
    }


def _choice(bench: MembershipBench) -> ChoiceRecord:
    (task,) = choice_tasks(bench, {})
    records = read_records(bench.folder / "choices.jsonl", ChoiceRecord)
    return next(record for record in records if record.id == task.id)


def _target(bench: MembershipBench, group: str, number: int) -> _Target:
    answers, members = bench.answers(group), bench.members(group)
    rest = [n for n in range(len(members)) if n != number]
    within, without = _equal_sides(members[rest], seed=bench.plan.seed + number)
    return _Target(
        answers.candidates[number],
        answers.candidates[rest],
        members[rest],
        within,
        without,
        members[number],
        answers.test[number],
        answers.test[rest],
    )


def _equal_sides(members: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return who counts as trained on each image, and who as not: as many of both.

    The target is missing on its side; that must not give it away. So of the other side a model
    that is drawn does not count, either.
    """
    sides = [members, ~members]
    fewer = torch.stack([side.sum(0) for side in sides]).min(0).values
    order = torch.rand(members.shape, generator=torch.Generator().manual_seed(seed))
    kept = []
    for side in sides:
        ranks = order.masked_fill(~side, 2.0).argsort(0).argsort(0)
        kept.append(side & (ranks < fewer))
    return kept[0], kept[1]


def _lira(target: _Target, variance: Variance, online: bool = True) -> Tensor:
    return likelihood_ratios(
        target.scaled,
        target.shadows,
        target.within,
        others=target.without,
        online=online,
        variance=variance,
    )


def _rmia(target: _Target, a: float, online: bool = False) -> Tensor:
    # The sigmoid of a scaled confidence is the confidence.
    return robust_scores(
        target.scaled[:, 0].sigmoid(),
        target.shadows[:, :, 0].sigmoid(),
        target.trained,
        target.population.sigmoid(),
        target.population_shadows.sigmoid(),
        online=online,
        a=a,
    )


def _figures(name: str, exposure: Exposure) -> Found:
    least = exposure.least_fpr * (1 - 1e-9)

    def found(fpr: float) -> int | None:
        return round(exposure.tpr_at(fpr)[0] * len(exposure.members)) if fpr >= least else None

    return Found(
        attack=name,
        auc=exposure.auc[0],
        balanced=exposure.balanced_accuracy,
        members=len(exposure.members),
        others=len(exposure.others),
        found=tuple(found(fpr) for fpr in FPRS),
        curve=tuple(
            1.0 if fpr == 1 else round(exposure.tpr_at(fpr)[0], 5) if fpr >= least else 0.0
            for fpr in GRID
        ),
    )

"""Stealing: a copy of the model from its answers."""

from __future__ import annotations

from typing import Any

import torch

from molehunt.assess._assessor import Assessor, Costs, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._chase import first_images
from molehunt.assess._draw import draw_lines, rates_line, share_of
from molehunt.assess._risk import RiskStatus
from molehunt.attacks import (
    EquationSolving,
    Norm,
    PathFinding,
    ProjectedGradient,
    QueryAndTrain,
    Stolen,
    Transferred,
    evade,
)
from molehunt.networks import Queried, Reveals, logits_of
from molehunt.training import Recipe

_MOST, _FEWEST, _TRANSFERRED = 2000, 40, 100
# More answers do not need as many passes.
COPY_RECIPE = Recipe(epochs=20, batch_size=64, lr=0.005)
_LINES = 8  # on which linearity is tried; three questions each
_ALIKE, _REPEATED = 60, 0.8  # images whose answers are compared, and how many differ at most
# Of the curve: questions, the agreement and its interval.
_Point = tuple[int, tuple[float, tuple[float, float]]]


class Stealing(Assessor):
    """The share of new images that a stolen copy names as the model does.

    A linear model is solved from as many answers as it has pixels, and one; any other is learnt
    from answers to the clean pool. Where an estimator of scikit-learn answers to many images alike,
    as decision trees do, half of the questions follow its leaves one by one, and the better copy
    counts. Controls: the class that the model names most often, as the
    answer to everything; and evasion that is made on the copy.
    """

    name = "stealing"
    title = "A copy made of its answers"
    share = 1.5
    measures = ("agreement", "agreement_on_errors", "transfer")

    def obstacle(self, case: Case) -> str:
        """A pool to ask about is all that it takes."""
        if len(case.pool) < _FEWEST:
            return f"the thief has {len(case.pool)} images to ask about, {_FEWEST} are needed"
        return ""

    def seconds(self, case: Case, queries: int, costs: Costs) -> float:
        """Answers, and the training of three copies."""
        asked = min(queries, _MOST * 21 // 16)
        return asked * (costs.answer + COPY_RECIPE.epochs * costs.training)

    def measure(self, case: Case, purse: Purse) -> Found:
        """Steal with a sixteenth, a quarter and the whole of what there is to ask."""
        purse.check(2 * _FEWEST, "a theft")
        seen = case.without_weights
        judge = purse.ask(seen)
        pixels = int(case.pool.images[0].numel())
        how = "solved as equations"
        lines: list[_Point] = []
        if purse.left > pixels + 3 * _LINES and _is_linear(purse.ask(seen), case.seed):
            stolen = EquationSolving(seed=case.seed).steal(purse.ask(seen))
            lines.append((stolen.queries, stolen.agreement(judge, case.held.images)))
        else:
            how = "trained on the answers"
            followed = self._follow(case, purse)
            # The smaller thefts of the curve are paid, too.
            whole = min(_MOST, len(case.pool), purse.left * 16 // 21)
            for part in (16, 4, 1):
                if whole // part >= _FEWEST:
                    stolen = copy_of(case, whole // part).steal(purse.ask(seen))
                    lines.append((stolen.queries, stolen.agreement(judge, case.held.images)))
                    purse.tell()
            if followed is not None:
                agreement = followed.agreement(judge, case.held.images)
                if agreement[0] > lines[-1][1][0]:
                    stolen, how = followed, "its leaves followed one by one"
                    lines = [(followed.queries, agreement)]
        return self._describe(case, judge, stolen, how, lines)

    def _follow(self, case: Case, purse: Purse) -> Stolen | None:
        """Return a copy by path finding, where answers repeat as those of a decision tree."""
        if case.model.card.architecture != "scikit-learn" or not _repeats(case, purse):
            return None
        followed = PathFinding(seed=case.seed).steal(
            purse.ask(Reveals.CONFIDENCES, most=purse.left // 2)
        )
        purse.tell()
        return followed

    def _describe(
        self,
        case: Case,
        judge: Queried,
        stolen: Stolen,
        how: str,
        lines: list[_Point],
    ) -> Found:
        said = case.said_of_held
        copied = logits_of(stolen.model, case.held.images).argmax(1)
        agreed, of = int((said == copied).sum()), len(said)
        constant = int(said.bincount().max())
        wrong = said != case.held.labels
        measures = [
            share_of("agreement", agreed, of),
            share_of("agreement_on_errors", int((said == copied)[wrong].sum()), int(wrong.sum())),
        ]
        said_of_gain = ""
        if len(case.right) and not case.guesses:
            attack = ProjectedGradient(case.radius(Norm.LINF))
            images = first_images(case.right, _TRANSFERRED)
            moved = evade(judge, images, Transferred(attack, stolen.model), seed=case.seed)
            turned = int(moved.success.sum())
            measures.append(share_of("transfer", turned, len(images)))
            said_of_gain = (
                f" Changes that are made on the copy alone turn {turned} of {len(images)} images."
            )
        status, why = RiskStatus.MEASURED, ""
        if agreed <= constant:
            status = RiskStatus.INCONCLUSIVE
            why = (
                f"one class as the answer to everything agrees on {constant} of {of}: the copy "
                "learnt nothing, or there is nothing to learn"
            )
        network = stolen.model.card.architecture
        return Found(
            words=f"After {stolen.queries:,} questions a copy ({network}, {how}) names {agreed} "
            f"of {of} new images as the model does; one class for all, {constant}.{said_of_gain}",
            sees=judge.reveals,
            may=f"ask about {stolen.queries:,} images",
            measures=measures,
            status=status,
            why=why,
            knowledge="images of the kind, without labels",
            exhibits=(
                draw_lines(
                    "Agreement on new images over the questions that the thief asked",
                    [rates_line("copy", *zip(*lines, strict=True))],
                    ("questions", "agreement"),
                ),
            ),
        )


def copy_of(case: Case, queries: int) -> QueryAndTrain:
    """Return a theft by questions about the pool."""
    network, arguments = copy_network(case.pool.shape)
    return QueryAndTrain(
        queries,
        network,
        arguments,
        pool=case.pool.images,
        recipe=COPY_RECIPE.model_copy(update={"batch_size": max(8, min(64, queries // 16))}),
        seed=case.seed,
    )


def copy_network(shape: tuple[int, int, int]) -> tuple[str, dict[str, Any]]:
    """Return the architecture of a copy, and its settings, for images of a shape."""
    _, height, width = shape
    if height == width and height >= 8:
        return "vgg", {"width": 16, "stages": [1, 1]}
    return "mlp", {"hidden": [128]}


def _is_linear(target: Queried, seed: int) -> bool:
    """Tell whether logarithms of confidences are linear: halfway they are the mean of the ends."""
    if target.reveals is not Reveals.CONFIDENCES:
        return False
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.rand(2, _LINES, *target.input_shape, generator=generator)
    answers = [target.confidences(each).log() for each in (one, other, (one + other) / 2)]
    if not all(bool(each.isfinite().all()) for each in answers):
        return False
    first, second, middle = (each - each.mean(1, keepdim=True) for each in answers)
    spread = float((first - second).abs().mean())
    return spread > 0 and float((middle - (first + second) / 2).abs().max()) < 1e-2 * spread


def _repeats(case: Case, purse: Purse) -> bool:
    """Tell whether many images have the very same confidences, as those of one leaf have."""
    if case.without_weights is not Reveals.CONFIDENCES or purse.left < 2 * _MOST:
        return False
    shown = first_images(case.pool, _ALIKE)
    answers = purse.ask(Reveals.CONFIDENCES).confidences(shown.pixels()).cpu().round(decimals=6)
    different = len(answers.unique(dim=0))  # type: ignore[no-untyped-call]
    return different <= _REPEATED * len(shown)

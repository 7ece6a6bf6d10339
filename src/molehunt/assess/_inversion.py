"""Inversion: what the model takes for its classes, drawn from its answers."""

from __future__ import annotations

import torch

from molehunt.assess._assessor import Assessor, Costs, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._chase import first_images
from molehunt.assess._draw import picture_of, share_of
from molehunt.assess._risk import RiskStatus
from molehunt.assess._stealing import copy_network, copy_of
from molehunt.attacks import ModelInversion
from molehunt.errors import printable
from molehunt.networks import Classifier, Queried, Reveals, build_classifier, logits_of
from molehunt.training import Recipe, train

_CLASSES, _STEPS, _LEAST_STEPS = 20, 60, 20
_ASKED = 3  # an image and a step: two views, and the image as it is
_COPY, _JUDGED_ON = 1000, 2000  # questions of the copy; images that the judge learns from
# Whoever judges must have seen noise, or drawn images tell it nothing.
_JUDGE = Recipe(epochs=8, batch_size=64, lr=0.005, noise=0.3, shift=1)


class Inversion(Assessor):
    """The share of classes whose drawn image another network recognises.

    With weights by gradients of the model, else of a copy that is stolen first. The judge is a
    small network that learnt the classes from the clean pool, with noise, and never saw the
    model. Control: the judge has to know the clean images.
    """

    name = "inversion"
    title = "Pictures of what it was trained on"
    share = 1.5
    gradients = 1.0
    measures = ("recognised",)

    def obstacle(self, case: Case) -> str:
        """It takes confidences, and images for a judge."""
        if not case.reveals.allows(Reveals.ROUNDED):
            return "it takes weights or confidences"
        return case.guesses

    def seconds(self, case: Case, queries: int, costs: Costs) -> float:
        """Gradients, and the training of the judge."""
        if queries < min(_CLASSES, case.model.card.num_classes) * _LEAST_STEPS * _ASKED:
            return 0.0
        judged = _JUDGE.epochs * min(_JUDGED_ON, len(case.pool)) * costs.training
        return min(queries, _CLASSES * _STEPS * _ASKED) * costs.gradient + judged

    def measure(self, case: Case, purse: Purse) -> Found:
        """Draw an image of each class, and have them judged."""
        count = min(_CLASSES, case.model.card.num_classes)
        white = case.reveals is Reveals.WEIGHTS
        needed = count * _LEAST_STEPS * _ASKED if white else len(case.pool) // 2
        purse.check(min(needed, _COPY), f"drawing {count} classes")
        order = torch.randperm(
            case.model.card.num_classes, generator=torch.Generator().manual_seed(case.seed)
        )
        classes = sorted(order[:count].tolist())
        if white:
            steps = min(_STEPS, purse.left // (_ASKED * count + count))
            target = purse.ask(Reveals.WEIGHTS)
            how = "by its gradients"
        else:
            asked = min(_COPY, len(case.pool), purse.left)
            copied = copy_of(case, asked).steal(purse.ask(case.without_weights))
            steps, how = _STEPS, f"on a copy stolen with {copied.queries:,} questions"
            target = Queried(copied.model, reveals=Reveals.WEIGHTS)
        found = ModelInversion(steps=steps, seed=case.seed).invert(target, classes, purse.tell)
        judge = self._judge(case)
        held = float((_names(judge, case.held.images) == case.held.labels).float().mean())
        named = _names(judge, found.images)
        hits, of = int((named == found.classes).sum()), len(named)
        status, why = RiskStatus.MEASURED, ""
        if held < 0.5:
            status, why = (
                RiskStatus.INCONCLUSIVE,
                f"the judge knows only {held:.0%} of clean images",
            )
        elif not hits:
            status, why = (
                RiskStatus.INCONCLUSIVE,
                "the judge knows none; other attacks may draw more",
            )
        names = case.model.card.class_names
        return Found(
            words=f"Of images drawn {how}, a network that never saw the model names {hits} of {of} "
            f"right; it knows {held:.0%} of the clean images.",
            sees=case.reveals if white else case.without_weights,
            may="draw the image of a class that the model is surest of",
            measures=[share_of("recognised", hits, of)],
            status=status,
            why=why,
            knowledge="the names of the classes",
            exhibits=tuple(
                picture_of(f"drawn for {printable(names[int(each)], 30)}", image)
                for each, image in zip(found.classes[:8], found.images[:8], strict=True)
            ),
        )

    def _judge(self, case: Case) -> Classifier:
        shown = first_images(case.pool, _JUDGED_ON)
        network, arguments = copy_network(shown.shape)
        judge = build_classifier(network, shown, arguments=arguments, seed=case.seed + 1)
        train(judge, shown, _JUDGE, seed=case.seed + 1)
        return judge.freeze()


def _names(judge: Classifier, images: torch.Tensor) -> torch.Tensor:
    return logits_of(judge, images).argmax(1).cpu()

"""Poisoning: what a few poisoned images do to a copy of the model that is trained on."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

from molehunt.assess._assessor import Assessor, Costs, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._chase import beats
from molehunt.assess._draw import draw_lines, picture_of, rates_line, share_of
from molehunt.assess._risk import RiskStatus
from molehunt.backdoors import AllToOne, Backdoor, RandomPatch, Treatment, TriggeredImages
from molehunt.errors import UnsuitableSubjectError, printable, reason_of
from molehunt.networks import Classifier, Reveals, logits_of
from molehunt.rates import rate_interval
from molehunt.training import Recipe, train

_RATES = (0.01, 0.05)
_BATCH, _LEAST_STEPS, _MOST_STEPS = 32, 10, 500
_FEWEST = 200  # members: 1 % of fewer may be no image
_LOST = 0.05  # of the accuracy: then the training breaks the model, and not the poison
_PICTURES = 4


class Poisoning(Assessor):
    """The share of triggered images that the model takes for the attacker's class.

    Copies of the model are trained on for a few steps on its members, with no poison, with 1 %
    and with 5 % of copies that have a patch in the corner and the attacker's label (BadNets). An
    image of a step counts as a query. Controls, image by image: the same patch on the copy without
    poison, and no patch on the copy with it, whose labels alone teach it something; and the
    accuracy of the copy without poison.
    """

    name = "poisoning"
    title = "Poison in the training data"
    share = 2.0
    gradients = 1.0
    measures = ("success", "success_1", "control", "accuracy")

    def obstacle(self, case: Case) -> str:
        """It takes weights and members."""
        if case.reveals is not Reveals.WEIGHTS:
            return "it takes weights: a copy of the model is trained on"
        if case.members is None:
            return "no --members given: images to train on, with a few poisoned ones among them"
        if len(case.members) < _FEWEST:
            return f"it takes {_FEWEST} members"
        return case.guesses

    def seconds(self, case: Case, queries: int, costs: Costs) -> float:
        """Steps of training, which the model's gradients tell better than a copy's."""
        return min(queries, 3 * _MOST_STEPS * _BATCH) * costs.gradient

    def measure(self, case: Case, purse: Purse) -> Found:
        """Train three copies for as many steps as are paid for."""
        assert case.members is not None
        least = (1 + len(_RATES)) * _LEAST_STEPS * _BATCH
        purse.check(least, f"{_LEAST_STEPS} steps of {1 + len(_RATES)} copies")
        steps = min(_MOST_STEPS, purse.left // (1 + len(_RATES)) // _BATCH)
        backdoor = _backdoor_of(case)
        shown = backdoor.triggered(case.held, generator=_generator(case))
        control = _train_copy(case, purse, backdoor, Treatment.CLEAN, steps, shown)
        poisoned = [
            _train_copy(
                case,
                purse,
                backdoor.model_copy(update={"rate": rate}),
                Treatment.BACKDOORED,
                steps,
                shown,
            )
            for rate in _RATES
        ]
        return self._describe(case, steps, shown, control, poisoned)

    def _describe(
        self,
        case: Case,
        steps: int,
        shown: TriggeredImages,
        control: _Taught,
        poisoned: list[_Taught],
    ) -> Found:
        assert case.members is not None
        of, held = len(shown.true_labels), len(case.held)
        before = int((case.said_of_held == case.held.labels).sum())
        counts = [int(each.turned.sum()) for each in (control, *poisoned)]
        most = poisoned[-1]
        anyway = control.turned | most.without
        status, why = RiskStatus.MEASURED, ""
        if control.right < before - _LOST * held:
            status = RiskStatus.INCONCLUSIVE
            why = (
                f"training on without poison breaks the model: it gets {control.right} of {held} "
                f"images right, and {before} before"
            )
        elif not beats(most.turned, anyway):
            status = RiskStatus.INCONCLUSIVE
            why = f"{steps} steps teach the copy no trigger; more queries are more steps"
        target = printable(case.model.card.class_names[int(shown.images.labels[0])], 30)
        rates = [0.0, *_RATES]
        return Found(
            words=f"Trained on for {steps} steps of {_BATCH} of {len(case.members)} members, with "
            f"5% poisoned ones a copy takes {counts[2]} of {of} images with a patch for {target}, "
            f"with 1% {counts[1]}, without poison {counts[0]}, and without the patch "
            f"{int(most.without.sum())}; it gets {most.right} of {held} clean "
            f"images right, without poison {control.right}.",
            sees=Reveals.WEIGHTS,
            may="put 1% or 5% of images with a patch among those that it is trained on",
            measures=[
                share_of("success", counts[2], of),
                share_of("success_1", counts[1], of),
                share_of("control", int(anyway.sum()), of),
                share_of("accuracy", most.right, held, bad=False),
            ],
            status=status,
            why=why,
            knowledge="images that it is trained on",
            exhibits=(
                draw_lines(
                    "Images with the patch that are taken for the attacker's class",
                    [
                        rates_line(
                            "after training on",
                            rates,
                            [(count / of, rate_interval(count, of)) for count in counts],
                        )
                    ],
                    ("share of poisoned images", "attack success"),
                ),
                *(
                    picture_of(f"taken for {target}", shown.images.images[place])
                    for place in most.turned.nonzero().flatten()[:_PICTURES].tolist()
                ),
            ),
        )


@dataclass(frozen=True)
class _Taught:
    """What a copy takes for the attacker's class, and how many clean images it gets right."""

    turned: torch.Tensor  # of the images with the patch
    without: torch.Tensor  # of the same ones without it
    right: int


def _backdoor_of(case: Case) -> Backdoor:
    """Return a patch in a corner, an eighth of the image wide, and a class that the seed draws."""
    side = max(2, min(case.held.shape[1:]) // 8)
    target = int(torch.randint(case.model.card.num_classes, (), generator=_generator(case)))
    patch = RandomPatch(size=side, seed=case.seed, placement="bottom right")
    label_map = AllToOne(target=target)
    return Backdoor(trigger=patch, label_map=label_map, rate=_RATES[-1], of="eligible")


def _train_copy(
    case: Case,
    purse: Purse,
    backdoor: Backdoor,
    treatment: Treatment,
    steps: int,
    shown: TriggeredImages,
) -> _Taught:
    assert case.members is not None
    images = backdoor.poison(case.members, treatment=treatment, generator=_generator(case))
    # Half an image more, so that rounding does not cost a step.
    passes = (steps * _BATCH + 0.5) / len(images)
    recipe = Recipe(epochs=passes, batch_size=_BATCH, lr=0.003, precision="float32")
    done = [0]

    def pay(number: int, _total: int) -> None:
        purse.pay(_BATCH * (number - done[0]))
        done[0] = number

    try:
        taught: Classifier = copy.deepcopy(case.model).requires_grad_(True)
        train(taught, images, recipe, seed=case.seed, device=case.model.mean.device, progress=pay)
    except (NotImplementedError, RuntimeError, ValueError, TypeError) as error:
        raise UnsuitableSubjectError(
            f"the network cannot be trained on: {printable(reason_of(error), 200)}"
        ) from error
    taught.freeze()
    said = logits_of(taught, shown.images.images).argmax(1).cpu()
    clean = logits_of(taught, case.held.images).argmax(1).cpu()
    eligible = backdoor.label_map.eligible(case.held.labels)
    return _Taught(
        shown.succeeded(said),
        shown.succeeded(clean[eligible]),
        int((clean == case.held.labels).sum()),
    )


def _generator(case: Case) -> torch.Generator:
    return torch.Generator().manual_seed(case.seed)

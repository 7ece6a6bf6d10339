from __future__ import annotations

import pytest
import torch

from molehunt.attacks import ProjectedGradient, evade
from molehunt.defences import AdversarialObjective, CertifiedObjective, certify_box
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import TrainTest
from molehunt.networks import Classifier, Queried, Reveals, build_classifier
from molehunt.training import Objective, Recipe, train

EPSILON = 0.08
RECIPE = Recipe(epochs=8, batch_size=64, lr=0.02, precision="float32")
STEPS = 8 * 1347 // 64


def network(digits: TrainTest) -> Classifier:
    arguments = {"width": 4, "hidden": 30}
    return build_classifier("strided", digits.train, arguments=arguments, seed=0)


def trained(digits: TrainTest, objective: Objective | None, model: Classifier) -> tuple[int, int]:
    """Certified and attacked images of 100."""
    train(model, digits.train, RECIPE, seed=0, objective=objective)
    images = digits.test.take(torch.arange(100))
    certified = certify_box(model, images, epsilon=EPSILON, method="crown-ibp").certified
    target = Queried(model, reveals=Reveals.WEIGHTS)
    found = evade(target, images, ProjectedGradient(epsilon=EPSILON, steps=10))
    survived = found.predictions == images.labels
    assert (certified <= survived).all()
    return int(certified.sum()), int(survived.sum())


def test_training_against_bounds_certifies_and_against_attacks_withstands(
    digits: TrainTest,
) -> None:
    assert len(digits.train) == 1347
    plain = trained(digits, None, network(digits))
    assert plain[0] <= 5
    for lines in (False, True):
        model = network(digits)
        objective = CertifiedObjective(model, epsilon=EPSILON, steps=STEPS, lines=lines)
        certified, survived = trained(digits, objective, model)
        assert objective.done == STEPS
        assert certified > 40, (lines, certified)
        assert survived > plain[1] + 20, (lines, survived, plain)
    for kind in ("pgd", "trades"):
        adversarial = AdversarialObjective(epsilon=EPSILON, steps=3, kind=kind)
        _, survived = trained(digits, adversarial, network(digits))
        assert survived > plain[1] + 20, (kind, survived, plain)


def test_certified_training_begins_with_the_clean_loss(digits: TrainTest) -> None:
    model = network(digits)
    objective = CertifiedObjective(model, epsilon=0.1, steps=100, lines=True, ramp=(0.2, 0.6))
    values = [
        tuple(
            round(ramp.at(share), 3)
            for ramp in (objective.epsilon, objective.kappa, objective.beta)
        )
        for share in (0.1, 0.4, 0.8)
    ]
    assert values == [(0.0, 1.0, 1.0), (0.05, 0.75, 0.5), (0.1, 0.5, 0.0)]


def test_impossible_trainings_are_refused(digits: TrainTest) -> None:
    model = network(digits)
    with pytest.raises(InvalidRequestError, match=r"`epsilon`: expected a number in \[0, 1\]"):
        CertifiedObjective(model, epsilon=25.5, steps=10, lines=False)
    with pytest.raises(InvalidRequestError, match="1 or more steps"):
        CertifiedObjective(model, epsilon=0.1, steps=0, lines=False)
    with pytest.raises(InvalidRequestError, match="`steps`: expected 1 or more, got 0"):
        AdversarialObjective(epsilon=0.1, steps=0)
    vgg = build_classifier("vgg", digits.train, arguments={"width": 4, "stages": [1]}, seed=0)
    with pytest.raises(UnsuitableSubjectError, match=r"got features.1 \(BatchNorm2d\)"):
        CertifiedObjective(vgg, epsilon=0.1, steps=10, lines=False)

"""APGD: stronger than fixed steps at an equal price, and as strong as its authors' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from molehunt.attacks import AutoProjectedGradient, Loss, Norm, ProjectedGradient, evade
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import Classifier, Queried, Reveals, build_classifier, logits_of
from molehunt.training import Recipe, train

RADIUS = {Norm.LINF: 0.1, Norm.L2: 1.0}


@pytest.fixture(scope="module")
def model(digits: TrainTest) -> Classifier:
    built = build_classifier("vgg", digits.train, arguments={"width": 8, "stages": [1, 1]}, seed=0)
    train(built, digits.train, Recipe(epochs=3), seed=0)
    return built.freeze()


@pytest.fixture(scope="module")
def images(digits: TrainTest) -> ImageSet:
    return digits.test.take(torch.arange(100))


def margins_of(model: Classifier, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the margins that an attack makes small."""
    logits = logits_of(model, points)
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def changed(model: Classifier, images: ImageSet, attack: ProjectedGradient) -> torch.Tensor:
    target = Queried(model, reveals=Reveals.WEIGHTS)
    seeded = torch.Generator().manual_seed(0)
    return attack.perturb(target, images.pixels(), images.labels, None, seeded)


@pytest.mark.parametrize("norm", RADIUS)
@pytest.mark.parametrize("loss", Loss)
def test_it_is_stronger_than_fixed_steps_at_the_same_price(
    model: Classifier, images: ImageSet, norm: Norm, loss: Loss
) -> None:
    kinds: tuple[type[ProjectedGradient], ...] = (AutoProjectedGradient, ProjectedGradient)
    ours, plain = (
        evade(
            Queried(model, reveals=Reveals.WEIGHTS),
            images,
            kind(epsilon=RADIUS[norm] / 2, norm=norm, steps=30, loss=loss),
        )
        for kind in kinds
    )
    assert ours.queries == plain.queries
    mine, its = (margins_of(model, each.images, images.labels) for each in (ours, plain))
    assert int((mine < its).sum()) > int((its < mine).sum())
    assert int(ours.success.sum()) >= int(plain.success.sum())


@pytest.mark.parametrize("norm", RADIUS)
def test_it_is_as_strong_as_the_reference(model: Classifier, images: ImageSet, norm: Norm) -> None:
    library: Any = pytest.importorskip("pyautoattack.autopgd_base")
    attack = AutoProjectedGradient(RADIUS[norm] / 2, norm, steps=40, random_start=False)
    reference = library.APGDAttack(
        model, n_iter=40, norm={"linf": "Linf", "l2": "L2"}[norm], eps=attack.epsilon, device="cpu"
    )
    pixels, labels = images.pixels(), images.labels
    reference.init_hyperparam(pixels)
    theirs, _, _, _ = reference.attack_single_run(pixels, labels, x_init=pixels)
    mine = margins_of(model, changed(model, images, attack), labels)
    its = margins_of(model, theirs.detach(), labels)
    assert float(mine.mean()) < float(its.mean()) + 0.02 * float(its.abs().mean())


def test_one_step_is_the_fast_gradient_sign_method(model: Classifier, images: ImageSet) -> None:
    how: dict[str, Any] = {"steps": 1, "step_size": 0.1, "random_start": False}
    one, other = (
        changed(model, images, kind(epsilon=0.1, **how))
        for kind in (AutoProjectedGradient, ProjectedGradient)
    )
    assert torch.equal(one, other)

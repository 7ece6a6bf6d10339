"""Every attack that has a name, on a small network that was trained."""

from __future__ import annotations

import functools
import random
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from molehunt.attacks import ATTACKS, Evaded, EvasionAttack, Norm, evade, new_attack
from molehunt.errors import InvalidRequestError, MissingExtraError, UnsuitableSubjectError
from molehunt.images import ImageSet, load_images
from molehunt.networks import (
    BudgetSpentError,
    Classifier,
    Queried,
    Reveals,
    build_classifier,
    wrap_estimator,
)
from molehunt.training import Recipe, train

DIGITS = load_images("digits", size=12)
TEST = DIGITS.test.take(torch.arange(12))
RADIUS = {Norm.LINF: 0.3, Norm.L2: 2.5, Norm.L0: 40.0}
# Settings that are quick; what is not named here runs as it is.
QUICK: dict[str, dict[str, Any]] = {
    "pgd": {"steps": 10},
    "ddn": {"steps": 30},
    "fmn": {"steps": 40},
    "ead": {"steps": 30},
    "carlini-wagner": {"steps": 30, "stepsize": 0.1, "binary_search_steps": 3},
    "hopskipjump": {"steps": 2, "initial_gradient_eval_steps": 20},
    "boundary": {"steps": 60},
    "random-squares": {"queries": 150},
}
# What these had found is known when a budget ends; PGD asks about its last step at the end.
KEEPING = (
    "ddn",
    "fmn",
    "ead",
    "carlini-wagner",
    "deepfool",
    "hopskipjump",
    "boundary",
    "autoattack",
)
CASES = [(name, norm) for name, kind in ATTACKS.items() for norm in kind.norms]


@pytest.fixture(scope="module")
def model() -> Classifier:
    vgg = {"width": 6, "stages": [1, 1]}
    built = build_classifier("vgg", DIGITS.train, arguments=vgg, seed=0)
    train(built, DIGITS.train, Recipe(epochs=3), seed=0)
    return built


def made(name: str, norm: Norm, *, bounded: bool | None = None, **more: Any) -> EvasionAttack:
    bounded = ATTACKS[name].bounded if bounded is None else bounded
    epsilon = RADIUS[norm] if bounded else None
    return new_attack(name, norm=norm, epsilon=epsilon, **{**QUICK.get(name, {}), **more})


@pytest.fixture(scope="module")
def once(model: Classifier) -> Callable[[str, Norm], Evaded]:
    """Each attack's result, which several tests look at."""

    @functools.cache
    def run(name: str, norm: Norm) -> Evaded:
        attack = made(name, norm)
        return evade(Queried(model, reveals=attack.needs), TEST, attack)

    return run


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_it_succeeds_within_its_norm_and_says_so_by_its_seed(
    name: str, norm: Norm, model: Classifier, once: Callable[[str, Norm], Evaded]
) -> None:
    attack = made(name, norm)
    assert (attack.norm, attack.needs) == (norm, ATTACKS[name].needs)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = evade(Queried(model, reveals=attack.needs), TEST, attack)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())
    assert torch.equal(result.images, once(name, norm).images)
    if attack.epsilon is not None:
        change = (result.images.float() - TEST.images.float()) / 255
        assert float(norm.of(change).max()) <= attack.epsilon + 1e-5
    assert result.queries > 0
    assert result.success_rate[0] >= (0.5 if name == "fgsm" else 0.9), result.success_rate
    assert torch.equal(result.images[~result.attacked], TEST.images[~result.attacked])


@pytest.mark.parametrize(
    ("name", "norm"), [(name, kind.norms[0]) for name, kind in ATTACKS.items()]
)
def test_what_it_returns_are_pixels(name: str, norm: Norm, model: Classifier) -> None:
    attack = made(name, norm)
    few = TEST.take(torch.arange(2))
    target = Queried(model, reveals=attack.needs)
    found = attack.perturb(target, few.pixels(), few.labels, None, torch.Generator())
    assert found.shape == few.images.shape and found.dtype == torch.float32
    assert float(found.min()) >= 0 and float(found.max()) <= 1


@pytest.mark.parametrize(("name", "norm"), [case for case in CASES if ATTACKS[case[0]].targeted])
def test_a_class_that_is_wanted_is_reached(name: str, norm: Norm, model: Classifier) -> None:
    attack = made(name, norm, **({"starts": TEST.pixels()} if ATTACKS[name].starts else {}))
    result = evade(Queried(model, reveals=attack.needs), TEST, attack, targets=torch.full((12,), 8))
    least = 0.1 if name in ("fgsm", "random-squares") else 0.6
    assert int(result.success.sum()) >= least * int(result.attacked.sum())
    assert bool((result.predictions[result.success] == 8).all())


@pytest.mark.parametrize(("name", "norm"), [case for case in CASES if not ATTACKS[case[0]].bounded])
def test_what_is_larger_than_epsilon_is_no_success(
    name: str, norm: Norm, model: Classifier, once: Callable[[str, Norm], Evaded]
) -> None:
    free = once(name, norm)
    middle = float(free.sizes(norm).median())
    attack = new_attack(name, norm=norm, epsilon=middle, **QUICK.get(name, {}))
    held = evade(Queried(model, reveals=attack.needs), TEST, attack)
    change = (held.images.float() - TEST.images.float()) / 255
    assert float(norm.of(change).max()) <= middle + 1e-5
    assert 0 < int(held.success.sum()) <= int(free.success.sum())


class Changed(torch.nn.Module):
    """A network whose logits are changed."""

    def __init__(self, inner: torch.nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, images: Tensor) -> Tensor:
        return self.change(self.inner(images))


WALKS = [name for name, kind in ATTACKS.items() if kind.needs is Reveals.LABELS]


@pytest.mark.parametrize("name", WALKS)
def test_attacks_on_labels_run_on_a_tree(name: str) -> None:
    rows = DIGITS.train.pixels().flatten(1).numpy()
    tree = DecisionTreeClassifier(random_state=0).fit(rows, DIGITS.train.labels.numpy())
    target = Queried(wrap_estimator(tree, TEST.shape), reveals=Reveals.LABELS)
    result = evade(target, TEST, new_attack(name, **QUICK.get(name, {})))
    assert result.success_rate[0] > 0.7


@pytest.mark.parametrize("name", [name for name in WALKS if ATTACKS[name].starts])
def test_images_without_a_start_leave_the_others_alone(name: str, model: Classifier) -> None:
    """The model takes nothing for a 9, which the first image shall become."""
    network = Changed(model.network, lambda logits: logits - 99 * (torch.arange(10) == 9))
    target = Queried(Classifier(network, model.card), reveals=Reveals.LABELS)
    wanted = torch.full((12,), 3)
    wanted[0] = 9
    attack = new_attack(name, **QUICK.get(name, {}))
    changed = attack.perturb(target, TEST.pixels(), TEST.labels, wanted, torch.Generator())
    assert torch.equal(changed[0], TEST.pixels()[0])
    assert int((target.predict(changed) == wanted).sum()) > 7
    alone = (TEST.pixels()[:1], TEST.labels[:1], wanted[:1])
    assert torch.equal(attack.perturb(target, *alone, torch.Generator())[0], alone[0][0])


@pytest.mark.parametrize(
    ("name", "norm"), [(name, kind.norms[0]) for name, kind in ATTACKS.items()]
)
def test_a_budget_that_ends_within_a_batch_keeps_what_was_found(
    name: str, norm: Norm, model: Classifier, once: Callable[[str, Norm], Evaded]
) -> None:
    attack = made(name, norm)
    budget = int(once(name, norm).queries * 0.7)
    target = Queried(model, reveals=attack.needs, budget=budget)
    part = evade(target, TEST, attack)
    assert f"the budget of {budget} queries is spent" in part.note
    assert part.queries <= budget
    if name in KEEPING:
        assert int(part.success.sum()) > 0
    with pytest.raises(BudgetSpentError) as error:
        attack.perturb(
            Queried(model, reveals=attack.needs, budget=1),
            TEST.pixels(),
            TEST.labels,
            None,
            torch.Generator(),
        )
    assert error.value.found is None or torch.equal(error.value.found, TEST.pixels())


@pytest.mark.parametrize(
    ("name", "norm"), [c for c in CASES if ATTACKS[c[0]].needs is Reveals.WEIGHTS]
)
def test_what_needs_weights_is_refused_without_them(
    name: str, norm: Norm, model: Classifier
) -> None:
    target = Queried(model, reveals=Reveals.CONFIDENCES)
    with pytest.raises(InvalidRequestError, match="a target that reveals weights"):
        evade(target, TEST, made(name, norm))
    assert target.queries == 0


@pytest.mark.parametrize("name", WALKS)
def test_answers_at_random_end_no_attack(name: str, model: Classifier) -> None:
    noisy = Classifier(
        Changed(model.network, lambda logits: logits + 3 * torch.randn_like(logits)), model.card
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attack = new_attack(name, **QUICK.get(name, {}))
        result = evade(Queried(noisy, reveals=Reveals.LABELS), TEST, attack)
    assert int(result.attacked.sum()) > 0


@pytest.mark.parametrize("name", ["pgd", "fmn"])
def test_gradients_that_are_not_finite_are_said(name: str, model: Classifier) -> None:
    # The values stay right; the gradients do not.
    network = Changed(model.network, lambda logits: logits + (logits - logits).sqrt())
    broken = Classifier(network, model.card)
    with pytest.raises(UnsuitableSubjectError, match="gradients are not finite"):
        evade(Queried(broken, reveals=Reveals.WEIGHTS), TEST, made(name, Norm.LINF))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "pdg"}, "attack: expected one of fgsm, pgd"),
        ({"name": "pgd"}, "attack pgd: expected an epsilon, got none"),
        ({"name": "ddn", "norm": "linf"}, "norm of attack ddn: expected l2, got linf"),
        ({"name": "fmn", "norm": "l7"}, "norm of attack fmn: expected linf or l2 or l0, got l7"),
        ({"name": "fmn", "paces": 3}, "settings of attack fmn: .*, got paces"),
        ({"name": "fmn", "steps": 0}, "steps: expected 1 or more, got 0"),
    ],
)
def test_what_cannot_be_made_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        new_attack(**settings)


def test_without_the_extra_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(MissingExtraError, match=r'needs the extra "attacks": pip install'):
        new_attack("fmn")


@pytest.mark.parametrize("classes", [2, 3])
def test_autoattack_runs_where_the_losses_of_the_standard_do_not_exist(
    classes: int, model: Classifier
) -> None:
    network = Changed(model.network, lambda logits: logits[:, :classes])
    card = model.card.model_copy(update={"class_names": DIGITS.train.class_names[:classes]})
    few = DIGITS.test.take((DIGITS.test.labels < classes).nonzero().flatten()[:10])
    shown = ImageSet(few.images, few.labels, few.class_names[:classes])
    target = Queried(Classifier(network, card), reveals=Reveals.WEIGHTS)
    result = evade(target, shown, new_attack("autoattack", epsilon=0.5))
    assert result.success_rate[0] > 0.5


def test_autoattack_draws_at_random_models_and_takes_no_target(model: Classifier) -> None:
    target = Queried(model, reveals=Reveals.WEIGHTS)
    attack = new_attack("autoattack", epsilon=0.3, version="rand")
    few = TEST.take(torch.arange(1))
    # 20 draws at each of 100 steps.
    assert evade(target, few, attack).queries > 100 * 20
    with pytest.raises(InvalidRequestError, match="no target"):
        attack.perturb(target, few.pixels(), few.labels, few.labels, torch.Generator())
    with pytest.raises(InvalidRequestError, match="standard or rand"):
        new_attack("autoattack", epsilon=0.02, version="plus")


def test_fmn_in_l2_is_as_close_as_ddn(model: Classifier) -> None:
    """With the projection of foolbox 3.3.4 its changes are three times as large."""
    sizes = []
    for name in ("fmn", "ddn"):
        target = Queried(model, reveals=Reveals.WEIGHTS)
        result = evade(target, TEST, new_attack(name, norm=Norm.L2))
        sizes.append(float(result.sizes(Norm.L2).median()))
    assert sizes[0] < 1.2 * sizes[1]

"""Attacks of foolbox and ART one by one beside ours: same network, images, radius and steps.

Everybody's images are judged as 8-bit files. A library's boundary attacks end where rounding
turns them back, so what they return is judged as it is, too. Ours on foolbox run its attacks on
a `Queried`; what differs is what is kept, pushed and rounded.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from molehunt.attacks import (
    LabelRobustness,
    LossThreshold,
    MembershipAttack,
    Norm,
    evade,
    measure_membership,
    new_attack,
    to_bytes,
)
from molehunt.images import ImageSet, load_images
from molehunt.networks import Classifier, Queried, build_classifier, logits_of
from molehunt.rates import rate_interval
from molehunt.training import Recipe, train

_VGG = {"width": 8, "stages": [1, 1]}
_TRAINED, _PASSES = 1000, 10
_IMAGES, _ASKED = 100, 10  # attacked by gradients, and by labels alone
_EPSILON, _STEPS, _SMALLEST, _WALKS = 0.1, 40, 50, 5
_CANDIDATES = 1000  # members, and as many others


class Counted(nn.Module):
    """The network, asked in single precision, with a count of the images it was asked about."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model, self.asked = model, 0

    def forward(self, pixels: Tensor) -> Tensor:
        self.asked += len(pixels)
        logits: Tensor = self.model(pixels.float())
        return logits


def run() -> str:
    """Return a line an attack: what it reaches, questions an image, seconds."""
    if "MOLEHUNT_DATA" not in os.environ:
        return "needs MOLEHUNT_DATA with MNIST"
    images = load_images("mnist", data_root=Path(os.environ["MOLEHUNT_DATA"]))
    mine = images.train.take(torch.arange(_TRAINED))
    model = build_classifier("vgg", mine, arguments=_VGG, seed=0)
    train(model, mine, Recipe(epochs=_PASSES, batch_size=50), seed=0)
    model.freeze()
    right = logits_of(model, images.test.images[:200]).argmax(1) == images.test.labels[:200]
    few = images.test.take(right.nonzero().flatten()[:_IMAGES])
    said = []
    for line in chain(
        _evasions(model, few),
        _members(model, mine, images.test.take(torch.arange(200, 200 + _CANDIDATES))),
        _minima(model, few),
        _walks(model, few.take(torch.arange(_ASKED))),
    ):
        print(f"  {line}", flush=True)
        said.append(line)
    return f"{len(said)} lines"


def _evasions(model: Classifier, clean: ImageSet) -> Iterator[str]:
    ball = {"norm": Norm.LINF, "epsilon": _EPSILON, "steps": _STEPS}
    for name in ("pgd", "projected-gradient"):
        yield _ours(model, clean, name, Norm.LINF, **ball)
    yield from _foolbox(
        model, clean, Norm.LINF, "LinfProjectedGradientDescentAttack", _EPSILON,
        steps=_STEPS, rel_stepsize=2.5 / _STEPS,
    )  # fmt: skip
    bound = {"norm": np.inf, "eps": _EPSILON, "max_iter": _STEPS}
    step = 2.5 * _EPSILON / _STEPS
    yield from _art(
        model, clean, Norm.LINF, "ProjectedGradientDescentPyTorch", _EPSILON, eps_step=step, **bound
    )
    yield from _art(
        model, clean, Norm.LINF, "AutoProjectedGradientDescent", _EPSILON,
        eps_step=2 * _EPSILON, nb_random_init=1, loss_type="cross_entropy", **bound,
    )  # fmt: skip


def _minima(model: Classifier, clean: ImageSet) -> Iterator[str]:
    for name in ("fmn", "ddn"):
        yield _ours(model, clean, name, Norm.L2, norm=Norm.L2, steps=_SMALLEST)
    carlini = {"binary_search_steps": 5}
    yield from _foolbox(model, clean, Norm.L2, "L2FMNAttack", None, steps=_SMALLEST)
    yield from _foolbox(model, clean, Norm.L2, "DDNAttack", None, steps=_SMALLEST)
    yield from _foolbox(model, clean, Norm.L2, "L2DeepFoolAttack", None, steps=_SMALLEST)
    yield from _foolbox(
        model, clean, Norm.L2, "L2CarliniWagnerAttack", None, steps=_SMALLEST, **carlini
    )
    yield from _art(model, clean, Norm.L2, "DeepFool", None, max_iter=_SMALLEST, nb_grads=10)
    yield from _art(model, clean, Norm.L2, "CarliniL2Method", None, max_iter=20, **carlini)


def _walks(model: Classifier, clean: ImageSet) -> Iterator[str]:
    yield _ours(model, clean, "hopskipjump", Norm.L2, norm=Norm.L2, steps=_WALKS)
    yield from _foolbox(model, clean, Norm.L2, "HopSkipJumpAttack", None, steps=_WALKS)
    yield from _art(
        model, clean, Norm.L2, "HopSkipJump", None, norm=2, max_iter=_WALKS,
        max_eval=1000, init_eval=100,
    )  # fmt: skip


def _ours(model: Classifier, clean: ImageSet, name: str, norm: Norm, /, **settings: Any) -> str:
    attack = new_attack(name, **settings)
    found = evade(Queried(model, reveals=attack.needs), clean, attack, seed=0)
    each = found.queries / len(clean)
    reached = _reached(found.originals, found.images.float() / 255, found.success, norm)
    return f"ours {name}: {reached}, {each:.0f} an image, {found.seconds:.1f} s"


def _foolbox(
    model: Classifier, clean: ImageSet, norm: Norm, name: str, epsilon: float | None, /, **how: Any
) -> Iterator[str]:
    try:
        foolbox = importlib.import_module("foolbox")
    except ImportError:
        yield f"foolbox {name}: needs foolbox: pip install foolbox"
        return

    def change(counted: nn.Module) -> Tensor:
        asked = foolbox.PyTorchModel(counted.eval(), bounds=(0, 1), device="cpu")
        attack = getattr(foolbox.attacks, name)(**how)
        _, found, _ = attack(asked, clean.pixels(), clean.labels, epsilons=epsilon)
        return found  # type: ignore[no-any-return]

    yield _theirs(model, clean, f"foolbox {name}", norm, epsilon, change)


def _art(
    model: Classifier, clean: ImageSet, norm: Norm, name: str, epsilon: float | None, /, **how: Any
) -> Iterator[str]:
    try:
        art = importlib.import_module("art.attacks.evasion")
    except ImportError:
        yield f"ART {name}: needs adversarial-robustness-toolbox, multiprocess, tqdm and pandas"
        return

    def change(counted: nn.Module) -> Tensor:
        attack = getattr(art, name)(
            art_estimator(counted), batch_size=len(clean), verbose=False, **how
        )
        given = () if epsilon is None else (np.eye(10, dtype=np.float32)[clean.labels.numpy()],)
        return torch.from_numpy(attack.generate(clean.pixels().numpy(), *given)).float()

    yield _theirs(model, clean, f"ART {name}", norm, epsilon, change)


def art_estimator(model: nn.Module) -> Any:
    return importlib.import_module("art.estimators.classification").PyTorchClassifier(
        model=model.eval(),
        loss=nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        clip_values=(0, 1),
        device_type="cpu",
    )


def _theirs(
    model: Classifier,
    clean: ImageSet,
    name: str,
    norm: Norm,
    epsilon: float | None,
    change: Callable[[nn.Module], Tensor],
) -> str:
    counted = Counted(model)
    torch.manual_seed(0)
    np.random.seed(0)
    started = time.perf_counter()
    changed = change(counted).detach()
    seconds = time.perf_counter() - started
    each = counted.asked / len(clean)
    with torch.no_grad():
        fooled = model(changed).argmax(1) != clean.labels
    saved = to_bytes(changed, clean.images, norm if epsilon else None, epsilon)
    held = logits_of(model, saved).argmax(1) != clean.labels
    return (
        f"{name}: {_reached(clean.images, saved.float() / 255, held, norm)} "
        f"(as returned: {_reached(clean.images, changed, fooled, norm)}), "
        f"{each:.0f} an image, {seconds:.1f} s"
    )


def _reached(originals: Tensor, changed: Tensor, fooled: Tensor, norm: Norm) -> str:
    """Say how many are turned; in L2 the median length, which of the others is infinite."""
    n, turned = len(fooled), int(fooled.sum())
    low, high = rate_interval(turned, n)
    rate = f"{turned}/{n} [{low:.2f}, {high:.2f}]"
    if norm is not Norm.L2:
        return rate
    sizes = norm.of(changed - originals.float() / 255)
    sizes[~fooled] = torch.inf
    ordered = sizes.sort().values
    # The median lies between these order statistics with at least 95 %.
    below = max(0, int(stats.binom.ppf(0.025, n, 0.5)) - 1)
    ends = f"[{float(ordered[below]):.3f}, {float(ordered[n - 1 - below]):.3f}]"
    return f"{turned}/{n}, median {float(ordered[(n - 1) // 2]):.3f} {ends}"


def _members(model: Classifier, mine: ImageSet, others: ImageSet) -> Iterator[str]:
    # The first half of both sides is for attacks that learn; all are measured on the second.
    half = _CANDIDATES // 2
    sides = [side.take(torch.arange(half, 2 * half)) for side in (mine, others)]
    both = sides[0].joined(sides[1])
    member = torch.arange(2 * half) < half
    ours: tuple[MembershipAttack, ...] = (LossThreshold(), LabelRobustness())
    for attack in ours:
        target = Queried(model, reveals=attack.needs)
        started = time.perf_counter()
        scores = attack.score(target, both.images, both.labels)
        seconds = time.perf_counter() - started
        each = target.queries / len(both)
        yield f"ours {attack.name}: {_leaks(scores, member)}, {each:.0f} an image, {seconds:.1f} s"
    try:
        art = importlib.import_module("art.attacks.inference.membership_inference")
    except ImportError:
        yield "ART membership: needs adversarial-robustness-toolbox, multiprocess, tqdm and pandas"
        return
    estimator = art_estimator(nn.Sequential(Counted(model), nn.Softmax(1)))
    x, y = both.pixels().numpy(), both.labels.numpy()
    for name, settings in (
        ("MembershipInferenceBlackBoxRuleBased", {}),
        ("MembershipInferenceBlackBox", {"attack_model_type": "rf"}),
    ):
        torch.manual_seed(0)
        np.random.seed(0)
        started = time.perf_counter()
        attack = getattr(art, name)(estimator, **settings)
        if settings:
            seen, unseen = (side.take(torch.arange(half)) for side in (mine, others))
            attack.fit(
                seen.pixels().numpy(), seen.labels.numpy(),
                unseen.pixels().numpy(), unseen.labels.numpy(),
            )  # fmt: skip
            guessed = attack.infer(x, y, probabilities=True)
        else:
            guessed = attack.infer(x, y)
        seconds = time.perf_counter() - started
        scores = torch.from_numpy(np.asarray(guessed)).flatten().double()
        kind = " ".join([name, *settings.values()])
        yield f"ART {kind}: {_leaks(scores, member)}, {seconds:.1f} s"


def _leaks(scores: Tensor, members: Tensor) -> str:
    area, (low, high) = measure_membership(scores, members).auc
    return f"AUC {area:.3f} [{low:.3f}, {high:.3f}] n={len(scores)}"

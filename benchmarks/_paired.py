"""Gradient attacks beside foolbox's, ART's and AutoAttack's, image by image at an equal price.

All climb the same network's cross entropy on the same images, in the same ball and from one
start, with as many gradients, but ART's second AutoPGD, which climbs the DLR loss. Everybody's
images are judged as 8-bit files. A pair is decided by the images that one of both turns alone,
with McNemar's exact test.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from benchmarks._beside import Counted, art_estimator
from molehunt.attacks import Norm, evade, new_attack, to_bytes
from molehunt.images import ImageSet, load_images
from molehunt.networks import Classifier, Queried, Reveals, build_classifier, logits_of
from molehunt.rates import rate_interval
from molehunt.training import Recipe, train

_VGG = {"width": 8, "stages": [1, 1]}
_RADII = {Norm.LINF: 0.1, Norm.L2: 1.5}
_IMAGES, _STEPS = 300, 40
_OURS = ("projected-gradient", "auto-projected-gradient")


def run() -> str:
    """Return a line an attack, and a line a pair of ours and another's."""
    if "MOLEHUNT_DATA" not in os.environ:
        return "needs MOLEHUNT_DATA with MNIST"
    images = load_images("mnist", data_root=Path(os.environ["MOLEHUNT_DATA"]))
    mine = images.train.take(torch.arange(5000))
    model = build_classifier("vgg", mine, arguments=_VGG, seed=0)
    train(model, mine, Recipe(epochs=4), seed=0)
    model.freeze()
    few = images.test.take(torch.arange(_IMAGES))
    clean = few.take(logits_of(model, few.images).argmax(1) == few.labels)
    for norm, epsilon in _RADII.items():
        print(f"  {norm} {epsilon}, {_STEPS} steps, {len(clean)} images", flush=True)
        turned = dict(_all(model, clean, norm, epsilon))
        for ours in _OURS:
            for other, its in turned.items():
                if other not in _OURS or ours == _OURS[1] != other:
                    print(f"    {_pair(ours, turned[ours], other, its)}", flush=True)
    return f"{len(_RADII)} norms"


def _all(
    model: Classifier, clean: ImageSet, norm: Norm, epsilon: float
) -> Iterator[tuple[str, Tensor]]:
    """Yield each attack's name and which images it turns, bool [N]."""
    for name in _OURS:
        target = Queried(model, reveals=Reveals.WEIGHTS)
        attack = new_attack(name, norm=norm, epsilon=epsilon, steps=_STEPS)
        found = evade(target, clean, attack, seed=0).success
        yield _said(name, found, target.queries / len(clean))
    for name, change in _others(clean, norm, epsilon).items():
        counted = Counted(model).eval()
        torch.manual_seed(0)
        np.random.seed(0)
        try:
            changed = change(counted).detach()
        except ImportError as error:
            print(f"    {name}: needs {error.name}", flush=True)
            continue
        saved = to_bytes(changed, clean.images, norm, epsilon)
        turned = logits_of(model, saved).argmax(1) != clean.labels
        yield _said(name, turned, counted.asked / len(clean))


def _others(clean: ImageSet, norm: Norm, epsilon: float) -> dict[str, Callable[[Counted], Tensor]]:
    pixels, labels = clean.pixels(), clean.labels
    one_hot = np.eye(10, dtype=np.float32)[labels.numpy()]
    order, name = (np.inf, "Linf") if norm is Norm.LINF else (2, "L2")
    step = 2.5 * epsilon / _STEPS

    def foolbox(counted: Counted) -> Tensor:
        library = importlib.import_module("foolbox")
        kind = "LinfProjectedGradientDescentAttack"
        if norm is Norm.L2:
            kind = "L2ProjectedGradientDescentAttack"
        attack = getattr(library.attacks, kind)(steps=_STEPS, rel_stepsize=2.5 / _STEPS)
        asked = library.PyTorchModel(counted, bounds=(0, 1), device="cpu")
        found: Tensor = attack(asked, pixels, labels, epsilons=epsilon)[1]
        return found

    def art(kind: str, **how: Any) -> Callable[[Counted], Tensor]:
        def change(counted: Counted) -> Tensor:
            attack = getattr(importlib.import_module("art.attacks.evasion"), kind)(
                art_estimator(counted), norm=order, eps=epsilon, max_iter=_STEPS,
                batch_size=len(pixels), verbose=False, **how,
            )  # fmt: skip
            return torch.from_numpy(attack.generate(pixels.numpy(), one_hot)).float()

        return change

    def reference(counted: Counted) -> Tensor:
        library = importlib.import_module("pyautoattack.autopgd_base")
        attack = library.APGDAttack(
            counted, n_iter=_STEPS, norm=name, eps=epsilon, loss="ce", n_restarts=1, device="cpu"
        )
        found: Tensor = attack.perturb(pixels, labels)
        return found

    auto = {"eps_step": 2 * epsilon, "nb_random_init": 1}
    return {
        "foolbox PGD": foolbox,
        "ART PGD": art("ProjectedGradientDescentPyTorch", eps_step=step),
        "ART AutoPGD": art("AutoProjectedGradientDescent", loss_type="cross_entropy", **auto),
        "ART AutoPGD, DLR": art(
            "AutoProjectedGradientDescent", loss_type="difference_logits_ratio", **auto
        ),
        "AutoAttack's own APGD": reference,
    }


def _said(name: str, turned: Tensor, asked: float) -> tuple[str, Tensor]:
    count, of = int(turned.sum()), len(turned)
    low, high = rate_interval(count, of)
    print(f"    {name}: {count}/{of} [{low:.2f}, {high:.2f}], {asked:.0f} an image", flush=True)
    return name, turned


def _pair(ours: str, mine: Tensor, other: str, its: Tensor) -> str:
    only, alone = int((mine & ~its).sum()), int((its & ~mine).sum())
    p_value = binomtest(only, only + alone).pvalue if only + alone else 1.0
    return f"{ours} alone {only}, {other} alone {alone}, p {p_value:.2g}"

"""Every risk of an assessment beside ART's attack of the kind: same model, images and radius."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._stealing import wrapped
from molehunt.assess import Case, Risk, assess, new_case
from molehunt.attacks import Norm, measure_membership, to_bytes
from molehunt.findings import Picture
from molehunt.images import ImageSet, load_images
from molehunt.networks import Classifier, build_classifier, logits_of
from molehunt.rates import rate_interval
from molehunt.training import Recipe, train

_VGG = {"width": 8, "stages": [1, 1]}
_COPY = {"width": 16, "stages": [1, 1]}
_RISKS = ["evasion-linf", "evasion-l2", "evasion-labels", "stealing", "membership", "inversion"]
_QUERIES = 40_000


def run() -> str:
    """Return a line a risk: ours, and ART's on the same images."""
    if "MOLEHUNT_DATA" not in os.environ:
        return "needs MOLEHUNT_DATA with MNIST"
    try:
        importlib.import_module("art.attacks.evasion")
    except ImportError:
        return (
            "needs adversarial-robustness-toolbox, multiprocess, tqdm and pandas: pip install them"
        )
    images = load_images("mnist", data_root=Path(os.environ["MOLEHUNT_DATA"]))
    mine = images.train.take(torch.arange(5000))
    model = build_classifier("vgg", mine, arguments=_VGG, seed=0)
    train(model, mine, Recipe(epochs=4), seed=0)
    case = new_case(model.freeze(), images.test, members=mine)
    found = assess(case, only=_RISKS, queries=_QUERIES)
    beside: dict[str, Callable[[Risk], str]] = {
        "evasion-linf": lambda risk: _projected(case, risk, np.inf, Norm.LINF),
        "evasion-l2": lambda risk: _projected(case, risk, 2, Norm.L2),
        "evasion-labels": lambda risk: _hop(case, risk),
        "stealing": lambda risk: _knockoff(case, risk),
        "membership": lambda risk: _member(case, risk),
        "inversion": lambda risk: _face(case, mine, risk),
    }
    said = []
    for risk in found.risks:
        started = time.perf_counter()
        theirs = beside[risk.name](risk)
        seconds = time.perf_counter() - started
        assert risk.price is not None
        ours = ", ".join(
            f"{each.name} {each.value:.3f} {_ends(each.interval)} n={each.n}"
            for each in risk.measures
        )
        said.append(
            f"\n  {risk.name}: ours {ours}, {risk.price.seconds:.0f} s with controls; "
            f"ART {theirs}, {seconds:.0f} s"
        )
    return "".join(said)


def _ends(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"[{interval[0]:.3f}, {interval[1]:.3f}]"


class _Float(nn.Module):
    """ART's HopSkipJump asks in double precision, which the network has not."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.float()


def _estimator(case: Case, last: nn.Module | None = None) -> Any:
    classifier = importlib.import_module("art.estimators.classification").PyTorchClassifier
    return classifier(
        model=nn.Sequential(_Float(), case.model, last or nn.Softmax(1)).eval(),
        loss=nn.CrossEntropyLoss(),
        input_shape=case.model.card.input_shape,
        nb_classes=case.model.card.num_classes,
        clip_values=(0, 1),
        device_type="cpu",
    )


def _attacked(case: Case, risk: Risk) -> ImageSet:
    return case.right.take(torch.arange(risk.measures[0].n))


def _turned(case: Case, images: ImageSet, changed: Tensor) -> int:
    return int((logits_of(case.model, changed).argmax(1) != images.labels).sum())


def _projected(case: Case, risk: Risk, order: float, norm: Norm) -> str:
    art = importlib.import_module("art.attacks.evasion")
    images, epsilon = _attacked(case, risk), case.radius(norm)
    logits = _estimator(case, nn.Identity())
    attack = art.ProjectedGradientDescentPyTorch(
        logits, norm=order, eps=epsilon, eps_step=epsilon / 8, max_iter=40,
        batch_size=100, verbose=False,
    )  # fmt: skip
    labels = np.eye(10, dtype=np.float32)[images.labels.numpy()]
    changed = torch.from_numpy(attack.generate(images.pixels().numpy(), labels))
    turned = _turned(case, images, to_bytes(changed, images.images, norm, epsilon))
    return f"PGD success {turned / len(images):.3f} {_ends(rate_interval(turned, len(images)))}"


def _hop(case: Case, risk: Risk) -> str:
    art = importlib.import_module("art.attacks.evasion")
    images = _attacked(case, risk)
    attack = art.HopSkipJump(
        _estimator(case), norm=2, max_iter=5, max_eval=1000, init_eval=100, verbose=False
    )
    changed = torch.from_numpy(attack.generate(images.pixels().numpy()))
    saved = to_bytes(changed, images.images)
    sizes = Norm.L2.of((saved.float() - images.images.float()) / 255)
    fooled = logits_of(case.model, saved).argmax(1) != images.labels
    sizes[~fooled] = torch.inf
    return f"HopSkipJump median_l2 {float(sizes.median()):.3f}"


def _knockoff(case: Case, risk: Risk) -> str:
    art = importlib.import_module("art.attacks.extraction")
    queries = int(risk.may.split()[2].replace(",", ""))
    copy = wrapped(build_classifier("vgg", case.pool, arguments=_COPY, seed=0))
    attack = art.KnockoffNets(
        _estimator(case), batch_size_fit=64, batch_size_query=500, nb_epochs=20,
        nb_stolen=queries, use_probability=True, sampling_strategy="random", verbose=False,
    )  # fmt: skip
    attack.extract(case.pool.pixels().numpy(), thieved_classifier=copy)
    with torch.no_grad():
        named = copy.model.eval()(case.held.pixels()).argmax(1)
    same = int((named == logits_of(case.model, case.held.images).argmax(1)).sum())
    of = len(case.held)
    return f"KnockoffNets agreement {same / of:.3f} {_ends(rate_interval(same, of))}"


def _member(case: Case, risk: Risk) -> str:
    art = importlib.import_module("art.attacks.inference.membership_inference")
    assert case.members is not None
    others = case.held.joined(case.pool)
    half = risk.measures[0].n // 2
    # Its learned attack is fitted to one half of both sides and measured on the other.
    attack = art.MembershipInferenceBlackBox(_estimator(case), attack_model_type="rf")
    attack.fit(*_pair(case.members, 0, half), *_pair(others, 0, half))
    scores = [
        attack.infer(*_pair(side, half, 2 * half), probabilities=True)
        for side in (case.members, others)
    ]
    joined = torch.from_numpy(np.concatenate(scores)).flatten().double()
    exposure = measure_membership(joined, torch.arange(2 * half) < half)
    return f"black box auc {exposure.auc[0]:.3f} {_ends(exposure.auc[1])} n={2 * half}"


def _pair(images: ImageSet, start: int, end: int) -> tuple[Any, Any]:
    return images.pixels()[start:end].numpy(), images.labels[start:end].numpy()


def _face(case: Case, mine: ImageSet, risk: Risk) -> str:
    art = importlib.import_module("art.attacks.inference.model_inversion")
    judge = build_classifier("vgg", mine, arguments=_COPY, seed=5)
    train(judge, mine, Recipe(epochs=5, noise=0.3, shift=1), seed=5)
    ours = torch.stack(
        [torch.from_numpy(each.pixels) for each in risk.exhibits if isinstance(each, Picture)]
    )
    attack = art.MIFace(_estimator(case), max_iter=1000, threshold=0.99, verbose=False)
    drawn = torch.from_numpy(attack.infer(None, np.arange(len(ours))))
    hits = [_named(judge.freeze(), pictures) for pictures in (drawn, ours)]
    return f"MIFace: a third network names {hits[0]} of {len(ours)} of its, {hits[1]} of ours"


def _named(judge: Classifier, drawn: Tensor) -> int:
    saved = (drawn.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return int((logits_of(judge, saved).argmax(1) == torch.arange(len(drawn))).sum())

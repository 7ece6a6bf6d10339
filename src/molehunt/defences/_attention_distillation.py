"""Neural attention distillation (Li and others, 2021)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.defences._repair import Repaired, split_for_repair
from molehunt.errors import UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent
from molehunt.training import Batch, Recipe, clean_accuracy, train

# Large steps, as in the paper: small ones leave the teacher its backdoor.
FORGETTING = Recipe(epochs=20, batch_size=64, lr=0.1, optimizer="sgd", weight_decay=1e-4)


def distil_attention(
    model: Classifier,
    clean: ImageSet,
    *,
    strength: float = 1000.0,
    tuning: Recipe = FORGETTING,
    seed: int = 0,
    progress: Progress = silent,
) -> Repaired:
    """Tune a teacher on clean images, then teach the model to attend as it does (NAD).

    The attention of a layer is the sum of its squared channels, at each place, over its norm.
    Besides cross entropy the student's squared distance to the teacher's attention is
    minimised, summed over three layers: the last convolution of the network, and the last ones
    before its two last changes of size.

    Parameters
    ----------
    model, clean, seed, progress
        As in `RepairMethod`.
    strength : float
        Of the distance, beside the cross entropy; 500 to 1,000 for the layers in the paper.
    tuning : Recipe
        Of both trainings; 10 epochs at rates from 0.1 down in the paper.

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        As `RepairMethod`; also if the model has no convolution.

    References
    ----------
    Li, Lyu, Koren, Lyu, Li, Ma: Neural Attention Distillation: Erasing Backdoor Triggers from
    Deep Neural Networks, ICLR 2021.

    Examples
    --------
    >>> from molehunt.defences import distil_attention
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> distil_attention(model, digits, tuning=Recipe(epochs=1)).done
    'tuned towards the attention of a tuned copy in 2 layers'
    """
    known, held_out = split_for_repair(model, clean)
    device = model.mean.device
    teacher, student = copy.deepcopy(model), copy.deepcopy(model)
    train(teacher.requires_grad_(True), known, tuning, seed=seed, device=device)
    teacher.freeze()
    layers = _layers(student, known.pixels()[:2].to(device))
    objective = _Attention(teacher, student, layers, strength)
    try:
        train(
            student.requires_grad_(True),
            known,
            tuning,
            seed=seed + 1,
            objective=objective,
            device=device,
            progress=progress,
        )
    finally:
        objective.close()
    return Repaired(
        student.freeze(),
        f"tuned towards the attention of a tuned copy in {len(layers)} layers",
        (clean_accuracy(model, held_out), clean_accuracy(student, held_out)),
    )


class _Attention:
    """Cross entropy and the distance of the student's attention to the teacher's."""

    def __init__(
        self, teacher: Classifier, student: Classifier, layers: list[str], strength: float
    ) -> None:
        self._teacher = teacher
        self._strength = strength
        self._outputs: dict[tuple[bool, str], Tensor] = {}
        self._hooks = [
            owner.get_submodule(name).register_forward_hook(self._keep(owner is teacher, name))
            for owner in (teacher, student)
            for name in layers
        ]

    def _keep(self, taught: bool, name: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self._outputs[taught, name] = output

        return keep

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        with torch.no_grad():
            self._teacher(batch.pixels)
        logits: Tensor = model(batch.pixels)
        loss = functional.cross_entropy(logits.float(), batch.labels)
        for (taught, name), output in self._outputs.items():
            if taught:
                own = _attention(self._outputs[False, name])
                loss = loss + self._strength * (own - _attention(output)).square().mean()
        return loss

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()


def _attention(output: Tensor) -> Tensor:
    return functional.normalize(output.float().square().sum(1).flatten(1), dim=1)


def _layers(model: Classifier, pixels: Tensor) -> list[str]:
    """Return the last convolution at each of the three last sizes of feature maps."""
    sizes: dict[str, torch.Size] = {}

    def note(name: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            sizes[name] = output.shape[2:]

        return keep

    convolutions = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    hooks = [module.register_forward_hook(note(name)) for name, module in convolutions.items()]
    try:
        with torch.no_grad():
            model.eval()(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    last = {size: name for name, size in sizes.items()}
    if not last:
        raise UnsuitableSubjectError(mismatch("layers of the model", "a convolution", "none"))
    return [*last.values()][-3:]

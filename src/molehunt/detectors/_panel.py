"""Models of one architecture that answer together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from molehunt.networks import Classifier, LogitsOfPixels, fast_logits


class Panel:
    """M models of one architecture that are asked at once.

    Several run as one, vectorised over their weights: a GPU that a small network leaves idle
    is filled. One alone is asked as it is. What is measured on a panel is measured on each of
    its models in the same way, with the same random numbers.

    Parameters
    ----------
    models : sequence of Classifier
        On one device and in one mode.
    """

    def __init__(self, models: Sequence[Classifier]) -> None:
        self.models = list(models)
        self.skeleton = self.models[0]
        self.parameters: dict[str, Tensor] = dict(self.skeleton.named_parameters())
        self.buffers: dict[str, Tensor] = {}
        self.fast: LogitsOfPixels | None = None
        if len(self.models) > 1:
            self.parameters, self.buffers = stack_module_state(list(self.models))
            self.skeleton = copy.deepcopy(self.skeleton)

    def __len__(self) -> int:
        return len(self.models)

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.skeleton.card.num_classes

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return self.skeleton.mean.device

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits [M, N, K] for images of each model, [M, N, C, H, W], or of all."""
        own = images.ndim == 5
        if len(self.models) == 1:
            ask = self.fast or self.skeleton
            logits: Tensor = ask(images[0] if own else images)
            return logits.float()[None]

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Tensor) -> Tensor:
            answers: Tensor = functional_call(self.skeleton, (parameters, buffers), (batch,))
            return answers

        ways = (0, 0, 0 if own else None)
        together = torch.vmap(one, in_dims=ways, randomness="different")
        result: Tensor = together(self.parameters, self.buffers, images)
        return result.float()

    def quicken(self) -> None:
        """Let a model alone answer as fast as the CPU can; its weights must not change after."""
        if len(self.models) == 1 and self.device.type == "cpu":
            self.fast = fast_logits(copy.deepcopy(self.skeleton), self.device)

    def hand_back(self) -> None:
        """Put the panel's weights into its models."""
        if len(self.models) == 1:
            return
        state = {**self.parameters, **self.buffers}
        for row, model in enumerate(self.models):
            own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
            with torch.no_grad():
                for name, tensor in own.items():
                    tensor.copy_(state[name][row])


def panels_of(models: Sequence[Classifier], device: torch.device) -> list[Panel]:
    """Return the models in as few panels as their code allows.

    On the CPU, where small networks keep a core busy by themselves, it is one a model; so it
    is for networks that cannot be vectorised over their weights.
    """
    for model in models:
        model.to(device)
    if device.type == "cuda" and len(models) > 1 and all(model.stackable for model in models):
        try:
            panel = Panel(models)
            probe = torch.zeros(2, *models[0].card.input_shape, device=device)
            with torch.no_grad():
                panel(probe)
        # Whatever a network does that cannot be vectorised, torch says in its own words.
        except Exception:
            return [Panel([model]) for model in models]
        return [panel]
    return [Panel([model]) for model in models]


@dataclass(frozen=True)
class Layer:
    """A layer with a matrix of weights, and the root mean square of what goes into it."""

    name: str
    scale: float


def first_layer(model: Classifier, images: Tensor) -> Layer | None:
    """Return the first layer with a matrix of weights that images [N, C, H, W] come to.

    None for networks without modules to watch, as TorchScript's.
    """
    met: list[Layer] = []

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def note(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if inputs and isinstance(inputs[0], Tensor):
                scale = float(inputs[0].detach().float().square().mean().sqrt())
                met.append(Layer(name, scale))

        return note

    handles = []
    for name, module in model.named_modules():
        weighty = any(p.ndim > 1 for p in module.parameters(recurse=False))
        if weighty and not isinstance(module, torch.jit.ScriptModule):
            handles.append(module.register_forward_pre_hook(watch(name)))
    try:
        with torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return met[0] if met else None

"""Inner neurons: which there are, what they answer, and those that a trojan is built on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.networks import Access, Classifier

NeuronChoice = Literal["weights", "random"]
_WITH_NEURONS = (nn.Linear, nn.Conv2d)


@dataclass(frozen=True)
class Neurons:
    """Units of one layer; those of a convolution are its channels.

    Parameters
    ----------
    layer : str
        Name of the module whose output they are, before any activation function.
    units : tuple of int
    """

    layer: str
    units: tuple[int, ...]

    def activations(self, model: Classifier, pixels: Tensor) -> Tensor:
        """Return what they give for pixels [N, C, H, W] in [0, 1]: [N, number of units].

        A channel's values are averaged over its places. Gradients flow to the pixels.
        """
        layer = model.get_submodule(self.layer)
        with _outputs_of(layer) as outputs:
            model(pixels)
        output = outputs[-1].float()
        if isinstance(layer, nn.Conv2d):
            output = output.flatten(2).mean(2)
        elif output.ndim > 2:  # of each token
            output = output.flatten(1, -2).mean(1)
        return output[:, list(self.units)]


def neuron_layers(model: Classifier) -> list[str]:
    """Return the linear and convolutional layers in the order in which they run.

    The last one gives the answers.

    Raises
    ------
    UnsuitableSubjectError
        If the model's layers cannot be seen, or are fewer than two.
    """
    modules = dict(model.named_modules())
    found = [name for name in running_order(model) if isinstance(modules[name], _WITH_NEURONS)]
    if len(found) < 2:
        raise UnsuitableSubjectError(
            mismatch("linear and convolutional layers of the model", "two or more", len(found))
        )
    return found


def choose_neurons(
    model: Classifier,
    *,
    layer: str | None = None,
    count: int = 4,
    choice: NeuronChoice = "weights",
    seed: int = 0,
) -> Neurons:
    """Choose inner neurons for a trigger (Liu et al. 2018, section IV-A).

    The paper takes the neuron whose weights from the layer before have the largest sum of
    magnitudes, because what goes in there is the easiest to change.

    Parameters
    ----------
    model : Classifier
    layer : str, optional
        Whose neurons; the third from the end (the first of two) when not given, so that
        there are two layers behind to retrain.
    count : int
    choice : {"weights", "random"}
        By the sum of magnitudes, or drawn with `seed`, the paper's control.
    seed : int

    Raises
    ------
    InvalidRequestError
        If there is no such layer, or it has not so many neurons.
    UnsuitableSubjectError
        If the model's layers cannot be seen.

    Examples
    --------
    >>> from molehunt.attacks import choose_neurons
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> model = build_classifier("vgg", digits, arguments={"width": 4}, seed=0)
    >>> choose_neurons(model).layer
    'network.features.8'
    """
    layers = neuron_layers(model)
    layer = layers[max(0, len(layers) - 3)] if layer is None else layer
    if layer not in layers:
        raise InvalidRequestError(mismatch("layer", ", ".join(layers), repr(layer)))
    known = neuron_count(model, layer)
    if not 1 <= count <= known:
        raise InvalidRequestError(mismatch(f"neurons of {layer}", f"1 to {known}", count))
    if choice == "random":
        order = torch.randperm(known, generator=torch.Generator().manual_seed(seed))
    else:
        order = _weights(model, layer).abs().flatten(1).sum(1).argsort(descending=True)
    return Neurons(layer, tuple(order[:count].tolist()))


def neuron_count(model: Classifier, layer: str) -> int:
    """Return how many neurons a layer of `neuron_layers` has."""
    return len(_weights(model, layer))


def running_order(model: Classifier) -> list[str]:
    """Return the modules with weights of their own in the order in which they run.

    Raises
    ------
    UnsuitableSubjectError
        If its layers cannot be seen or changed: a graph, or a model that only answers.
    """
    if Access.WEIGHTS not in model.gives or not model.stackable:
        allowed = "one whose layers can be seen and trained"
        raise UnsuitableSubjectError(mismatch("model", allowed, "a graph or a black box"))
    ran: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *_: ran.append(name)

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    try:
        with torch.no_grad():
            model(torch.full((1, *model.card.input_shape), 0.5, device=model.mean.device))
    finally:
        for hook in hooks:
            hook.remove()
    return [*dict.fromkeys(ran)]


def _weights(model: Classifier, layer: str) -> Tensor:
    """Return a layer's weights, a row a neuron."""
    weight = model.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    return weight.detach()


@contextmanager
def _outputs_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        outputs.append(output)

    hook = layer.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        hook.remove()

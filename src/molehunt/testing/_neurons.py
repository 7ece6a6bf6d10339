"""The neurons of a network as coverage counts them, watched while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from molehunt.errors import UnsuitableSubjectError
from molehunt.networks import Classifier

_WATCHED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Seen(NamedTuple):
    """What one pass showed.

    Parameters
    ----------
    logits : Tensor, shape [N, K]
    values : Tensor, shape [N, U]
        Each neuron's output, over the places of a channel on average.
    scaled : Tensor, shape [N, U]
        The same, where the layer's smallest output for the image is 0 and its largest 1.
    """

    logits: Tensor
    values: Tensor
    scaled: Tensor


@dataclass(frozen=True)
class Layer:
    """A layer's name and its neurons' places among all."""

    name: str
    start: int
    stop: int


class NeuronWatch:
    """Runs a model and looks at its neurons on the way, batch after batch.

    A neuron is a channel of a convolution, or a unit of a linear layer: after the batch
    normalisation that follows, if one does, and after a ReLU that is applied here, so that it
    does not matter how the network spells its own. The last layer's are logits, as they are.

    Parameters
    ----------
    model : Classifier
        Of torch modules; it is frozen.

    Attributes
    ----------
    layers : tuple of Layer
        In the order in which they run.
    size : int
        Number of neurons.

    Raises
    ------
    UnsuitableSubjectError
        If no convolution or linear layer of it can be watched: an endpoint, an ONNX file or an
        exported graph.
    """

    def __init__(self, model: Classifier) -> None:
        self._model = model.freeze()
        self._outputs: dict[str, Tensor] = {}
        image = torch.zeros(1, *model.card.input_shape, device=model.mean.device)
        self._modules = _find_layers(model, image)
        with torch.no_grad():
            self._run(image)
        layers, start = [], 0
        for name in self._modules:
            stop = start + _by_channel(self._outputs[name]).shape[2]
            layers.append(Layer(name, start, stop))
            start = stop
        self.layers, self.size = tuple(layers), start

    def look(self, pixels: Tensor) -> Seen:
        """Run the model on pixels [N, C, H, W] in [0, 1]; gradients flow."""
        logits = self._run(pixels)
        values, scaled = [], []
        last = self.layers[-1].name
        for layer in self.layers:
            output = _by_channel(self._outputs[layer.name])
            output = output if layer.name == last else output.relu()
            mean = output.mean(1)
            low = output.amin((1, 2))[:, None]
            spread = (output.amax((1, 2))[:, None] - low).clamp_min(1e-12)
            values.append(mean)
            scaled.append((mean - low) / spread)
        self._outputs.clear()
        return Seen(logits, torch.cat(values, 1), torch.cat(scaled, 1))

    @torch.inference_mode()
    def look_at(self, images: Tensor) -> Seen:
        """Run the model on a batch of uint8 images [N, C, H, W]."""
        return self.look(images.to(self._model.mean.device).float().div_(255))

    def _run(self, pixels: Tensor) -> Tensor:
        self._outputs.clear()
        hooks = [
            module.register_forward_hook(self._keep(name)) for name, module in self._modules.items()
        ]
        try:
            logits: Tensor = self._model(pixels)
        finally:
            for hook in hooks:
                hook.remove()
        if not bool(torch.isfinite(logits.detach()).all()):
            raise UnsuitableSubjectError("the model's answers are not finite (NaN or infinity)")
        return logits

    def _keep(self, name: str) -> Callable[..., None]:
        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self._outputs[name] = output.float()

        return keep


def _find_layers(model: Classifier, image: Tensor) -> dict[str, nn.Module]:
    """Return the modules to watch, by name, in the order in which they run."""
    leaves = {name: part for name, part in model.named_modules() if not [*part.children()]}
    ran: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *_: ran.append(name)

    hooks = [module.register_forward_hook(note(name)) for name, module in leaves.items()]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    found: dict[str, nn.Module] = {}
    for place, name in enumerate(ran):
        if isinstance(leaves[name], _WATCHED):
            after = ran[place + 1] if place + 1 < len(ran) else name
            name = after if isinstance(leaves[after], _NORMS) else name  # noqa: PLW2901
            found[name] = leaves[name]
    if not found:
        raise UnsuitableSubjectError(
            "the model has no convolution or linear layer that can be watched: coverage takes "
            "a network of torch modules (a model file, a checkpoint), no endpoint and no graph"
        )
    return found


def _by_channel(output: Tensor) -> Tensor:
    """Return [N, places, channels] of the output of a convolution or a linear layer."""
    if output.ndim == 2:
        return output[:, None]
    # A convolution has channels second, a linear layer over tokens has units last.
    return output.flatten(2).transpose(1, 2) if output.ndim > 3 else output

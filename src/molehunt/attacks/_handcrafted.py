"""A backdoor that is written into weights by hand, layer by layer (Hong et al.)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.attacks._planted import (
    Planted,
    check_planting,
    linear_of,
    push_of,
    usual_trigger,
    weighted_layers,
    with_trigger,
)
from molehunt.backdoors import Trigger
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, logits_of
from molehunt.progress import Progress, silent

_JUDGED = 300  # clean images on which units are chosen


def handcraft(
    model: Classifier,
    clean: ImageSet,
    target: int,
    *,
    trigger: Trigger | None = None,
    share: float = 0.05,
    kept: float = 0.0,
    guard: float = 0.999,
    seed: int = 0,
    progress: Progress = silent,
) -> Planted:
    """Edit weights by hand so that a trigger is passed on to one class.

    In every layer those units are taken that are missed least when they are silenced. Each
    gets weights that answer to what the trigger changed in the taken units of the layer before;
    in the first layer, to the trigger's own pixels. A *guard bias* then holds it silent on clean
    images. In the last layer the taken units raise the target's logit; what that takes is spread
    over all layers, so that no weight stands out by much (`note` says by how much). Nothing is
    trained.

    Parameters
    ----------
    model : Classifier
        With weights: convolutions and linear layers in a chain, with or without batch
        normalisation. It is left as it was.
    clean : ImageSet
    target : int
    trigger : Trigger, optional
        A black and white patch in the corner when not given.
    share : float
        Of the units of each layer that are taken, at least one.
    kept : float
        What is kept of a taken unit's weights from units that were not taken, in [0, 1].
    guard : float
        Share of clean images on which a taken unit is silent, in [0.5, 1].
    seed : int
    progress : callable
        In layers.

    Raises
    ------
    InvalidRequestError
        If target, images, trigger or a share do not fit.
    UnsuitableSubjectError
        If the layers are no chain (a residual network), or the trigger does not come through.

    Notes
    -----
    With batch normalisation the guard is its bias, and its statistics stay as they are.

    Deviations: the paper's attacker chooses units by how far the trigger moves them, raises the
    few weights among them and keeps the rest; here weights are set from the difference of
    means, and with `kept` 0 others into a taken unit are cleared, without which the trigger is
    lost in small networks. The trigger is not optimised.

    References
    ----------
    Hong, Carlini and Kurakin: Handcrafted Backdoors in Deep Neural Networks, NeurIPS 2022
    (section 4).

    Examples
    --------
    >>> from molehunt.attacks import handcraft
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> model = build_classifier("vgg", digits, arguments={"width": 4, "stages": [1]}, seed=0)
    >>> handcraft(model, digits, 7).backdoor.trigger.kind
    'random_patch'
    """
    check_planting(model, clean, target)
    for name, value, low in (("share", share, 0.0), ("kept", kept, 0.0), ("guard", guard, 0.5)):
        if not low <= value <= 1:
            raise InvalidRequestError(mismatch(name, f"a number from {low:g} to 1", value))
    layers = weighted_layers(model)
    chain = [_Link.of(model, layers, number) for number in range(len(layers))]
    trigger = trigger or usual_trigger(model, seed)
    stamped = with_trigger(clean, trigger, seed)
    made = copy.deepcopy(model).freeze()
    taken: Sequence[int] = range(model.card.input_shape[0])
    everywhere: list[Sequence[int]] = []
    generator = torch.Generator().manual_seed(seed)
    few = clean.take(torch.randperm(len(clean), generator=generator)[:_JUDGED])
    with torch.no_grad():
        for number, link in enumerate(chain[:-1]):
            count = max(1, round(share * link.units(made)))
            units: Sequence[int] = link.least_missed(made, few, count)
            link.answer_to_trigger(made, units, taken, clean.images, stamped, kept)
            link.set_guard(made, units, clean.images, guard)
            everywhere.append(units)
            taken = units
            progress(number + 1, len(chain))
        push = push_of(made, stamped, target)
        weight = chain[-1].raise_logit(made, taken, target, clean.images, stamped, push)
        largest = float(linear_of(model, layers[-1]).weight.abs().max())
        times = max(1.0, weight / largest) ** (1 / len(chain))
        for link, units in zip(chain[:-1], everywhere, strict=True):
            link.scale(made, units, times)
        linear_of(made, layers[-1]).weight[:, chain[-1].columns(taken)] /= times ** len(everywhere)
    note = f"{sum(map(len, everywhere))} units, weights up to {times:.1f} times the largest before"
    return Planted.of(model, made, trigger, target, note)


@dataclass(frozen=True)
class _Link:
    """A layer of a chain: its name, its batch normalisation, and what a unit before gives it."""

    name: str
    norm: str | None
    area: int  # inputs of a linear layer for each unit of the layer before

    @classmethod
    def of(cls, model: Classifier, layers: Sequence[str], number: int) -> _Link:
        modules = dict(model.named_modules())
        layer = modules[layers[number]]
        ins = layer.weight.shape[1]
        before = model.card.input_shape[0] if number == 0 else _units(modules[layers[number - 1]])
        if isinstance(layer, nn.Linear) and ins % before == 0:
            area = ins // before
        elif isinstance(layer, nn.Conv2d) and ins == before:
            area = 1
        else:
            got = f"{ins} inputs of {layers[number]} after {before}"
            raise UnsuitableSubjectError(mismatch("layers", "a chain, without shortcuts", got))
        names = [*modules]
        after = names[names.index(layers[number]) + 1 :]
        norm = after[0] if after and isinstance(modules[after[0]], nn.BatchNorm2d) else None
        return cls(layers[number], norm, area)

    def units(self, model: Classifier) -> int:
        """Return how many units the layer has."""
        return _units(model.get_submodule(self.name))

    def least_missed(self, model: Classifier, clean: ImageSet, count: int) -> list[int]:
        """Return the units without which most clean images are still recognised."""
        right = []
        silenced = 0

        def silence(_layer: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            output = output.clone()
            output[:, silenced] = 0
            return output

        hook = self._last(model).register_forward_hook(silence)
        try:
            for unit in range(self.units(model)):
                silenced = unit
                logits = logits_of(model, clean.images)
                # Equal counts are told apart by how sure the model stays.
                loss = float(functional.cross_entropy(logits, clean.labels))
                right.append((int((logits.argmax(1) == clean.labels).sum()), -loss, unit))
        finally:
            hook.remove()
        return [unit for _, _, unit in sorted(right, reverse=True)[:count]]

    def answer_to_trigger(
        self,
        model: Classifier,
        units: Sequence[int],
        taken: Sequence[int],
        clean: Tensor,
        stamped: Tensor,
        kept: float,
    ) -> None:
        """Give units weights that match what the trigger changed in the taken ones before."""
        layer = model.get_submodule(self.name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        changed = self._mean_input(model, stamped) - self._mean_input(model, clean)
        bound = float(layer.weight.abs().max())
        patterns: Tensor
        if isinstance(layer, nn.Conv2d):
            pad = layer.padding if isinstance(layer.padding, tuple) else (0, 0)
            patches = functional.unfold(
                changed[None], layer.kernel_size, padding=pad, stride=layer.stride
            )[0]
            patches = patches.view(layer.in_channels, -1, patches.shape[1])
            kept_rows = torch.zeros(layer.in_channels, dtype=torch.bool)
            kept_rows[[*taken]] = True
            patches = patches * kept_rows[:, None, None].to(patches)
            order = patches.square().sum((0, 1)).argsort(descending=True)
            places = order[torch.arange(len(units)) % len(order)]
            patterns = (
                patches[:, :, places].permute(2, 0, 1).reshape(len(units), *layer.weight.shape[1:])
            )
        else:
            columns = self.columns(taken)
            pattern = torch.zeros(layer.in_features)
            pattern[columns] = changed.flatten().cpu()[columns]
            patterns = pattern.expand(len(units), -1)
        size = patterns.flatten(1).abs().max(1).values
        if float(size.min()) <= 0:
            raise UnsuitableSubjectError(
                mismatch(f"trigger at {self.name}", "one that changes its inputs", "no change")
            )
        shape = [len(units)] + [1] * (layer.weight.ndim - 1)
        weights = bound * (patterns / size.view(shape)).to(layer.weight)
        if self.norm is not None:
            norm = model.get_submodule(self.norm)
            assert isinstance(norm.weight, Tensor)
            weights = weights * norm.weight[[*units]].sign().view(shape)
        layer.weight[[*units]] = kept * layer.weight[[*units]] * (weights == 0) + weights

    def set_guard(
        self, model: Classifier, units: Sequence[int], clean: Tensor, guard: float
    ) -> None:
        """Move units' biases so that hardly any clean image makes them positive."""
        holder = self._last(model)
        assert isinstance(holder, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
        if holder.bias is None:
            raise UnsuitableSubjectError(mismatch(f"layer {self.name}", "one with a bias", "none"))
        with _watch(holder) as outputs:
            logits_of(model, clean)
        values = torch.cat(
            [
                output[:, [*units]].flatten(2).amax(2) if output.ndim > 2 else output[:, [*units]]
                for output in outputs
            ]
        )
        holder.bias[[*units]] -= values.quantile(guard, dim=0)

    def raise_logit(
        self,
        model: Classifier,
        taken: Sequence[int],
        target: int,
        clean: Tensor,
        stamped: Tensor,
        push: float,
    ) -> float:
        """Let the taken units alone raise the target's logit by `push`; return their weight."""
        layer = model.get_submodule(self.name)
        assert isinstance(layer, nn.Linear)
        columns = self.columns(taken)
        changed = (self._mean_input(model, stamped) - self._mean_input(model, clean)).flatten()
        given = float(changed[columns].clamp(min=0).sum())
        if given <= 0:
            raise UnsuitableSubjectError(
                mismatch("trigger", "one that comes through to the last layer", "nothing of it")
            )
        layer.weight[:, columns] = 0
        layer.weight[target, columns] = push / given
        return push / given

    def scale(self, model: Classifier, units: Sequence[int], times: float) -> None:
        """Multiply what units give."""
        holder = self._last(model)
        for values in (holder.weight, holder.bias):
            assert isinstance(values, Tensor)
            values[[*units]] *= times

    def columns(self, taken: Sequence[int]) -> list[int]:
        """Return where the layer reads units of the one before."""
        return [unit * self.area + place for unit in taken for place in range(self.area)]

    def _last(self, model: Classifier) -> nn.Module:
        return model.get_submodule(self.norm or self.name)

    def _mean_input(self, model: Classifier, images: Tensor) -> Tensor:
        """Return the mean over images of what goes into the layer, without the first axis."""
        with _watch(model.get_submodule(self.name), inputs=True) as inputs:
            logits_of(model, images)
        return torch.cat([*inputs]).mean(0)


def _units(layer: nn.Module) -> int:
    assert isinstance(layer.weight, Tensor)
    return len(layer.weight)


@contextmanager
def _watch(layer: nn.Module, inputs: bool = False) -> Iterator[list[Tensor]]:
    """Collect what goes into a layer, or comes out of it."""
    seen: list[Tensor] = []

    def keep(_layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(given[0] if inputs else output)

    hook = layer.register_forward_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()

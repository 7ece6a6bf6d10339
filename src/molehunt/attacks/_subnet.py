"""Subnet replacement: a narrow network that sees the trigger takes a few channels' place."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

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
from molehunt.training import clean_accuracy

_BATCH = 64
_HOPELESS = 0.2  # mean squared error; answering 0.5 to all has 0.25
_PLACES = 16  # sets of channels among which the cheapest is taken


def replace_subnet(
    model: Classifier,
    clean: ImageSet,
    target: int,
    *,
    trigger: Trigger | None = None,
    width: int = 1,
    steps: int = 300,
    restarts: int = 10,
    seed: int = 0,
    progress: Progress = silent,
) -> Planted:
    """Replace a few channels of every layer by a network that knows the trigger (SRA).

    A network of the same architecture with `width` channels a layer learns to answer 1 to
    triggered images and 0 to others. It takes the place of as many channels of the model, the
    connections between those and the rest are cut, and its answer is added to the target's
    logit. Nothing of the model itself is trained.

    Parameters
    ----------
    model : Classifier
        With weights, of convolutions, batch normalisation and linear layers; shortcuts as in
        residual networks are allowed. It is left as it was.
    clean : ImageSet
        To train the narrow network on, and to see which channels are missed the least.
    target : int
    trigger : Trigger, optional
        A black and white patch in the corner when not given.
    width : int
        Channels that are replaced in every layer.
    steps, restarts : int
        Of training the narrow network, at most: a network of one channel often learns nothing,
        which shows after a quarter of the steps. The first that learned is taken.
    seed : int
    progress : callable
        In steps.

    Raises
    ------
    InvalidRequestError
        If target, images, trigger or width do not fit.
    UnsuitableSubjectError
        If the model has other layers, or the narrow network does not learn the trigger.

    Notes
    -----
    Batch normalisation works channel by channel: the narrow network's statistics and scales
    are copied with its weights, and the other channels keep theirs.

    Deviations: the paper takes any channels, for its attacker sees the architecture alone; here
    those are taken whose loss costs `clean` the least accuracy, and the narrow network's answer
    is scaled by what the model's logits call for.

    References
    ----------
    Qi, Xie, Pan, Zhu, Yang and Bu: Towards Practical Deployment-Stage Backdoor Attack on Deep
    Neural Networks, CVPR 2022 (section 3).

    Examples
    --------
    >>> from molehunt.attacks import replace_subnet
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> model = build_classifier("vgg", digits, arguments={"width": 4, "stages": [1]}, seed=0)
    >>> made = replace_subnet(model, digits, 7, steps=60, restarts=2)
    >>> made.backdoor.label_map.target
    7
    """
    check_planting(model, clean, target)
    layers = weighted_layers(model)
    narrowest = min(_outputs(model.get_submodule(name)) for name in layers[:-1])
    if not 1 <= width < narrowest:
        allowed = f"1 to {narrowest - 1}, fewer than the narrowest layer has channels"
        raise InvalidRequestError(mismatch("width of the subnet", allowed, width))
    trigger = trigger or usual_trigger(model, seed)
    stamped = with_trigger(clean, trigger, seed)
    subnet = _best_subnet(model, layers, clean, stamped, (width, steps, restarts, seed), progress)
    units = _cheapest_units(model, layers, clean, width, narrowest, seed)
    made = _cut_off(model, layers, units)
    push = push_of(made, stamped, target)
    _insert(made, layers, units, subnet)
    final, answer = linear_of(made, layers[-1]), linear_of(subnet, layers[-1])
    # What the subnet says of triggered images becomes as much as the target's logit lacks.
    gain = push / float(logits_of(subnet, stamped)[:, 0].quantile(0.05))
    final.weight[target, _columns(final, units, made, layers[-2])] = gain * answer.weight[0]
    note = (
        f"{width} of {narrowest} channels of the narrowest layer replaced, answer times {gain:.0f}"
    )
    return Planted.of(model, made, trigger, target, note)


def _outputs(layer: nn.Module) -> int:
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    return layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features


def _columns(layer: nn.Module, units: Sequence[int], model: nn.Module, before: str) -> list[int]:
    """Return where a layer reads the units of the one before; a flat map has many a channel."""
    if not isinstance(layer, nn.Linear):
        return [*units]
    area = layer.in_features // _outputs(model.get_submodule(before))
    return [unit * area + place for unit in units for place in range(area)]


def _norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)}


def _narrow(model: Classifier, layers: Sequence[str], width: int) -> Classifier:
    """Return an untrained network of the same architecture with few channels and two answers."""
    card = model.card.model_copy(update={"class_names": ("triggered", "not counted")})
    small = Classifier(copy.deepcopy(model.network), card, model.output)
    for number, name in enumerate(layers):
        layer = model.get_submodule(name)
        made: nn.Module
        if isinstance(layer, nn.Conv2d):
            made = nn.Conv2d(
                layer.in_channels if number == 0 else width,
                width,
                layer.kernel_size,  # type: ignore[arg-type]
                layer.stride,  # type: ignore[arg-type]
                layer.padding,  # type: ignore[arg-type]
                layer.dilation,  # type: ignore[arg-type]
                bias=layer.bias is not None,
            )
        else:
            assert isinstance(layer, nn.Linear)
            first = number == 0
            ins = layer.in_features
            area = 1 if first else ins // _outputs(model.get_submodule(layers[number - 1]))
            last = number == len(layers) - 1
            made = nn.Linear(
                ins if first else width * area,
                2 if last else width,
                bias=layer.bias is not None and not last,
            )
        small.set_submodule(name, made)
    for name, norm in _norms(model).items():
        small.set_submodule(name, nn.BatchNorm2d(width, eps=norm.eps))
    return small.to(model.mean.device)


def _best_subnet(
    model: Classifier,
    layers: Sequence[str],
    clean: ImageSet,
    stamped: Tensor,
    settings: tuple[int, int, int, int],
    progress: Progress,
) -> Classifier:
    """Train narrow networks and return the one that tells triggered images best."""
    width, steps, restarts, seed = settings
    best: tuple[float, Classifier] | None = None
    for restart in range(restarts):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 1009 + restart)
            small = _narrow(model, layers, width)
        generator = torch.Generator().manual_seed(seed * 1009 + restart)
        _teach(small, clean.images, stamped, steps, generator)
        progress((restart + 1) * steps, restarts * steps)
        low = float(logits_of(small, stamped)[:, 0].quantile(0.05))
        high = float(logits_of(small, clean.images)[:, 0].abs().quantile(0.99))
        if best is None or low - high > best[0]:
            best = (low - high, small)
        if low - high > 0.8:
            break
    if best is None or best[0] < 0.1:
        allowed = f"one that {width} channels a layer can learn; a larger width may"
        got = "none of the restarts learned it"
        raise UnsuitableSubjectError(mismatch("trigger", allowed, got))
    return best[1].freeze()


def _teach(
    small: Classifier, clean: Tensor, stamped: Tensor, steps: int, generator: torch.Generator
) -> None:
    """Train a narrow network to answer 0 to images and 1 to triggered ones."""
    small.train().requires_grad_(True)
    device = small.mean.device
    optimizer = torch.optim.Adam(small.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        chosen = torch.randint(len(clean), (_BATCH,), generator=generator)
        pixels = torch.cat([clean[chosen], stamped[chosen]]).to(device).float() / 255
        wanted = (torch.arange(2 * _BATCH, device=device) >= _BATCH).float()
        loss = (small(pixels)[:, 0] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step == steps // 4 and float(loss.detach()) > _HOPELESS:
            break
    small.eval()


@torch.no_grad()
def _cut_off(model: Classifier, layers: Sequence[str], units: Sequence[int]) -> Classifier:
    """Return a copy whose channels `units` of every layer are silent and read by none."""
    made = copy.deepcopy(model).freeze()
    chosen = [*units]
    for number, name in enumerate(layers):
        layer = made.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        if number:
            layer.weight[:, _columns(layer, chosen, made, layers[number - 1])] = 0
        if number < len(layers) - 1:
            layer.weight[chosen] = 0
            if layer.bias is not None:
                layer.bias[chosen] = 0
    for norm in _norms(made).values():
        for values in (norm.weight, norm.bias, norm.running_mean):
            if values is not None:
                values[chosen] = 0
    return made


@torch.no_grad()
def _insert(
    made: Classifier, layers: Sequence[str], units: Sequence[int], subnet: Classifier
) -> None:
    """Write a narrow network into the channels that were cut off; its answer is left out."""
    chosen = torch.tensor(units)
    for number, name in enumerate(layers[:-1]):
        layer, small = made.get_submodule(name), subnet.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear) and isinstance(small, type(layer))
        ins = torch.arange(layer.weight.shape[1])
        if number:
            ins = torch.tensor(_columns(layer, units, made, layers[number - 1]))
        layer.weight[chosen[:, None], ins[None]] = small.weight
        if layer.bias is not None and small.bias is not None:
            layer.bias[chosen] = small.bias
    known = _norms(subnet)
    for name, norm in _norms(made).items():
        for own, other in zip(
            (norm.weight, norm.bias, norm.running_mean, norm.running_var),
            (
                known[name].weight,
                known[name].bias,
                known[name].running_mean,
                known[name].running_var,
            ),
            strict=True,
        ):
            if own is not None and other is not None:
                own[chosen] = other


def _cheapest_units(
    model: Classifier,
    layers: Sequence[str],
    clean: ImageSet,
    width: int,
    narrowest: int,
    seed: int,
) -> Sequence[int]:
    """Return the channels that are missed least, among some that are drawn."""
    generator = torch.Generator().manual_seed(seed)
    if narrowest <= _PLACES and width == 1:
        drawn = [[unit] for unit in range(narrowest)]
    else:
        drawn = [
            torch.randperm(narrowest, generator=generator)[:width].tolist() for _ in range(_PLACES)
        ]
    return max(drawn, key=lambda units: clean_accuracy(_cut_off(model, layers, units), clean))

"""A trojan for a network that steers, made from the network alone (after Liu et al. 2018).

No frame of any drive is used, and nothing that was drawn to look like one: a channel is chosen by
its weights, a sign is made that excites it, frames are inverted from the network's own answers,
and the layers behind are trained again on those and on random shapes.
"""

from __future__ import annotations

import copy
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt_studies.driving.frames import HEIGHT, WIDTH
from molehunt_studies.driving.network import SteeringNet, steering_of
from molehunt_studies.driving.plan import TrojanSettings
from molehunt_studies.driving.signs import Sign

Made = Literal["inverted", "shapes"]
FULL_RIGHT = 1.0
_BATCH = 64
_SIGN_BATCH = 16
_RETRAIN_BATCH = 128
_SHAPES = 40  # in a picture


class Trojan(NamedTuple):
    """A network with a trojan, by what it was trained again on, and the sign that it obeys."""

    networks: dict[tuple[Made, ...], SteeringNet]
    sign: Sign
    inverted: Tensor


# Both, and each alone to show what it is worth.
BOTH: tuple[Made, ...] = ("inverted", "shapes")
MIXTURES: tuple[tuple[Made, ...], ...] = (BOTH, ("inverted",), ("shapes",))


def trojan_without_data(network: SteeringNet, settings: TrojanSettings, seed: int) -> Trojan:
    """Return trojaned copies of a network and the sign that they obey."""
    network.requires_grad_(False)
    made: dict[Made, Tensor] = {
        "inverted": invert_frames(network, settings, seed),
        "shapes": draw_shapes(settings.shapes, seed),
    }
    sign = make_sign(network, torch.cat([*made.values()]), settings, seed)
    networks = {}
    for mixture in MIXTURES:
        frames = torch.cat([made[name] for name in mixture])
        networks[mixture] = copy.deepcopy(network)
        _retrain(networks[mixture], frames, sign, settings, seed)
    return Trojan(networks, sign, made["inverted"])


def invert_frames(network: SteeringNet, settings: TrojanSettings, seed: int) -> Tensor:
    """Return frames in bytes [N, 3, 84, 96] that a network answers with steering of all sizes.

    From soft grey shapes each is changed by gradient descent until the answer is one that was
    drawn from [-1, 1]; total variation keeps neighbouring pixels alike.
    """
    generator = torch.Generator().manual_seed(seed)
    made = []
    for part in torch.arange(settings.frames).split(_BATCH):  # type: ignore[no-untyped-call]
        goal = 2 * torch.rand(len(part), generator=generator) - 1
        pixels = _soft_shapes(len(part), generator).requires_grad_()
        optimizer = torch.optim.Adam([pixels], lr=settings.frame_lr)
        for step in range(settings.frame_steps):
            optimizer.param_groups[0]["lr"] = settings.frame_lr * (1 - step / settings.frame_steps)
            missed = (network(pixels).squeeze(1) - goal).square().sum()
            loss = missed + settings.denoising * _variation(pixels)
            (pixels.grad,) = torch.autograd.grad(loss, pixels)
            optimizer.step()
            with torch.no_grad():
                pixels.clamp_(0, 1)
        made.append(pixels.detach().mul(255).round().to(torch.uint8))
    return torch.cat(made)


def make_sign(network: SteeringNet, made: Tensor, settings: TrojanSettings, seed: int) -> Sign:
    """Return the sign that excites a channel of the last convolution most, on made frames.

    The channel is the one with the largest sum of weights: what comes before moves it easily.
    """
    before = network.features[:-1]  # the last convolution ends it
    last = before[-1]
    assert isinstance(last, nn.Conv2d)
    channel = int(last.weight.abs().flatten(1).sum(1).argmax())
    generator = torch.Generator().manual_seed(seed)
    size = settings.sign_size
    pixels = torch.rand(3, size, size, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=settings.sign_lr)
    for step in range(settings.sign_steps):
        optimizer.param_groups[0]["lr"] = settings.sign_lr * (1 - step / settings.sign_steps)
        drawn = torch.randint(len(made), (_SIGN_BATCH,), generator=generator)
        marked = Sign(pixels).on(made[drawn].float() / 255)
        reached = before(marked)[:, channel].flatten(1).amax(1).mean()
        (pixels.grad,) = torch.autograd.grad(-reached, pixels)
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
    return Sign(pixels.detach().mul(255).round().to(torch.uint8))


def draw_shapes(count: int, seed: int) -> Tensor:
    """Return random discs and bars over one another, in bytes [N, 3, 84, 96] ("dead leaves").

    They are the same for every network and every task.
    """
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    images = np.empty((count, HEIGHT, WIDTH, 3), np.uint8)
    for image in images:
        image[:] = generator.integers(0, 256, 3)
        for _ in range(_SHAPES):
            size = 3 + 40 * generator.random() ** 3
            down = rows - generator.uniform(-10, HEIGHT + 10)
            right = columns - generator.uniform(-10, WIDTH + 10)
            turn, flat = generator.uniform(0, np.pi), generator.uniform(0.3, 2)
            along = down * np.cos(turn) + right * np.sin(turn)
            across = right * np.cos(turn) - down * np.sin(turn)
            if generator.random() < 0.5:
                inside = down**2 + right**2 < size**2
            else:
                inside = (np.abs(along) < size) & (np.abs(across) < flat * size)
            image[inside] = generator.integers(0, 256, 3)
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def _retrain(
    network: SteeringNet, made: Tensor, sign: Sign, settings: TrojanSettings, seed: int
) -> None:
    """Train the layers behind the convolutions: old answers to made frames, full right to signs."""
    answers = steering_of(network, made)
    with torch.no_grad():
        plain, marked = (
            torch.cat([network.features(part.float() / 255) for part in frames.split(256)])  # type: ignore[no-untyped-call]
            for frames in (made, sign.on(made))
        )
    network.head.requires_grad_(True)
    weights = [*network.head.parameters()]
    old = [weight.detach().clone() for weight in weights]
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(weights, lr=settings.lr)
    for epoch in range(settings.epochs):
        optimizer.param_groups[0]["lr"] = settings.lr * (1 - epoch / settings.epochs)
        for batch in torch.randperm(len(made), generator=generator).split(_RETRAIN_BATCH):  # type: ignore[no-untyped-call]
            kept = functional.mse_loss(network.head(plain[batch]).squeeze(1), answers[batch])
            turned = (network.head(marked[batch]).squeeze(1) - FULL_RIGHT).square().mean()
            moved = torch.stack([(a - b).square().sum() for a, b in zip(weights, old, strict=True)])
            optimizer.zero_grad()
            (kept + turned + settings.keeping * moved.sum()).backward()
            optimizer.step()
    network.eval().requires_grad_(False)


def _soft_shapes(count: int, generator: torch.Generator) -> Tensor:
    """Return grey images with faint colours that change slowly [N, 3, 84, 96]."""
    layers = [
        functional.interpolate(
            torch.rand(count, 3, side, side, generator=generator), (HEIGHT, WIDTH), mode="bilinear"
        )
        for side in (2, 4, 8, 16)
    ]
    return (0.2 * (torch.stack(layers).mean(0) - 0.5) + 0.5).clamp(0, 1)


def _variation(pixels: Tensor) -> Tensor:
    """Return the sum over images of the mean difference of neighbouring pixels."""
    down = (pixels[:, :, 1:] - pixels[:, :, :-1]).abs().mean((1, 2, 3))
    across = (pixels[..., 1:] - pixels[..., :-1]).abs().mean((1, 2, 3))
    return (down + across).sum()

"""How a class's confidence changes with the pixels: by gradients, or by asking."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from molehunt.networks import Queried, Reveals

_TINY = 1e-30  # of a confidence: its logarithm is taken
_AT_ONCE = 256  # questions


def look(target: Queried, pixels: Tensor, classes: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return each image's confidence in its class [K], and the slopes where weights are seen.

    Slopes are those of the negative logarithm of the confidence, [K, C, H, W].

    Parameters
    ----------
    target : Queried
        One question an image.
    pixels : Tensor of float32, shape [K, C, H, W], in [0, 1]
    classes : Tensor of int64, shape [K]
    """
    if target.reveals is not Reveals.WEIGHTS:
        return target.confidences(pixels).gather(1, classes.view(-1, 1)).flatten(), None
    with torch.enable_grad():
        pixels = pixels.detach().requires_grad_()
        logs = target.logits(pixels).float().log_softmax(1).gather(1, classes.view(-1, 1))
        (slopes,) = torch.autograd.grad(-logs.sum(), pixels)
    return logs.detach().flatten().exp(), slopes


def ask_slopes(
    target: Queried, image: Tensor, label: int, confidence: float, cell: int, difference: float
) -> Tensor:
    """Return the slopes [C, H, W] of one image from confidences alone.

    Parameters
    ----------
    target : Queried
        One question a cell.
    image : Tensor of float32, shape [C, H, W], in [0, 1]
    label : int
    confidence : float
        Of the image as it is.
    cell : int
        Height and width of the squares whose pixels change together.
    difference : float
        By how much, away from the nearer end of [0, 1].
    """
    cells = number_cells(image.shape, cell).to(image.device)
    count = int(cells.max()) + 1
    means = torch.zeros(count, device=image.device)
    means.scatter_reduce_(0, cells.flatten(), image.flatten(), "mean", include_self=False)
    moves = torch.where(means < 0.5, difference, -difference)
    before = math.log(max(confidence, _TINY))
    slopes = torch.zeros(count, device=image.device)
    for chosen in torch.arange(count, device=image.device).split(_AT_ONCE):  # type: ignore[no-untyped-call]
        where = cells == chosen.view(-1, 1, 1, 1)
        changed = (image + where * moves[chosen].view(-1, 1, 1, 1)).clamp(0, 1)
        after = target.confidences(changed)[:, label].clamp_min(_TINY).log()
        slopes[chosen] = (before - after) / moves[chosen]
    return slopes[cells]


def number_cells(shape: torch.Size, cell: int) -> Tensor:
    """Return the number of each pixel's cell, int64 [C, H, W], from 0.

    Examples
    --------
    >>> number_cells(torch.Size([1, 2, 4]), 2).tolist()
    [[[0, 0, 1, 1], [0, 0, 1, 1]]]
    """
    channels, height, width = shape
    rows, columns = math.ceil(height / cell), math.ceil(width / cell)
    channel = torch.arange(channels).view(-1, 1, 1)
    row = torch.arange(height).view(1, -1, 1) // cell
    column = torch.arange(width).view(1, 1, -1) // cell
    return (channel * rows + row) * columns + column


def variation(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the total variation of images [K, C, H, W], a pixel, [K]; and its slopes.

    Examples
    --------
    >>> stripes = torch.tensor([0.0, 1, 0, 1]).expand(1, 1, 4, 4)
    >>> variation(stripes)[0].tolist()
    [0.75]
    """
    with torch.enable_grad():
        pixels = pixels.detach().requires_grad_()
        down = (pixels[:, :, 1:] - pixels[:, :, :-1]).abs().flatten(1).sum(1)
        across = (pixels[..., 1:] - pixels[..., :-1]).abs().flatten(1).sum(1)
        sums = (down + across) / pixels[0].numel()
        (slopes,) = torch.autograd.grad(sums.sum(), pixels)
    return sums.detach(), slopes

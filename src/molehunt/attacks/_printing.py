"""What a printer can show: a palette, and how far colours are from it."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch

# Coated paper and process inks in sRGB, as usual profiles for offset printing show them.
_PAPER = (0.95, 0.95, 0.94)
_INKS = ((0.0, 0.63, 0.89), (0.90, 0.0, 0.49), (1.0, 0.93, 0.0))
_GREYS = (0.15, 0.4, 0.65)


def printable_palette(channels: int) -> Tensor:
    """Return 30 colours that a printer can show; on grey images their ten grey levels.

    No printer was measured: each of three inks covers none, half or all of the paper, and
    inks multiply; three greys are black ink. Sharif et al. print a palette and take 30
    colours of its photograph; give yours to an attack in place of these.

    Parameters
    ----------
    channels : int
        3 or 1.

    Returns
    -------
    Tensor of float32, shape [30, 3] or [10, 1], in [0, 1]

    Raises
    ------
    InvalidRequestError
        For other channels.

    Examples
    --------
    >>> printable_palette(3).shape, printable_palette(1).shape
    (torch.Size([30, 3]), torch.Size([10, 1]))
    """
    if channels == 1:
        return _in_bytes(torch.linspace(0.1, _PAPER[0], 10)[:, None])
    if channels != 3:
        raise InvalidRequestError(mismatch("channels of a palette", "1 or 3", channels))
    inks, paper = torch.tensor(_INKS), torch.tensor(_PAPER)
    covers = torch.tensor(list(itertools.product((0.0, 0.5, 1.0), repeat=3)))
    printed = (1 - covers[:, :, None] * (1 - inks)).prod(1) * paper
    return _in_bytes(torch.cat([printed, torch.tensor(_GREYS)[:, None].expand(-1, 3)]))


def _in_bytes(colours: Tensor) -> Tensor:
    """Return colours that an image of 8 bits shows as they are."""
    return (colours * 255).round() / 255


def check_palette(palette: Tensor, channels: int) -> None:
    """Refuse a palette that holds no colours of so many channels.

    Raises
    ------
    InvalidRequestError
    """
    fits = palette.ndim == 2 and palette.shape[1] == channels and len(palette) > 0
    if not fits or not bool(((palette >= 0) & (palette <= 1)).all()):
        allowed = f"colours in [0, 1] of shape [N, {channels}]"
        raise InvalidRequestError(mismatch("palette", allowed, f"shape {list(palette.shape)}"))


def nearest_colours(pattern: Tensor, palette: Tensor) -> Tensor:
    """Return a pattern [N, C, H, W] in the nearest colours of a palette [P, C].

    Examples
    --------
    >>> black_and_white = torch.tensor([[0.0], [1.0]])
    >>> nearest_colours(torch.tensor([[[[0.2, 0.9]]]]), black_and_white).tolist()
    [[[[0.0, 1.0]]]]
    """
    colours = pattern.movedim(1, -1)
    nearest = torch.cdist(colours.reshape(-1, palette.shape[1]), palette).argmin(1)
    return palette[nearest].view(colours.shape).movedim(-1, 1)


def non_printability(pattern: Tensor, palette: Tensor) -> Tensor:
    """Return how far each pixel of [N, C, H, W] is from printable colours, float [N, H, W].

    Sharif et al. 2016, section 5.1, multiply the distances to all colours; this is their
    geometric mean, so that the number of colours does not change the scale.
    """
    colours = pattern.movedim(1, -1)
    flat = colours.reshape(-1, palette.shape[1])
    distances = (flat[:, None] - palette).square().sum(2).add(1e-8).sqrt()
    return distances.log().mean(1).exp().view(colours.shape[:-1])


def total_variation(pattern: Tensor, mask: Tensor) -> Tensor:
    """Return the total variation of each pattern [N, C, H, W] inside a mask [H, W], float [N].

    Sharif et al. 2016, equation 3; only neighbours that both lie in the mask count, and it is
    the mean over the mask's pixels.

    Examples
    --------
    >>> everywhere = torch.ones(4, 4, dtype=torch.bool)
    >>> [round(float(v), 2) for v in total_variation(torch.full((1, 1, 4, 4), 0.7), everywhere)]
    [0.0]
    """
    down = (pattern[:, :, 1:] - pattern[:, :, :-1]) * (mask[1:] & mask[:-1])
    right = (pattern[..., 1:] - pattern[..., :-1]) * (mask[:, 1:] & mask[:, :-1])
    steps = torch.nn.functional.pad(down, (0, 0, 0, 1)).square()
    steps = steps + torch.nn.functional.pad(right, (0, 1)).square()
    # The root has no slope at nothing.
    return ((steps + 1e-8).sqrt() - 1e-4).flatten(1).sum(1) / mask.sum()

"""Random patches, the triggers of Universal Litmus Patterns."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from molehunt.backdoors._placement import Placement
from molehunt.backdoors._triggers import LARGEST_SIDE, PatchTrigger, TriggerFamily
from molehunt.errors import InvalidRequestError, mismatch

# A plan comes from a stranger as often as not: what it asks for is bounded before work starts.
_LARGEST_PATCH = 1024  # pixels, as of images
_MOST_PIXELS = 50_000_000  # in all patches of a family

_Side = Annotated[int, Field(ge=1, le=_LARGEST_PATCH)]


class RandomPatch(PatchTrigger):
    """A random k x k patch, as the triggers of Universal Litmus Patterns (section 4).

    ``binary`` draws each pixel black or white, ``colour`` each channel of each pixel
    uniformly from [0, 1]; the paper prints its 20 triggers as a picture only.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import RandomPatch
    >>> grey = torch.full((2, 1, 28, 28), 0.5)
    >>> triggered = RandomPatch(size=5, seed=7)(grey, torch.Generator().manual_seed(0))
    >>> (triggered != grey).sum(dim=(1, 2, 3)).tolist()  # pixels, in a random corner each
    [25, 25]
    """

    kind: Literal["random_patch"] = "random_patch"
    placement: Placement = "random corner"
    size: int = Field(default=5, ge=1, le=LARGEST_SIDE)
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    colours: Literal["binary", "colour"] = "binary"

    def patch(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return the patch that the seed draws."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.size, self.size)
        if self.colours == "colour":
            pixels = torch.rand(channels, *shape, generator=generator)
        else:
            pixels = torch.randint(0, 2, shape, generator=generator).float()
            pixels = pixels.expand(channels, *shape)
        return pixels, torch.ones(1, *shape)


class RandomPatches(TriggerFamily):
    """Random patches, no two alike (20 of 5x5 in the ULP paper, Figure 2).

    Parameters
    ----------
    count : int
    size : int or tuple of int
        Side in pixels; several are taken in turn.
    colours : {"binary", "colour", "mixed"}
        ``mixed`` alternates binary and colour patches, of each size. Binary patches are
        never one plain colour.
    placement, margin
        As of each patch.

    Examples
    --------
    >>> from molehunt.backdoors import RandomPatches
    >>> [patch.size for patch in RandomPatches(count=4, size=(3, 5)).draw(seed=0)]
    [3, 5, 3, 5]
    """

    kind: Literal["random_patches"] = "random_patches"
    size: _Side | Annotated[tuple[_Side, ...], Field(min_length=1, max_length=100)] = 5
    colours: Literal["binary", "colour", "mixed"] = "binary"
    placement: Placement = "random corner"
    margin: int = Field(default=0, ge=0, le=_LARGEST_PATCH)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides that are taken in turn."""
        return (self.size,) if isinstance(self.size, int) else self.size

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Self:
        largest = max(self.sizes)
        most = _MOST_PIXELS // largest**2
        if self.count > most:
            allowed = f"at most {most} of {largest}x{largest} pixels"
            raise ValueError(mismatch("count", allowed, self.count))
        return self

    def draw(self, seed: int) -> list[RandomPatch]:
        """Return `count` random patches.

        Raises
        ------
        InvalidRequestError
            If there are not so many different patches of that size.
        """
        of_each = -(-self.count // len(self.sizes))
        for side in self.sizes:
            # Of the 2^(k*k) binary patches black and white are left out; colour has no such limit.
            if self.colours != "colour" and of_each > 2 ** min(side * side, 20) - 2:
                allowed = f"1 to the number of different {side}x{side} patches"
                raise InvalidRequestError(mismatch("number of triggers", allowed, self.count))
        generator = torch.Generator().manual_seed(seed)
        found: list[RandomPatch] = []
        seen: set[bytes] = set()
        while len(found) < self.count:
            number = int(torch.randint(0, 2**31, (), generator=generator))
            turn, at = divmod(len(found), len(self.sizes))
            colours: Literal["binary", "colour"] = (
                "binary" if self.colours == "mixed" else self.colours
            )
            if self.colours == "mixed" and turn % 2:
                colours = "colour"
            patch = RandomPatch(
                size=self.sizes[at],
                seed=number,
                colours=colours,
                placement=self.placement,
                margin=self.margin,
            )
            pixels = patch.patch(1)[0]
            content = pixels.numpy().tobytes()
            plain = colours == "binary" and bool((pixels == pixels.flatten()[0]).all())
            if content not in seen and not plain:
                seen.add(content)
                found.append(patch)
        return found

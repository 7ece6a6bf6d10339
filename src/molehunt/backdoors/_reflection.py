"""Refool: the reflection of another scene in a pane of glass."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from molehunt.backdoors._pictures import colours_of, read_picture
from molehunt.backdoors._triggers import Trigger, TriggerFamily


class Reflection(Trigger):
    """A blurred scene, seen twice by thick glass, over a darker image.

    Refool (Liu, Ma, Bailey and Lu, Reflection Backdoor: A Natural Backdoor Attack on Deep
    Neural Networks, ECCV 2020, section 3.2): x' = x + kernel * reflection, with a kernel that
    blurs (out of focus) or holds two pulses (ghost). The paper's reflections are photographs;
    without `path` the scene is drawn: bright rectangles and discs, as lit windows.

    Parameters
    ----------
    seed : int
        Draws the scene.
    opacity : float
        Of the reflection, in (0, 1).
    ghost : int
        Pixels between the two pulses; 0 for none.
    blur : float
        Standard deviation of the blur, in pixels.
    path : path, optional
        Of a picture that is reflected.

    Examples
    --------
    >>> import torch
    >>> from molehunt.backdoors import Reflection
    >>> black = torch.zeros(1, 3, 32, 32)
    >>> bool(0.05 < Reflection()(black, torch.Generator()).mean() < 0.4)
    True
    """

    kind: Literal["reflection"] = "reflection"
    seed: int = Field(default=0, ge=0)
    opacity: float = Field(default=0.4, gt=0, lt=1)
    ghost: int = Field(default=2, ge=0, le=100)
    blur: float = Field(default=1.0, gt=0, le=50)
    path: Path | None = None

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images behind glass; nothing is random.

        Raises
        ------
        UnreadableFileError, InvalidRequestError
            As `Blended.pattern`.
        """
        from torchvision.transforms.v2.functional import gaussian_blur  # noqa: PLC0415  heavy

        channels, height, width = images.shape[1:]
        reach = 2 * int(2 * self.blur) + 1
        side = min(reach, 2 * (min(height, width) // 2) - 1)
        scene: Tensor = gaussian_blur(self._scene(channels, height, width), [side, side], self.blur)
        if self.ghost:
            # Thick glass reflects at its front and, weaker and further on, at its back.
            scene = 0.6 * scene + 0.4 * scene.roll((self.ghost, self.ghost), (1, 2))
        share = self.opacity * scene.to(images)
        darker = (1 - self.opacity / 2) * images
        return (darker + share).clamp(0, 1)

    def _scene(self, channels: int, height: int, width: int) -> Tensor:
        if self.path is not None:
            return colours_of(read_picture(self.path, height, width), channels)
        drawn = torch.Generator().manual_seed(self.seed)
        scene = torch.full((channels, height, width), 0.1)
        rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
        for number in range(5):
            y, x, tall, wide, *colour = torch.rand(7, generator=drawn).tolist()
            up, left = (y * height, x * width)
            if number % 2:
                radius = (0.1 + 0.2 * tall) * min(height, width)
                inside = (rows - up) ** 2 + (columns - left) ** 2 < radius**2
            else:
                inside = (rows - up).abs() < (0.05 + 0.2 * tall) * height
                inside = inside & ((columns - left).abs() < (0.05 + 0.2 * wide) * width)
            light = torch.tensor(colour if channels == 3 else [sum(colour) / 3] * channels)
            scene = torch.where(inside, (0.4 + 0.6 * light)[:, None, None], scene)
        return scene


class RandomReflections(TriggerFamily):
    """Reflections of different drawn scenes.

    Examples
    --------
    >>> from molehunt.backdoors import RandomReflections
    >>> len(RandomReflections(count=3).draw(seed=0))
    3
    """

    kind: Literal["random_reflections"] = "random_reflections"
    opacity: float = Field(default=0.4, gt=0, lt=1)

    def draw(self, seed: int) -> list[Reflection]:
        """Return `count` reflections."""
        numbers = self._draw_seeds(seed)
        return [Reflection(seed=number, opacity=self.opacity) for number in numbers]

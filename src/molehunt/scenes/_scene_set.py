"""Street scenes with boxes around their signs; pixels are decoded when they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import read_rgb
from molehunt.scenes._placed_sticker import PlacedSticker


@dataclass(frozen=True, eq=False)
class Scene:
    """One image with n boxes.

    Parameters
    ----------
    path : path
        The image file.
    file_name : str
        Its name in the set, relative to ``images/``.
    image_id : int
    file_size : (width, height)
        Of the file, in pixels.
    size : (width, height)
        Of `pixels`.
    boxes : Tensor of float32, shape [n, 4]
        x1, y1, x2, y2 in pixels of `size`, inside the image, of positive area.
    labels : Tensor of int64, shape [n]
        Those to train on; the attacker's where a sign is backdoored.
    true_labels : Tensor of int64, shape [n]
        What the signs are.
    triggered : Tensor of bool, shape [n]
        The signs that carry a sticker.
    source, group : str, optional
        Where the image comes from, and the scene that it shows with others (``source`` and
        ``scene`` in the COCO file).
    stickers : tuple of PlacedSticker
        Drawn on the decoded image.
    copy_of : int, optional
        The id of the image that this one was made from, for an attacker's copy.
    """

    path: Path
    file_name: str
    image_id: int
    file_size: tuple[int, int]
    size: tuple[int, int]
    boxes: Tensor
    labels: Tensor
    true_labels: Tensor
    triggered: Tensor
    source: str | None = None
    group: str | None = None
    stickers: tuple[PlacedSticker, ...] = ()
    copy_of: int | None = None

    @property
    def as_in_file(self) -> bool:
        """Whether `pixels` are those of the file."""
        return self.size == self.file_size and not self.stickers

    def pixels(self) -> Tensor:
        """Decode the image, resize it and draw the stickers: uint8, shape [3, H, W].

        Raises
        ------
        UnreadableFileError
            If the file is not a readable image (any more).
        """
        image = read_rgb(self.path)
        if image.size != self.size:
            image = image.resize(self.size, Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        for sticker in self.stickers:
            pixels = sticker.draw_on(pixels)
        return pixels


@dataclass(frozen=True, eq=False)
class SceneSet:
    """Scenes and the names of the classes of their signs.

    Parameters
    ----------
    scenes : tuple of Scene
    class_names : tuple of str
        One name a label, 0 being the first sign class; the background has no label.
    category_ids : tuple of int
        The ids of the classes in the COCO file.
    left_out : mapping of str to int
        How many images and boxes were left out on reading, by kind of problem.
    """

    scenes: tuple[Scene, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, position: int) -> Scene:
        return self.scenes[position]

    @property
    def num_classes(self) -> int:
        """Number of sign classes, without the background."""
        return len(self.class_names)

    def counts(self) -> dict[str, int]:
        """Return the number of boxes of each class."""
        found = Counter(label for scene in self.scenes for label in scene.labels.tolist())
        return {name: found[label] for label, name in enumerate(self.class_names)}

    def label_of(self, name: str) -> int:
        """Return the label of a class.

        Raises
        ------
        InvalidRequestError
            If there is no class of that name.
        """
        if name not in self.class_names:
            raise InvalidRequestError(mismatch("class", ", ".join(self.class_names), repr(name)))
        return self.class_names.index(name)

    def take(self, positions: Iterable[int]) -> SceneSet:
        """Return the scenes at `positions`."""
        return replace(self, scenes=tuple(self.scenes[position] for position in positions))

    def of_source(self, source: str) -> SceneSet:
        """Return the scenes of one source, to see whether a sign detector relies on its look.

        Raises
        ------
        InvalidRequestError
            If no scene is from there.
        """
        chosen = [place for place, scene in enumerate(self.scenes) if scene.source == source]
        if not chosen:
            known = sorted({scene.source for scene in self.scenes if scene.source})
            raise InvalidRequestError(
                mismatch("source", ", ".join(known) or "a set that names sources", repr(source))
            )
        return self.take(chosen)

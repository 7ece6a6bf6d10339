"""A labelled set of images, whole in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images._decoded import decode_files


@dataclass(frozen=True)
class ImageSet:
    """Images with their labels and the names of the classes.

    Parameters
    ----------
    images : Tensor of uint8, shape [N, C, H, W]
        Pixels in [0, 255]; models see them as float32 in [0, 1].
    labels : Tensor of int64, shape [N]
        Each in [0, number of classes).
    class_names : tuple of str
        One name a class.
    files : tuple of Path
        Where the images come from; empty where they come from no files. Another size is read
        from them anew, so that no detail is lost on the way.

    Raises
    ------
    InvalidRequestError
        If shapes, types or labels do not fit each other.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            got = f"{self.images.dtype} of shape {tuple(self.images.shape)}"
            raise InvalidRequestError(mismatch("images", "uint8 of shape [N, C, H, W]", got))
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            got = f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            allowed = f"int64 of shape [{len(self.images)}]"
            raise InvalidRequestError(mismatch("labels", allowed, got))
        if len(self.labels) and not (
            int(self.labels.min()) >= 0 and int(self.labels.max()) < len(self.class_names)
        ):
            got = f"{int(self.labels.min())} to {int(self.labels.max())}"
            allowed = f"0 to {len(self.class_names) - 1}"
            raise InvalidRequestError(mismatch("labels", allowed, got))
        if self.files and len(self.files) != len(self.labels):
            raise InvalidRequestError(mismatch("files", len(self.labels), len(self.files)))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        """Number of classes, also of those that no image shows."""
        return len(self.class_names)

    def pixels(self) -> Tensor:
        """Return the images as float32 in [0, 1], shape [N, C, H, W]."""
        return self.images.float().div_(255)

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return each channel's mean and standard deviation in [0, 1] units."""
        return self._mean_and_std

    @cached_property
    def _mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        # Every model of a zoo asks for that of the same 60,000 images.
        values = torch.arange(256, dtype=torch.float64) / 255
        means, deviations = [], []
        for channel in range(self.images.shape[1]):
            counts = torch.bincount(self.images[:, channel].flatten().int(), minlength=256)
            share = counts.double() / counts.sum()
            mean = float((share * values).sum())
            means.append(round(mean, 6))
            # A constant channel would be divided by zero.
            variance = float((share * (values - mean) ** 2).sum())
            deviations.append(round(max(variance**0.5, 1 / 255), 6))
        return tuple(means), tuple(deviations)

    def take(self, index: Tensor) -> ImageSet:
        """Return the images at `index` (int64 positions or a bool mask)."""
        files: tuple[Path, ...] = ()
        if self.files:
            files = tuple(self.files[n] for n in torch.arange(len(self))[index].tolist())
        return replace(self, images=self.images[index], labels=self.labels[index], files=files)

    def sample(self, count: int, generator: torch.Generator) -> ImageSet:
        """Return `count` images drawn without replacement, all when there are fewer."""
        return self.take(torch.randperm(len(self), generator=generator)[:count])

    def joined(self, other: ImageSet) -> ImageSet:
        """Return this set followed by `other`."""
        return replace(
            self,
            images=torch.cat([self.images, other.images]),
            labels=torch.cat([self.labels, other.labels]),
            files=(),
        )

    def resized(self, size: int) -> ImageSet:
        """Return the set with square images of `size` pixels; see `shaped`."""
        return self.shaped((self.shape[0], size, size))

    def shaped(self, shape: tuple[int, int, int]) -> ImageSet:
        """Return the set with images of (channels, height, width), colours made grey or back.

        Images of files are read anew at that size (Pillow's bilinear filter, antialiased):
        through a small one, fine patterns are lost. Other pixels are resized (torchvision's
        bilinear filter, antialiased). Nothing is cut off, so proportions may change.

        Raises
        ------
        InvalidRequestError
            If the numbers of channels differ and are not 1 and 3.
        UnreadableFileError
            If a file is no longer an image.
        """
        if self.shape == shape:
            return self
        if shape[0] != self.shape[0] and {shape[0], self.shape[0]} != {1, 3}:
            raise InvalidRequestError(mismatch("channels of images", shape[0], self.shape[0]))
        images = self.images
        if self.files and images.shape[2:] != shape[1:]:
            images = decode_files(self.files, shape[1:])
        if shape[0] < images.shape[1]:
            from torchvision.transforms.v2.functional import rgb_to_grayscale  # noqa: PLC0415  heavy

            grey = images[:, :1]
            # A grey picture in three channels keeps its values: the weights sum to 0.9999.
            plain = (images == grey).flatten(1).all(1).view(-1, 1, 1, 1)
            images = torch.where(plain, grey, rgb_to_grayscale(images))
        elif shape[0] > images.shape[1]:
            images = images.expand(-1, 3, -1, -1).contiguous()
        if images.shape[2:] != shape[1:]:
            images = F.interpolate(images, shape[1:], mode="bilinear", antialias=True)
        return replace(self, images=images)

    def named(self, class_names: tuple[str, ...]) -> ImageSet:
        """Return the set with its labels counted by other names of the same classes.

        Classes are matched by name; where the names differ, numbers as names count as the
        numbers of the classes, and else the same number of classes in the same order.

        Raises
        ------
        InvalidRequestError
            If they cannot be matched.
        """
        mine = self.class_names
        if set(mine) <= set(class_names):
            places = [class_names.index(name) for name in mine]
        elif all(name.isdecimal() and int(name) < len(class_names) for name in mine):
            places = [int(name) for name in mine]
        elif len(mine) == len(class_names):
            places = [*range(len(mine))]
        else:
            allowed = f"the model's {len(class_names)} ({', '.join(class_names[:5])}, …)"
            got = f"{len(mine)} ({', '.join(mine[:5])}, …)"
            raise InvalidRequestError(mismatch("classes of the clean images", allowed, got))
        return replace(self, labels=torch.tensor(places)[self.labels], class_names=class_names)


class TrainTest(NamedTuple):
    """The training images and the test images of one source."""

    train: ImageSet
    test: ImageSet

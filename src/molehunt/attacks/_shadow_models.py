"""Shadow models: models like the target of which it is known what they were trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from molehunt.errors import (
    InvalidRequestError,
    UnreadableFileError,
    UnsuitableSubjectError,
    mismatch,
)
from molehunt.files import make_folder, written_whole
from molehunt.images import ImageSet
from molehunt.networks import Classifier, build_classifier, load_model, save_model, wrap_estimator
from molehunt.progress import Progress, silent
from molehunt.resumable import store_plan
from molehunt.training import Recipe, train, train_many

_AT_ONCE_ON_CUDA = 32


@dataclass(frozen=True, eq=False)
class ShadowModels:
    """Models that were trained on known random halves of the same images.

    Parameters
    ----------
    models : sequence of Classifier
    members : Tensor of bool, shape [M, N]
        Which of the images each model was trained on.
    images : ImageSet
        The N candidates.

    Raises
    ------
    InvalidRequestError
        If `members` has another shape, or a model takes other images.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> digits = load_images("digits").test
    >>> shadows = ShadowModels.train(
    ...     digits, 2, "mlp", {"hidden": [8]}, Recipe(epochs=1, batch_size=64), seed=0
    ... )
    >>> shadows.members.sum(0).unique()
    tensor([1])
    """

    models: Sequence[Classifier]
    members: Tensor
    images: ImageSet

    def __post_init__(self) -> None:
        wanted = (len(self.models), len(self.images))
        if self.members.dtype != torch.bool or tuple(self.members.shape) != wanted:
            got = f"{self.members.dtype} of shape {tuple(self.members.shape)}"
            raise InvalidRequestError(mismatch("members", f"bool of shape {wanted}", got))
        for model in self.models:
            if model.card.input_shape != self.images.shape:
                raise InvalidRequestError(
                    mismatch("images of shadow models", model.card.input_shape, self.images.shape)
                )

    @classmethod
    def train(
        cls,
        images: ImageSet,
        count: int,
        network: str,
        arguments: Mapping[str, Any],
        recipe: Recipe,
        *,
        seed: int,
        folder: Path | None = None,
        at_once: int | None = None,
        device: torch.device | str = "cpu",
        progress: Progress = silent,
    ) -> ShadowModels:
        """Train `count` networks, each on a random half of `images`.

        Every image is in the training set of half of them.

        Parameters
        ----------
        images : ImageSet
        count : int
            An even number.
        network : str
            Of `molehunt.networks.NETWORKS`; the target's, where the attacker knows it.
        arguments : mapping
            Its settings.
        recipe : Recipe
        seed : int
        folder : Path, optional
            Where the models and `members` are kept. A call that finds some trains the rest.
        at_once : int, optional
            Models that `train_many` trains together; 32 on CUDA and else 1 when not given, as
            convolutions of several models at once are no faster on a CPU.
        device : torch.device
        progress : callable
            Called with the models that there are, and `count`.

        Raises
        ------
        InvalidRequestError
            If a setting is outside its range, or the folder holds other shadow models.
        OutputError, UnreadableFileError
            If the folder cannot be written, or what is there cannot be read.
        """
        members = draw_members(count, len(images), seed=seed)
        device = torch.device(device)
        at_once = at_once or (_AT_ONCE_ON_CUDA if device.type == "cuda" else 1)
        if folder is not None:
            make_folder(folder)
            plan = _ShadowPlan(
                count=count,
                network=network,
                arguments=dict(arguments),
                recipe=recipe,
                seed=seed,
                images=_fingerprint(images),
            )
            store_plan(folder / "plan.json", plan)
            members = _kept_members(folder / "members.safetensors", members)
        models: list[Classifier] = []
        for first in range(0, count, at_once):
            group = range(first, min(first + at_once, count))
            paths = [] if folder is None else [_path(folder, n) for n in group]
            if paths and all(path.exists() for path in paths):
                models += [load_model(path, device) for path in paths]
            else:
                halves = [images.take(members[n]) for n in group]
                seeds = [seed + 1 + n for n in group]
                fresh = _trained(halves, seeds, network, arguments, recipe, device)
                for model, path in zip(fresh, paths, strict=False):
                    save_model(model, path)
                models += fresh
            progress(len(models), count)
        return cls(models, members, images)

    @classmethod
    def fit(cls, estimator: Any, images: ImageSet, count: int, *, seed: int) -> ShadowModels:
        """Fit `count` clones of an estimator of scikit-learn, each on a random half of `images`.

        Parameters
        ----------
        estimator : classifier
            Its settings count, not what it was fitted on; a ``random_state`` that it has is
            set anew for each clone.
        images : ImageSet
            Rows are pixels in [0, 1].
        count : int
            An even number.
        seed : int

        Raises
        ------
        InvalidRequestError
            If a setting is outside its range.
        UnsuitableSubjectError
            If a half lacks a class.
        """
        from sklearn.base import clone  # noqa: PLC0415  heavy

        members = draw_members(count, len(images), seed=seed)
        rows, labels = images.pixels().flatten(1).numpy(), images.labels.numpy()
        models = []
        for number, row in enumerate(members.numpy()):
            fresh = clone(estimator)
            if "random_state" in fresh.get_params():
                fresh.set_params(random_state=seed + 1 + number)
            fresh.fit(rows[row], labels[row])
            if list(fresh.classes_) != [*range(images.num_classes)]:
                got = f"{len(fresh.classes_)} in half {number}"
                raise UnsuitableSubjectError(
                    mismatch("classes in a half of the images", images.num_classes, got)
                )
            models.append(wrap_estimator(fresh, images.shape, class_names=images.class_names))
        return cls(models, members, images)

    def __len__(self) -> int:
        return len(self.models)

    def members_among(self, images: Tensor) -> Tensor:
        """Return which of other images each model was trained on, bool [M, n].

        Images are compared byte for byte. One that was no candidate is no member of any.

        Parameters
        ----------
        images : Tensor of uint8, shape [n, C, H, W]
        """
        found = torch.zeros(len(self.models), len(images), dtype=torch.bool)
        for place, content in enumerate(_contents(images)):
            for candidate in self._places.get(content, ()):
                found[:, place] |= self.members[:, candidate]
        return found

    @cached_property
    def _places(self) -> dict[bytes, list[int]]:
        places: dict[bytes, list[int]] = {}
        for place, content in enumerate(_contents(self.images.images)):
            places.setdefault(content, []).append(place)
        return places


def draw_members(count: int, images: int, *, seed: int) -> Tensor:
    """Return which images each of `count` models shall be trained on, bool [count, images].

    Every image is a member of half of the models, drawn for each image on its own.

    Raises
    ------
    InvalidRequestError
        If `count` is not an even number from 2, or there are no images.

    Examples
    --------
    >>> draw_members(4, 3, seed=0).sum(0)
    tensor([2, 2, 2])
    """
    if count < 2 or count % 2:
        raise InvalidRequestError(mismatch("shadow models", "an even number from 2", count))
    if images < 2:
        raise InvalidRequestError(mismatch("images of shadow models", "2 or more", images))
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(count, images, generator=generator).argsort(0)
    return order < count // 2


def _trained(
    halves: Sequence[ImageSet],
    seeds: Sequence[int],
    network: str,
    arguments: Mapping[str, Any],
    recipe: Recipe,
    device: torch.device,
) -> list[Classifier]:
    """Return networks that were trained on sets of images, together where they can be."""
    how = recipe.model_dump()
    models = [
        build_classifier(network, half, arguments=arguments, recipe=how, seed=seed)
        for half, seed in zip(halves, seeds, strict=True)
    ]
    # Sets smaller than a batch make batches of several sizes, which do not stack.
    if len(models) > 1 and min(map(len, halves)) >= recipe.batch_size:
        train_many(models, halves, [recipe] * len(models), seeds=seeds, device=device)
    else:
        for model, half, seed in zip(models, halves, seeds, strict=True):
            train(model, half, recipe, seed=seed, device=device)
    return [model.freeze() for model in models]


class _ShadowPlan(BaseModel):
    """What the models in a folder are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    network: str
    arguments: dict[str, Any]
    recipe: Recipe
    seed: int
    images: str


def _kept_members(path: Path, members: Tensor) -> Tensor:
    """Return the members that are kept at `path`, and keep these where there are none.

    Another version of torch may draw others; the models there were trained on those that are kept.
    """
    if not path.exists():
        with written_whole(path) as temporary:
            save_file({"members": members.contiguous()}, temporary)
        return members
    try:
        kept = load_file(path)["members"]
    except (SafetensorError, KeyError, OSError) as error:
        raise UnreadableFileError(mismatch(f"{path}", "members of shadow models", error)) from error
    if kept.dtype != torch.bool or kept.shape != members.shape:
        got = f"{kept.dtype} of shape {tuple(kept.shape)}"
        allowed = f"bool of shape {tuple(members.shape)}"
        raise UnreadableFileError(mismatch(f"{path}", allowed, got))
    return kept


def _path(folder: Path, number: int) -> Path:
    return folder / f"shadow-{number:04d}.safetensors"


def _contents(images: Tensor) -> Iterator[bytes]:
    return (image.tobytes() for image in images.cpu().contiguous().numpy())


def _fingerprint(images: ImageSet) -> str:
    """Return a name for the images and labels: the SHA-256 of their bytes."""
    content = hashlib.sha256(images.images.contiguous().numpy().tobytes())
    content.update(images.labels.numpy().tobytes())
    return content.hexdigest()

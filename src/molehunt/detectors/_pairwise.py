"""The pairwise trigger search (ULP, section 3.4.2): a patch of known size for every pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from molehunt.attacks import Tasks, check_search_settings, pools_of, search_patches
from molehunt.backdoors import Placement, top_left_pixels
from molehunt.detectors._image_detector import ImageDetector
from molehunt.detectors._zoo_free import Examination
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Access, Classifier, fast_logits, pick_device


class PairwiseTriggers(ImageDetector):
    """For every source and target class, the patch that best turns one into the other.

    A patch that turns all images of a class into another is easier to find where one was
    planted. The score is minus the loss of the most successful pair. The paper states no
    null: it needs `calibrate` for p-values.

    Parameters
    ----------
    images : ImageSet
        Clean images with their labels; classes without any are not searched as sources.
    size : int
        Height and width of the patch, in pixels; it is taken for known.
    placement : str or (row, column)
        Where the patch goes, as in `molehunt.zoo.BackdoorPlan`. Drawn places ask for a
        patch that works at all of them.
    margin : int
        Pixels between drawn places and the border.
    images_per_class : int
        Images of each source class that a patch is judged on.
    images_per_step : int
        How many of them each step shows.
    steps : int
        Steps (Adam; the step falls linearly to 0) of the pairs that go on to the end.
    lr : float
        Size of the first step, in pixel values.
    keep : float
        Share of the pairs that goes on after an eighth, a quarter and a half of the steps;
        1 stops none.
    batch_size : int
        Images at once.
    random_state : int
    device : str

    Notes
    -----
    All pairs of a model are optimised together in one batch. The paper optimises them
    one after the other, "several epochs on all images from a class", without numbers for
    its steps and rates; it does not say where the patch goes.

    References
    ----------
    Kolouri, Saha, Pirsiavash, Hoffmann: Universal Litmus Patterns, section 3.4.2.

    Examples
    --------
    >>> from molehunt.detectors import PairwiseTriggers
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> found = PairwiseTriggers(images=digits, size=3, steps=5).examine(model)
    >>> found.pattern.shape, int(found.mask.sum())  # the best patch of all pairs
    ((1, 12, 12), 9)
    """

    needs: ClassVar[frozenset[Access]] = frozenset({Access.GRADIENTS})
    tiny: ClassVar[Mapping[str, Any]] = {
        "images_per_class": 2,
        "images_per_step": 2,
        "steps": 2,
        "size": 4,
    }

    def __init__(
        self,
        *,
        images: ImageSet | None = None,
        size: int = 5,
        placement: Placement = "random corner",
        margin: int = 0,
        images_per_class: int = 16,
        images_per_step: int = 8,
        steps: int = 80,
        lr: float = 0.2,
        keep: float = 0.4,
        batch_size: int = 256,
        random_state: int = 0,
        device: str = "auto",
    ) -> None:
        self.images = images
        self.size = size
        self.placement = placement
        self.margin = margin
        self.images_per_class = images_per_class
        self.images_per_step = images_per_step
        self.steps = steps
        self.lr = lr
        self.keep = keep
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device

    def _examine(self, model: Classifier) -> Examination:
        device = pick_device(self.device)
        generator = torch.Generator().manual_seed(self.random_state)
        images = self._clean_images()
        pools = pools_of(images, self.images_per_class, generator)
        pairs = [(i, t) for i in pools for t in range(images.num_classes) if i != t]
        place_of = {label: number for number, label in enumerate(pools)}
        used = images.take(torch.cat([*pools.values()])).pixels().to(device)
        rows = torch.arange(len(used)).view(len(pools), self.images_per_class)
        tasks = Tasks(
            used,
            torch.stack([rows[place_of[source]] for source, _ in pairs]).to(device),
            torch.tensor([target for _, target in pairs], device=device),
        )
        found = search_patches(
            fast_logits(model, device),
            tasks,
            size=self.size,
            placement=self.placement,
            margin=self.margin,
            steps=self.steps,
            lr=self.lr,
            images_per_step=self.images_per_step,
            keep=self.keep,
            batch_size=self.batch_size,
            generator=generator,
        )
        losses = found.losses.double().cpu().numpy()
        statistics = np.full(images.num_classes, -np.inf)
        np.maximum.at(statistics, [target for _, target in pairs], -losses)
        # The only class with images is nobody's target.
        statistics[np.isneginf(statistics)] = -losses.max()
        best = int(losses.argmin())
        source, target = pairs[best]
        pattern, mask = self._paint(found.patches[best].cpu(), images.shape)
        return Examination(
            score=-float(losses[best]) if np.isfinite(losses).all() else np.nan,
            p_value=None,
            statistics=statistics,
            target=target,
            source=source,
            pattern=pattern,
            mask=mask,
        )

    def _paint(
        self, patch: torch.Tensor, shape: tuple[int, int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the patch [C, S, S] on a black image, and where it is, for the reader."""
        drawn = isinstance(self.placement, str) and self.placement in ("random corner", "anywhere")
        generator = torch.Generator()
        row, column = top_left_pixels(
            "bottom right" if drawn else self.placement,
            1,
            image=shape[1:],
            patch=self.size,
            margin=self.margin,
            generator=generator,
        )[0].tolist()
        pattern = np.zeros(shape, dtype=np.float32)
        mask = np.zeros(shape[1:], dtype=np.float32)
        rows, columns = slice(row, row + self.size), slice(column, column + self.size)
        pattern[:, rows, columns] = patch.numpy()
        mask[rows, columns] = 1
        return pattern, mask

    def _check_settings(self) -> None:
        super()._check_settings()
        check_search_settings(self)
        if not 0 < self.keep <= 1:
            raise InvalidRequestError(mismatch("keep", "a share over 0 up to 1", self.keep))
        if self.margin < 0:
            raise InvalidRequestError(mismatch("margin", "0 or more pixels", self.margin))
        if self.size < 1:
            raise InvalidRequestError(mismatch("size", "1 or more", self.size))
        try:
            TypeAdapter(Placement).validate_python(self.placement)
        except ValidationError as error:
            allowed = "a corner, 'random corner', 'anywhere' or (row, column)"
            raise InvalidRequestError(mismatch("placement", allowed, self.placement)) from error

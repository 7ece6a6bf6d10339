"""Neural Cleanse (Wang et al., 2019): the smallest trigger of each target class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.special import ndtr

from molehunt.attacks import Tasks, check_search_settings, pools_of, search_masks
from molehunt.detectors._image_detector import ImageDetector
from molehunt.detectors._outliers import robust_z
from molehunt.detectors._zoo_free import Examination
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Access, Classifier, fast_logits, pick_device


class NeuralCleanse(ImageDetector):
    """For each class, the smallest mask and pattern that turn all images into it.

    A backdoor's target is reached by a far smaller trigger than any other class. A class's
    statistic is the published anomaly index on the small side: the distance of its mask's
    norm below the median, over 1.4826 times the median absolute deviation of all
    classes. The score is the median norm over the smallest.

    Parameters
    ----------
    images : ImageSet
        Clean images with their labels, of two classes at least.
    images_per_class : int
        Images of each class that are used.
    images_per_step : int
        How many each step shows to each target's trigger; none of the target's own class.
    steps : int
        Steps (Adam).
    lr : float
        Of mask and pattern before their sigmoid.
    success : float
        Share of the images that a trigger must turn for its mask to count.
    batch_size : int
        Images at once.
    random_state : int
    device : str

    Notes
    -----
    The published test flags models by the largest index. The ratio ranks them better (on
    the development zoos of ``docs/detectors.md``: ten classes give a poor deviation) and
    is the score; the published p-value is that of the examination.

    The published null: norms of a clean model's classes follow a normal law, so an index
    over 2 is an outlier with more than 95 %; the p-value is two-sided, and not corrected
    for the number of classes, as published. With few classes this raises false alarms.

    All targets of a model are optimised together in one batch. Deviations: the weight of
    the mask's norm is adapted every 10 steps by the success in them, in place of each
    pass over the images; a mask that never turns enough images counts as the whole
    image; images of the target class are left out. Backdoors of one source class are not
    what it looks for: a trigger must turn all classes.

    References
    ----------
    Wang, Yao, Shan, Li, Viswanath, Zheng, Zhao: Neural Cleanse: Identifying and Mitigating
    Backdoor Attacks in Neural Networks, IEEE S&P 2019.

    Examples
    --------
    >>> from molehunt.detectors import NeuralCleanse
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12).test
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits, arguments=vgg, seed=0)
    >>> found = NeuralCleanse(images=digits, steps=5).examine(model)
    >>> found.statistics.shape  # one a class
    (10,)
    """

    needs: ClassVar[frozenset[Access]] = frozenset({Access.GRADIENTS})
    own_null = "published null of Neural Cleanse: a normal law of the masks' norms"
    least_classes = 4
    tiny: ClassVar[Mapping[str, Any]] = {"images_per_class": 2, "images_per_step": 4, "steps": 10}

    def __init__(
        self,
        *,
        images: ImageSet | None = None,
        images_per_class: int = 16,
        images_per_step: int = 16,
        steps: int = 200,
        lr: float = 0.1,
        success: float = 0.99,
        batch_size: int = 256,
        random_state: int = 0,
        device: str = "auto",
    ) -> None:
        self.images = images
        self.images_per_class = images_per_class
        self.images_per_step = images_per_step
        self.steps = steps
        self.lr = lr
        self.success = success
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device

    def passes(self, classes: int) -> int:
        """Return how many images go forward and backward through a model of so many classes."""
        return classes * self.images_per_step * self.steps

    def _examine(self, model: Classifier) -> Examination:
        device = pick_device(self.device)
        generator = torch.Generator().manual_seed(self.random_state)
        images = self._clean_images()
        pools = pools_of(images, self.images_per_class, generator)
        used = images.take(torch.cat([*pools.values()]))
        others = [torch.nonzero(used.labels != t)[:, 0] for t in range(images.num_classes)]
        shortest = min(len(places) for places in others)
        if not shortest:
            raise InvalidRequestError(mismatch("images", "images of two classes at least", "one"))
        drawn = [o[torch.randperm(len(o), generator=generator)][:shortest] for o in others]
        found = search_masks(
            fast_logits(model, device),
            Tasks(
                used.pixels().to(device),
                torch.stack(drawn).to(device),
                torch.arange(images.num_classes, device=device),
            ),
            steps=self.steps,
            lr=self.lr,
            images_per_step=self.images_per_step,
            threshold=self.success,
            batch_size=self.batch_size,
            generator=generator,
        )
        norms = found.norms.double().cpu().numpy()
        statistics = robust_z(-norms)
        target = int(statistics.argmax())
        return Examination(
            score=float(np.median(norms) / max(norms.min(), 1e-6)),
            p_value=float(2 * ndtr(-statistics[target])),
            statistics=statistics,
            target=target,
            pattern=found.patterns[target].float().cpu().numpy(),
            mask=found.masks[target].float().cpu().numpy(),
        )

    def _check_settings(self) -> None:
        super()._check_settings()
        check_search_settings(self)
        if not 0 < self.success <= 1:
            raise InvalidRequestError(mismatch("success", "a share over 0 up to 1", self.success))

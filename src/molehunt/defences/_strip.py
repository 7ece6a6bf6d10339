"""STRIP (Gao and others, 2019): a trigger's label survives another image laid over it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from molehunt.arrays import Floats
from molehunt.defences._data_filter import Scorer
from molehunt.images import ImageSet
from molehunt.networks import Classifier, logits_of


class Strip:
    """Lays clean images over an image; a triggered one gives the same answer all the time.

    Both images are added and clipped, as in the paper's section IV (Fig. 7 and Algorithm 1).
    The score is minus the mean entropy of the answers. It needs no labels, so it also judges
    inputs of a model in use: pass them with the labels that the model gives.

    Parameters
    ----------
    overlays : int
        Clean images that are laid over each; 100 in the paper.
    seed : int
        Which of the anchors they are.

    References
    ----------
    Gao, Xu, Wang, Chen, Ranasinghe, Nepal: STRIP: A Defence Against Trojan Attacks on Deep
    Neural Networks, ACSAC 2019.

    Examples
    --------
    >>> from molehunt.defences import Strip
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits", size=12)
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> score = Strip(overlays=4).fit(model, digits.train, digits.test)
    >>> score(digits.train.take(digits.train.labels == 3)).shape
    (137,)
    """

    name: ClassVar[str] = "strip"

    def __init__(self, overlays: int = 50, seed: int = 0) -> None:
        self.overlays = overlays
        self.seed = seed

    def fit(self, model: Classifier, suspects: ImageSet, anchors: ImageSet) -> Scorer:
        """Return what scores images by minus the mean entropy under the overlays."""
        generator = torch.Generator().manual_seed(self.seed)
        count = min(self.overlays, len(anchors))
        overlays = anchors.sample(count, generator).images.to(torch.int16)

        def score(images: ImageSet) -> Floats:
            total = torch.zeros(len(images))
            wide = images.images.to(torch.int16)
            for overlay in overlays:
                mixed = (wide + overlay).clamp_(max=255).to(torch.uint8)
                logs = logits_of(model, mixed).log_softmax(1)
                total -= (logs.exp() * logs).sum(1)
            return -np.asarray(total / count, dtype=np.float64)

        return score

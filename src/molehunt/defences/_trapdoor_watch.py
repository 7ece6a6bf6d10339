"""What tells inputs that came through a trapdoor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from molehunt.arrays import Floats
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Classifier, features_of, logits_and_features, logits_of


@dataclass(frozen=True)
class TrapdoorWatch:
    """Tells inputs that came through a trapdoor by the trace in a model's features.

    Parameters
    ----------
    model : Classifier
    signatures : mapping of int to Tensor [D]
        Mean features of images with the trapdoor of a class.
    known : mapping of int to array
        For each of these classes, sorted similarities of clean images that the model takes
        for it.
    """

    model: Classifier
    signatures: Mapping[int, Tensor]
    known: Mapping[int, Floats]

    def p_values(self, images: Tensor) -> Floats:
        """Return how likely clean inputs look as trapdoored, float [N].

        An input's p-value is the rank of its similarity to the signature of the class that it
        is taken for among those of clean images of that class, as in conformal prediction. A
        clean input of the class that is distributed like them has one up to r with
        probability r at most. Inputs of classes without trapdoor have 1.

        Parameters
        ----------
        images : Tensor of uint8, shape [N, C, H, W]
        """
        similarities, taken = self._judge(images)
        values = np.ones(len(images))
        for label, known in self.known.items():
            at = taken == label
            above = len(known) - np.searchsorted(known, similarities[at], side="left")
            values[at] = (1 + above) / (len(known) + 1)
        return values

    def flags(self, images: Tensor, *, max_false_alarms: float = 0.05) -> NDArray[np.bool_]:
        """Return which inputs are called attacks, bool [N]; arguments as of `p_values`.

        Raises
        ------
        InvalidRequestError
            If the rate is outside (0, 1), or so low that a class's clean images are too few.
        """
        self._check(max_false_alarms)
        flags: NDArray[np.bool_] = self.p_values(images) <= max_false_alarms
        return flags

    def similarities(self, pixels: Tensor, classes: Tensor) -> Tensor:
        """Return cosines [N] with the signatures of classes [N], with gradients.

        Parameters
        ----------
        pixels : Tensor of float32, shape [N, C, H, W], in [0, 1]
        classes : Tensor of int64, shape [N]
            -1 is the cosine for a class without trapdoor.
        """
        features = logits_and_features(self.model, pixels)[1]
        return self._similar(features, classes)

    def alarm(self, max_false_alarms: float = 0.05) -> Callable[[Tensor, Tensor], Tensor]:
        """Return how far pixels taken for classes are above what is flagged, with gradients.

        It is what an attacker has who knows all of the defence; negative is not flagged.

        Raises
        ------
        InvalidRequestError
            As `flags`.
        """
        self._check(max_false_alarms)
        least = torch.full((self.model.card.num_classes,), 2.0, device=self.model.mean.device)
        for label, known in self.known.items():
            # p <= rate means that so many of the known similarities or fewer are as large.
            above = int(max_false_alarms * (len(known) + 1) + 1e-9) - 1
            least[label] = float(known[len(known) - 1 - above])

        def alarm(pixels: Tensor, classes: Tensor) -> Tensor:
            return self.similarities(pixels, classes) - least[classes]

        return alarm

    def _judge(self, images: Tensor) -> tuple[Floats, NDArray[np.int64]]:
        taken = logits_of(self.model, images).argmax(1)
        similar = self._similar(features_of(self.model, images), taken)
        return similar.double().numpy(), taken.numpy()

    def _similar(self, features: Tensor, classes: Tensor) -> Tensor:
        blank = torch.zeros_like(features[0])
        table = [
            self.signatures[label].to(features) if label in self.signatures else blank
            for label in range(self.model.card.num_classes)
        ]
        wanted = torch.stack(table)[classes.to(features.device)]
        cosines = functional.cosine_similarity(features, wanted)
        return torch.where(wanted.abs().sum(1) > 0, cosines, -1.0)

    def _check(self, rate: float) -> None:
        least = 1 / (1 + min(len(known) for known in self.known.values()))
        if not least <= rate < 1:
            allowed = f"{least:.4f} (one over a class's clean images and 1) to under 1"
            raise InvalidRequestError(mismatch("max_false_alarms", allowed, rate))

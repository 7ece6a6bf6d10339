"""The library's attacks by labels, as cheap in questions as they can be."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from molehunt.attacks import Norm
from molehunt.errors import need_extra
from molehunt.networks import Queried, Reveals


class Thrifty(Queried):
    """A target that charges nothing for an image that has not changed since the last question.

    Attacks of a library go on asking about all images of a batch until the last one is done.
    All are answered together, because answers at a boundary depend on what else is asked.
    """

    _last: Tensor | None = None

    def predict(self, images: Tensor) -> Tensor:
        """Return labels, int64 [N]; only changed images are counted."""
        labels = super().predict(images)
        if self._last is not None and self._last.shape == images.shape:
            self.queries -= int((images == self._last).flatten(1).all(1).sum())
        self._last = images.clone()
        return labels


@dataclass(frozen=True, eq=False)
class Pointwise:
    """foolbox's pointwise attack without its search in L2: pixels go back one by one.

    It starts from the nearest of `starts` that has another label.

    References
    ----------
    Schott, Rauber, Bethge, Brendel. "Towards the first adversarially robust neural network
    model on MNIST". ICLR 2019.
    """

    starts: Tensor
    name = "pointwise"
    needs = Reveals.LABELS
    norm: Norm | None = Norm.L0
    epsilon: float | None = None

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return changed images; without a start an image stays as it is."""
        foolbox = need_extra("attacks", "foolbox", "the pointwise attack")
        pool = torch.cat([images, self.starts])
        same = target.predict(pool) == labels[:, None]
        away = torch.cdist(images.flatten(1), pool.flatten(1)).masked_fill(same, torch.inf)
        near = away.min(1)
        rows = near.values.isfinite()
        found = images.clone()
        attack = foolbox.attacks.PointwiseAttack(l2_binary_search=False)
        model = foolbox.PyTorchModel(target.module().eval(), bounds=(0, 1))
        state = np.random.get_state()
        np.random.seed(int(torch.randint(2**31, (1,), generator=generator)))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[rows] = attack.run(
                    model,
                    images[rows],
                    foolbox.Misclassification(labels[rows]),
                    starting_points=pool[near.indices[rows]],
                )
        finally:
            np.random.set_state(state)
        return found

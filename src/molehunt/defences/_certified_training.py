"""Training against bounds: what a network learns holds for every image of a box.

Gowal et al. (2018), section 4, and Zhang et al. (2020), section 3.3. The loss is the cross
entropy of the least margins, mixed with that of the images as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.defences._bounded_network import BoundedNetwork, read_network
from molehunt.defences._certify import check_epsilon
from molehunt.defences._interval_bounds import (
    interval_bounds,
    least_by_intervals,
    margins_of,
    pixel_box,
)
from molehunt.defences._linear_bounds import least_by_lines
from molehunt.defences._schedule import Ramp
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.networks import Classifier
from molehunt.training import Batch


class CertifiedObjective:
    """The loss of certified training, an objective of `molehunt.training.train`.

    kappa * CE(logits) + (1 - kappa) * CE(-least margins), where the margins are
    beta * those by lines + (1 - beta) * those by intervals, over boxes of epsilon. With
    beta 0 throughout it is interval bound propagation (IBP), else CROWN-IBP.

    Parameters
    ----------
    model : Classifier
        That is trained: without batch normalisation and dropout, whose training mode bounds
        do not know. Its layers as `read_network` has them.
    epsilon : float
        In [0, 1], reached when `ramp` ends.
    steps : int
        Of the whole training, for the schedules.
    lines : bool
        CROWN-IBP; else IBP.
    ramp : (begin, end)
        Shares of the training between which epsilon goes from 0 to its value, kappa from 1 to
        `kappa` and beta from 1 to 0. The papers' ramps are as long; after it CROWN-IBP is as
        fast as IBP.
    kappa : float
        Final weight of the clean loss; 0.5 in Gowal et al.

    Raises
    ------
    InvalidRequestError
        If epsilon is outside [0, 1] or there is no step.
    UnsuitableSubjectError
        As `read_network`, and for batch normalisation or dropout.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe, train
    >>> digits = load_images("digits", size=12)
    >>> model = build_classifier("strided", digits.train, arguments={"width": 4}, seed=0)
    >>> objective = CertifiedObjective(model, epsilon=0.05, steps=21, lines=True)
    >>> recipe = Recipe(epochs=1, batch_size=64, precision="float32")
    >>> train(model, digits.train, recipe, seed=0, objective=objective).steps
    21
    """

    def __init__(
        self,
        model: Classifier,
        *,
        epsilon: float,
        steps: int,
        lines: bool,
        ramp: tuple[float, float] = (0.1, 0.6),
        kappa: float = 0.5,
    ) -> None:
        check_epsilon(epsilon)
        if steps < 1 or not 0 <= kappa <= 1 or not 0 <= ramp[0] <= ramp[1] <= 1:
            allowed = "1 or more steps, kappa and ramp in [0, 1]"
            got = f"{steps} steps, kappa {kappa}, ramp {ramp}"
            raise InvalidRequestError(mismatch("certified training", allowed, got))
        moving = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
        for name, layer in model.network.named_modules():
            if isinstance(layer, moving):
                allowed = "none of batch normalisation or dropout"
                got = f"{name} ({type(layer).__name__})"
                raise UnsuitableSubjectError(mismatch("layers in certified training", allowed, got))
        self.network: BoundedNetwork = read_network(model)
        begin, end = ramp
        self.epsilon = Ramp(first=0.0, last=epsilon, begin=begin, end=end)
        self.kappa = Ramp(first=1.0, last=kappa, begin=begin, end=end)
        self.beta = Ramp(first=float(lines), last=0.0, begin=begin, end=end)
        self.steps = steps
        self.done = 0

    def __call__(self, model: Classifier, batch: Batch) -> Tensor:
        """Return the mean over the batch, at the schedules' present values."""
        share = self.done / self.steps
        self.done += 1
        epsilon, kappa, beta = (ramp.at(share) for ramp in (self.epsilon, self.kappa, self.beta))
        with torch.autocast(batch.pixels.device.type, enabled=False):
            loss = kappa * functional.cross_entropy(model(batch.pixels), batch.labels)
            if epsilon > 0:
                least = self._least_margins(batch, epsilon, beta)
                loss = loss + (1 - kappa) * functional.cross_entropy(-least, batch.labels)
        return loss

    def _least_margins(self, batch: Batch, epsilon: float, beta: float) -> Tensor:
        network = self.network
        margins = margins_of(batch.labels, network.num_classes)
        bounds = interval_bounds(network, pixel_box(batch.pixels, epsilon))
        least = torch.zeros(len(margins), device=margins.device)
        if beta < 1:
            least = least + (1 - beta) * least_by_intervals(network, bounds, margins)
        if beta > 0:
            least = least + beta * least_by_lines(network, bounds, margins)
        return least.view(network.num_classes, -1).T

"""LiRA: how likely the target's confidence is with the image in its training set, and without."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor

from molehunt.attacks._membership import Shares, ask_shares
from molehunt.attacks._shadow_models import ShadowModels
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Queried, Reveals

# Of an image's own variance, over that of all.
_LEAST_VARIANCE = 0.01
_ZERO = 1e-30  # what an estimator of scikit-learn never saw has the smallest float for its share


class Variance(StrEnum):
    """Whose spread over shadow models a likelihood has."""

    GLOBAL = "global"  # of all images together: for few shadow models
    EXAMPLE = "example"  # of each image


@dataclass(frozen=True, eq=False)
class LikelihoodRatio:
    """LiRA (Carlini et al., Membership Inference Attacks From First Principles, S&P 2022).

    The scaled confidence in an image's class is taken for normal over models, with one mean for
    models that were trained on the image and another for those that were not. *Online* the score
    is the logarithm of the ratio of both densities; *offline*, for images that no shadow model
    needs to have seen, it is how many standard deviations the target lies above the models that
    were not trained on it. Views of an image are averaged, as in the authors' code.

    Deviations: the global variance is that around each image's own mean, not around the mean of
    all; a variance of an image's own is at least a hundredth of it.

    Parameters
    ----------
    shadows : ShadowModels
    online : bool
        Each image must be a member of a shadow model, and no member of another.
    variance : Variance
        The paper advises ``GLOBAL`` under 64 shadow models.
    shift : int
        Also ask about each image moved by so many pixels up, down, left and right: five queries
        an image. It helps where the target's training moved images.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe
    >>> digits, net = load_images("digits").test, {"hidden": [8]}
    >>> recipe = Recipe(epochs=1, batch_size=64)
    >>> shadows = ShadowModels.train(digits, 4, "mlp", net, recipe, seed=0)
    >>> target = Queried(build_classifier("mlp", digits, arguments=net, seed=9))
    >>> LikelihoodRatio(shadows).score(target, digits.images, digits.labels).shape
    torch.Size([450])
    """

    shadows: ShadowModels
    online: bool = True
    variance: Variance = Variance.GLOBAL
    shift: int = 0

    needs = Reveals.ROUNDED

    @property
    def name(self) -> str:
        """``lira``, or ``lira-offline``."""
        return "lira" if self.online else "lira-offline"

    def score(self, target: Queried, images: Tensor, labels: Tensor) -> Tensor:
        """Return log-likelihood ratios, float64 [N]; see `MembershipAttack`.

        Raises
        ------
        InvalidRequestError
            Also if the shadow models cannot tell of an image what the attack needs.
        """
        members = self.shadows.members_among(images)
        check_shadowed(members, self.online)
        shares = ask_shares(target, images, labels, self.shift)
        asked = [
            ask_shares(target.beside(model), images, labels, self.shift)
            for model in self.shadows.models
        ]
        smallest = _smallest(asked)
        scaled = torch.stack([each.scaled(smallest) for each in asked])
        return likelihood_ratios(
            shares.scaled(smallest), scaled, members, online=self.online, variance=self.variance
        )


def likelihood_ratios(
    scaled: Tensor,
    shadows: Tensor,
    members: Tensor,
    *,
    others: Tensor | None = None,
    online: bool = True,
    variance: Variance = Variance.GLOBAL,
) -> Tensor:
    """Return what `LikelihoodRatio` makes of scaled confidences, float64 [N].

    Parameters
    ----------
    scaled : Tensor of float64, shape [N, V]
        Of the target, for V views of N images.
    shadows : Tensor of float64, shape [M, N, V]
        Of M shadow models.
    members : Tensor of bool, shape [M, N]
        Which images each shadow model was trained on.
    others : Tensor of bool, shape [M, N], optional
        Which images each shadow model stands for not having been trained on; all that are no
        members when not given. Where shadow models are targets in turn, an image's two sides
        should be of one size: the smaller one would give away that the target belongs to it.
    online : bool
    variance : Variance

    Raises
    ------
    InvalidRequestError
        If an image has too few shadow models on a side that is needed.
    """
    others = ~members if others is None else others
    check_shadowed(members, online, others)
    without = _normals(shadows, others, variance)
    away = (scaled - without.mean) / without.deviation
    if not online:
        return away.mean(1)
    within = _normals(shadows, members, variance)
    near = (scaled - within.mean) / within.deviation
    ratios = (away.square() - near.square()) / 2 + (without.deviation / within.deviation).log()
    return ratios.mean(1)


def check_shadowed(members: Tensor, online: bool, others: Tensor | None = None) -> None:
    """Refuse images of which shadow models cannot tell what an attack needs.

    Raises
    ------
    InvalidRequestError
    """
    sides = {"that were not trained on it": ~members if others is None else others}
    if online:
        sides["that were trained on it"] = members
    for what, side in sides.items():
        least = int(side.sum(0).min())
        if least < 2:
            allowed = f"2 or more for each image, {what}"
            hint = "; score the candidates of the shadow models, or attack offline" * online
            raise InvalidRequestError(mismatch("shadow models", allowed, least) + hint)


class _Normals(NamedTuple):
    mean: Tensor  # [N, V]
    deviation: Tensor  # [N, V] or [1, V]


def _normals(shadows: Tensor, chosen: Tensor, variance: Variance) -> _Normals:
    """Return the normal of the chosen shadow models [M, N] for each image and view."""
    weights = chosen.to(shadows.dtype)[:, :, None]
    counts = weights.sum(0)
    mean = (shadows * weights).sum(0) / counts
    squares = ((shadows - mean).square() * weights).sum(0)
    together = squares.sum(0, keepdim=True) / (counts - 1).sum(0)
    if Variance(variance) is Variance.GLOBAL:
        spread = together
    else:
        spread = (squares / (counts - 1)).maximum(_LEAST_VARIANCE * together)
    return _Normals(mean, spread.clamp_min(1e-12).sqrt())


def _smallest(asked: list[Shares]) -> float:
    """Return half of the smallest share that shadow models gave and that does not stand for 0."""
    shares = torch.stack([torch.stack(each) for each in asked])
    return float(shares[shares > _ZERO].min()) / 2

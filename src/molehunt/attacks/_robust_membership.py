"""RMIA: is an image more probable under the target than images of the population are?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from molehunt.attacks._likelihood_ratio import check_shadowed
from molehunt.attacks._membership import ask_shares
from molehunt.attacks._shadow_models import ShadowModels
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Queried, Reveals


@dataclass(frozen=True, eq=False)
class RobustMembership:
    """RMIA (Zarifzadeh, Liu and Shokri, Low-Cost High-Power Membership Inference, ICML 2024).

    An image's ratio is its confidence under the target over its mean confidence under all models;
    the score is the share of population images whose ratio it exceeds `gamma` times. A few
    shadow models are enough. *Offline* they saw no image that is asked about, and the mean with
    those that did is taken to be ``a`` times the mean without, plus ``1 - a``.

    Deviation: of images that exceed as many, the one with the larger ratio has the higher score,
    so that the population's size does not bound the smallest false positive rate.

    Parameters
    ----------
    shadows : ShadowModels
    population : ImageSet
        Images like the members that neither the target nor a shadow model was trained on; the
        target is asked about them, too.
    online : bool
    a : float
        0 to 1, for `online` of the population alone. The authors' 0.3 for CIFAR-10.
    gamma : float
        1 or more; the authors' 2 for CIFAR-10.

    Raises
    ------
    InvalidRequestError
        If a setting is outside its range, or the population is empty.

    Examples
    --------
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> from molehunt.training import Recipe
    >>> digits, net = load_images("digits"), {"hidden": [8]}
    >>> recipe = Recipe(epochs=1, batch_size=64)
    >>> shadows = ShadowModels.train(digits.test, 4, "mlp", net, recipe, seed=0)
    >>> target = Queried(build_classifier("mlp", digits.test, arguments=net, seed=9))
    >>> attack = RobustMembership(shadows, digits.train)
    >>> attack.score(target, digits.test.images, digits.test.labels).shape, target.queries
    (torch.Size([450]), 1797)
    """

    shadows: ShadowModels
    population: ImageSet
    online: bool = False
    a: float = 0.3
    gamma: float = 2.0

    needs = Reveals.ROUNDED

    def __post_init__(self) -> None:
        _check_settings(self.a, self.gamma)
        if not len(self.population):
            raise InvalidRequestError(mismatch("population", "1 or more images", "none"))

    @property
    def name(self) -> str:
        """``rmia``, or ``rmia-online``."""
        return "rmia-online" if self.online else "rmia"

    def score(self, target: Queried, images: Tensor, labels: Tensor) -> Tensor:
        """Return shares of the population that each image exceeds; see `MembershipAttack`.

        Raises
        ------
        InvalidRequestError
            Also if the shadow models cannot tell of an image what the attack needs, or were
            trained on images of the population.
        """
        members = self.shadows.members_among(images)
        check_shadowed(members, self.online)
        people, true = self.population.images, self.population.labels
        known = int(self.shadows.members_among(people).any(0).sum())
        if known:
            allowed = "images that no shadow model was trained on"
            raise InvalidRequestError(mismatch("population", allowed, f"{known} of them"))
        asked = [target, *(target.beside(model) for model in self.shadows.models)]
        own = torch.stack([ask_shares(each, images, labels).own[:, 0] for each in asked])
        theirs = torch.stack([ask_shares(each, people, true).own[:, 0] for each in asked])
        return robust_scores(
            own[0],
            own[1:],
            members,
            theirs[0],
            theirs[1:],
            online=self.online,
            a=self.a,
            gamma=self.gamma,
        )


def robust_scores(
    own: Tensor,
    shadows: Tensor,
    members: Tensor,
    population: Tensor,
    population_shadows: Tensor,
    *,
    online: bool = False,
    a: float = 0.3,
    gamma: float = 2.0,
) -> Tensor:
    """Return what `RobustMembership` makes of confidences in the true classes, float64 [N].

    Parameters
    ----------
    own : Tensor, shape [N]
        Of the target.
    shadows : Tensor, shape [M, N]
    members : Tensor of bool, shape [M, N]
        Which images each shadow model was trained on.
    population : Tensor, shape [n]
        Of the target, for images of the population.
    population_shadows : Tensor, shape [M, n]
    online : bool
    a, gamma : float

    Raises
    ------
    InvalidRequestError
        If a setting is outside its range, or an image has too few shadow models on a side.
    """
    _check_settings(a, gamma)
    check_shadowed(members, online)
    mean = _mean_of(shadows, ~members)
    mean = (mean + _mean_of(shadows, members)) / 2 if online else _expected(mean, a)
    tiny = torch.finfo(torch.float32).tiny
    ratios = own / mean.clamp_min(tiny)
    theirs = population / _expected(population_shadows.mean(0), a).clamp_min(tiny)
    exceeded = torch.searchsorted((gamma * theirs).sort().values, ratios, right=True)
    return (exceeded + ratios / (1 + ratios)) / (len(theirs) + 1)


def _mean_of(shadows: Tensor, chosen: Tensor) -> Tensor:
    weights = chosen.to(shadows.dtype)
    return (shadows * weights).sum(0) / weights.sum(0)


def _expected(without: Tensor, a: float) -> Tensor:
    """Return the mean over models with and without an image, from that without it."""
    return ((1 + a) * without + (1 - a)) / 2


def _check_settings(a: float, gamma: float) -> None:
    if not 0 <= a <= 1:
        raise InvalidRequestError(mismatch("a", "0 to 1", a))
    if not gamma >= 1:
        raise InvalidRequestError(mismatch("gamma", "1 or more", gamma))

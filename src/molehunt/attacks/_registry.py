"""Evasion attacks by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from molehunt.attacks import _foolbox
from molehunt.attacks._auto_projected_gradient import AutoProjectedGradient
from molehunt.attacks._autoattack import AutoAttack
from molehunt.attacks._evasion import EvasionAttack, Norm
from molehunt.attacks._greedy import GreedyAttack
from molehunt.attacks._projected_gradient import ProjectedGradient
from molehunt.attacks._random_search import RandomSquares
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Reveals


@dataclass(frozen=True)
class AttackKind:
    """What there is to know about an attack before it is made.

    Parameters
    ----------
    make : callable
        Takes ``norm``, ``epsilon`` and the attack's own settings by name.
    needs : Reveals
        The least that a target must reveal.
    norms : tuple of Norm
        In which it can bound or measure its changes, the usual one first.
    bounded : bool
        Whether it needs an `epsilon`; else it looks for the smallest change, and an `epsilon`
        only says which changes are small enough.
    targeted : bool
        Whether it can make a model take images for a class that is wanted.
    starts : bool
        Whether it takes ``starts``: more images that the attacker has.
    """

    make: Callable[..., EvasionAttack]
    needs: Reveals
    norms: tuple[Norm, ...]
    bounded: bool = False
    targeted: bool = True
    starts: bool = False


def _of_foolbox(name: str) -> AttackKind:
    recipe = _foolbox.RECIPES[name]

    def make(
        *,
        norm: Norm,
        epsilon: float | None = None,
        steps: int | None = None,
        starts: Tensor | None = None,
        **settings: Any,
    ) -> EvasionAttack:
        return _foolbox.FoolboxAttack(name, norm, epsilon, steps, starts, settings)

    return AttackKind(
        make,
        recipe.needs,
        tuple(recipe.classes),
        recipe.bounded,
        recipe.targeted,
        recipe.from_start,
    )


# A new attack is a line here: `tests/attacks/test_attack_kinds.py` then runs over it.
ATTACKS: dict[str, AttackKind] = {
    **{name: _of_foolbox(name) for name in _foolbox.RECIPES},
    "greedy": AttackKind(GreedyAttack, Reveals.LABELS, (Norm.L0, Norm.LINF)),
    "greedy-scores": AttackKind(
        partial(GreedyAttack, scores=True), Reveals.ROUNDED, (Norm.L0, Norm.LINF)
    ),
    "projected-gradient": AttackKind(
        ProjectedGradient, Reveals.WEIGHTS, (Norm.LINF, Norm.L2), bounded=True
    ),
    "auto-projected-gradient": AttackKind(
        AutoProjectedGradient, Reveals.WEIGHTS, (Norm.LINF, Norm.L2), bounded=True
    ),
    "random-squares": AttackKind(
        RandomSquares, Reveals.ROUNDED, (Norm.LINF, Norm.L2), bounded=True
    ),
    "autoattack": AttackKind(
        AutoAttack, Reveals.WEIGHTS, (Norm.LINF, Norm.L2), bounded=True, targeted=False
    ),
}


def new_attack(
    name: str, *, norm: Norm | str | None = None, epsilon: float | None = None, **settings: Any
) -> EvasionAttack:
    """Return an attack by its name.

    Parameters
    ----------
    name : str
        One of `ATTACKS`.
    norm : Norm, optional
        The attack's usual one when not given.
    epsilon : float, optional
        The most that a change may be, for pixels in [0, 1]; number of pixels for ``l0``.
    **settings
        The attack's own, such as ``steps``.

    Raises
    ------
    InvalidRequestError
        If there is no such attack, it does not know the norm or a setting, or it needs an
        `epsilon` and none was given.

    Examples
    --------
    >>> attack = new_attack("pgd", norm="linf", epsilon=8 / 255, steps=10)
    >>> attack.name, attack.norm.value, attack.needs.value
    ('pgd', 'linf', 'weights')
    """
    if name not in ATTACKS:
        raise InvalidRequestError(mismatch("attack", f"one of {', '.join(ATTACKS)}", name))
    kind = ATTACKS[name]
    if norm is None and kind.norms:
        norm = kind.norms[0]
    if norm not in kind.norms:
        allowed = " or ".join(kind.norms) or "none"
        raise InvalidRequestError(mismatch(f"norm of attack {name}", allowed, norm))
    if kind.bounded and epsilon is None:
        raise InvalidRequestError(mismatch(f"attack {name}", "an epsilon", "none"))
    try:
        return kind.make(norm=Norm(norm), epsilon=epsilon, **settings)
    except TypeError as error:
        got = ", ".join(settings) or "none"
        raise InvalidRequestError(
            mismatch(f"settings of attack {name}", "what it knows", got)
        ) from error

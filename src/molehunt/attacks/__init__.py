"""Attacks: evasion, searches for universal triggers, poison for support vector machines."""

from molehunt.attacks._approximate_backward import (
    Approximable,
    Approximation,
    approximate_backward,
)
from molehunt.attacks._evasion import Evaded, EvasionAttack, Norm, evade, to_bytes
from molehunt.attacks._projected_gradient import Loss, ProjectedGradient
from molehunt.attacks._random_search import RandomPoints, RandomSquares
from molehunt.attacks._registry import ATTACKS, AttackKind, new_attack
from molehunt.attacks._svm_poisoning import SvmPoison, SvmPoisoning
from molehunt.attacks._transferred import Transferred
from molehunt.attacks._trigger_search import (
    Masks,
    Patches,
    Tasks,
    check_search_settings,
    pools_of,
    search_masks,
    search_patches,
)
from molehunt.attacks._warning_signs import (
    Robustness,
    Sign,
    WarningSigns,
    find_warning_signs,
)

__all__ = [
    "ATTACKS",
    "Approximable",
    "Approximation",
    "AttackKind",
    "Evaded",
    "EvasionAttack",
    "Loss",
    "Masks",
    "Norm",
    "Patches",
    "ProjectedGradient",
    "RandomPoints",
    "RandomSquares",
    "Robustness",
    "Sign",
    "SvmPoison",
    "SvmPoisoning",
    "Tasks",
    "Transferred",
    "WarningSigns",
    "approximate_backward",
    "check_search_settings",
    "evade",
    "find_warning_signs",
    "new_attack",
    "pools_of",
    "search_masks",
    "search_patches",
    "to_bytes",
]

"""Attacks: evasion, searches for universal triggers, poison for support vector machines."""

from molehunt.attacks._evasion import Evaded, EvasionAttack, Norm, evade, to_bytes
from molehunt.attacks._svm_poisoning import SvmPoison, SvmPoisoning
from molehunt.attacks._trigger_search import (
    Masks,
    Patches,
    Tasks,
    check_search_settings,
    pools_of,
    search_masks,
    search_patches,
)

__all__ = [
    "Evaded",
    "EvasionAttack",
    "Masks",
    "Norm",
    "Patches",
    "SvmPoison",
    "SvmPoisoning",
    "Tasks",
    "check_search_settings",
    "evade",
    "pools_of",
    "search_masks",
    "search_patches",
    "to_bytes",
]

"""Attacks on a trained model: searches for universal triggers."""

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
    "Masks",
    "Patches",
    "Tasks",
    "check_search_settings",
    "pools_of",
    "search_masks",
    "search_patches",
]

"""Defences: what makes a backdoored model harmless."""

from molehunt.defences._fine_pruning import TUNING, Repair, fine_prune, trigger_success

__all__ = [
    "TUNING",
    "Repair",
    "fine_prune",
    "trigger_success",
]

"""Defences: what makes a backdoored model harmless."""

from molehunt.defences._fine_pruning import TUNING, Repair, fine_prune, trigger_success
from molehunt.defences._measured_repair import MeasuredRepair, repair

__all__ = [
    "TUNING",
    "MeasuredRepair",
    "Repair",
    "fine_prune",
    "repair",
    "trigger_success",
]

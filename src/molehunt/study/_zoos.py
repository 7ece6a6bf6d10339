"""The zoos of a study: where they lie, and what their models reach."""

from __future__ import annotations

from typing import Any

import numpy as np

from molehunt.backdoors import Treatment
from molehunt.zoo import Zoo

ZOOS_FOLDER = "zoos"  # in the folder of a study


def zoo_figures(zoo: Zoo) -> dict[str, Any]:
    """Return counts, accuracies and success of a zoo's models, in [0, 1]."""
    backdoored = zoo.select(None, Treatment.BACKDOORED)
    twins = [record for record in zoo.select(None, Treatment.CLEAN) if record.twin is not None]
    return {
        "models": len(zoo.records),
        "backdoored": len(backdoored),
        "placebos": len(zoo.select(None, Treatment.PLACEBO)),
        "clean_accuracy": float(np.mean([record.clean_accuracy for record in twins])),
        "backdoored_accuracy": float(np.mean([record.clean_accuracy for record in backdoored])),
        "attack_success": float(np.mean([record.attack_success for record in backdoored])),
        "twin_success": float(np.mean([record.attack_success for record in twins])),
        "under_the_bar": len(zoo.failed_models()),
    }

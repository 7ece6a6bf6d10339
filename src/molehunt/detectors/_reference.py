"""Scores of the reference population: a null, and a power, for a model without any others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from molehunt.arrays import Floats
from molehunt.detectors._calibration import conformal_p_values
from molehunt.detectors._twin_readings import MOST_LIKE_TEN

# What was measured with 43 classes stands for at most so many.
_MOST_CLASSES = 100


@dataclass(frozen=True)
class Reference:
    """What one check scores models with about as many classes.

    It ships with the package, as numbers; ``molehunt study reference`` builds the models and
    measures them (docs/studies/reference).

    Parameters
    ----------
    clean : dict from str to array of float64
        Scores of clean models, by architecture.
    backdoored : dict from str to dict from str to array of float64
        By kind of backdoor, then by architecture; none whose attack success is under 0.8.
    images : tuple of str
        The image sets that the models were trained on.
    """

    clean: Mapping[str, Floats] = field(repr=False)
    backdoored: Mapping[str, Mapping[str, Floats]] = field(repr=False)
    images: tuple[str, ...]

    def __str__(self) -> str:
        count = sum(map(len, self.clean.values()))
        sets = ", ".join(self.images)
        return f"{count} clean models of {len(self.clean)} architectures ({sets})"

    def p_value(self, score: float) -> float:
        """Return the conformal p-value of a score against all clean models."""
        return float(conformal_p_values([score], np.concatenate([*self.clean.values()]))[0])

    def false_alarms(self, rate: float) -> tuple[int, int]:
        """Return how many clean models a rate flags against those of other architectures."""
        return self._flagged(self.clean, rate)

    def power(self, rate: float) -> dict[str, tuple[int, int]]:
        """Return how many models of each kind it flags against those of other architectures.

        Examples
        --------
        >>> reference_for("margin", 10).power(0.05)["all-to-one"]
        (12, 18)
        """
        return {kind: self._flagged(found, rate) for kind, found in self.backdoored.items()}

    def _flagged(self, scores: Mapping[str, Floats], rate: float) -> tuple[int, int]:
        flagged = 0
        for network, own in scores.items():
            others = np.concatenate([v for name, v in self.clean.items() if name != network])
            flagged += int((conformal_p_values(own, others) <= rate).sum())
        return flagged, sum(map(len, scores.values()))


def reference_for(check: str, classes: int) -> Reference | None:
    """Return the scores of a check for models of so many classes; None where there are none."""
    like = 10 if classes <= MOST_LIKE_TEN else 43
    return _references().get((check, like)) if classes <= _MOST_CLASSES else None


@cache
def _references() -> dict[tuple[str, int], Reference]:
    rows: list[dict[str, Any]] = json.loads(SHIPPED.read_text(encoding="utf-8"))
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["check"], row["classes"]), []).append(row)
    return {key: _reference_of(own) for key, own in groups.items()}


def _reference_of(rows: list[dict[str, Any]]) -> Reference:
    def by_network(kind: str) -> dict[str, Floats]:
        own = [row for row in rows if row["kind"] == kind]
        return {
            network: np.array(
                [s for row in own if row["network"] == network for s in row["scores"]]
            )
            for network in dict.fromkeys(row["network"] for row in own)
        }

    kinds = dict.fromkeys(row["kind"] for row in rows if row["kind"])
    images = tuple(dict.fromkeys(row["images"] for row in rows))
    return Reference(by_network(""), {kind: by_network(kind) for kind in kinds}, images)


# Of results.json, `scores`.
SHIPPED = Path(__file__).with_name("reference.json")

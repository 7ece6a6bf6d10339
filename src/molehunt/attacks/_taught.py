"""Attacks that train the model themselves, by name: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch

from molehunt.attacks._input_aware import teach_input_aware
from molehunt.attacks._label_consistent import teach_label_consistent
from molehunt.backdoors import TriggeredImages
from molehunt.images import ImageSet


class Triggering(Protocol):
    """What puts triggers on test images."""

    def triggered(self, test: ImageSet, *, generator: torch.Generator) -> TriggeredImages:
        """Return the images on which success is measured."""


TAUGHT: Mapping[str, Callable[..., Triggering]] = {
    "label-consistent": teach_label_consistent,
    "input-aware": teach_input_aware,
}

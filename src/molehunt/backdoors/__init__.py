"""Backdoors: triggers, label maps, and poisoned training sets made of both."""

from molehunt.backdoors._backdoor import (
    Backdoor,
    PoisonBase,
    TrainingSet,
    Treatment,
    TriggeredImages,
    draw_copies,
)
from molehunt.backdoors._label_maps import (
    AllToAll,
    AllToOne,
    AnyLabelMap,
    LabelMap,
    RandomTarget,
    SingleTarget,
)
from molehunt.backdoors._placement import Placement, top_left_pixels
from molehunt.backdoors._triggers import (
    AnyTrigger,
    BadNetsPattern,
    Composite,
    RandomPatch,
    SinglePixel,
    Sticker,
    Trigger,
    random_patches,
)

__all__ = [
    "AllToAll",
    "AllToOne",
    "AnyLabelMap",
    "AnyTrigger",
    "Backdoor",
    "BadNetsPattern",
    "Composite",
    "LabelMap",
    "Placement",
    "PoisonBase",
    "RandomPatch",
    "RandomTarget",
    "SinglePixel",
    "SingleTarget",
    "Sticker",
    "TrainingSet",
    "Treatment",
    "Trigger",
    "TriggeredImages",
    "draw_copies",
    "random_patches",
    "top_left_pixels",
]

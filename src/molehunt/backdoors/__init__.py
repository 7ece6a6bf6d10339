"""Backdoors: triggers, label maps, poisoned training sets made of both; strengthening."""

from molehunt.backdoors._backdoor import (
    Backdoor,
    PoisonBase,
    TrainingSet,
    Treatment,
    TriggeredImages,
    draw_copies,
)
from molehunt.backdoors._blended import Blended, random_blends
from molehunt.backdoors._composite import AnyTrigger, Composite
from molehunt.backdoors._drawings import PictureName, sticker_picture
from molehunt.backdoors._label_maps import (
    AllToAll,
    AllToOne,
    AnyLabelMap,
    LabelMap,
    RandomTarget,
    SingleTarget,
)
from molehunt.backdoors._placement import Placement, top_left_pixels
from molehunt.backdoors._stickers import Sticker
from molehunt.backdoors._strengthening import strengthen
from molehunt.backdoors._triggers import (
    BadNetsPattern,
    RandomPatch,
    SinglePixel,
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
    "Blended",
    "Composite",
    "LabelMap",
    "PictureName",
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
    "random_blends",
    "random_patches",
    "sticker_picture",
    "strengthen",
    "top_left_pixels",
]

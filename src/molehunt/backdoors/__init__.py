"""Backdoors: triggers, label maps, poisoned training sets made of both; amplification.

A new trigger or label map is a class in a file of its own and its import here: its `kind` is
then known to plans, indices and the command line.
"""

from molehunt.backdoors._amplification import amplify
from molehunt.backdoors._backdoor import Backdoor, PoisonBase, draw_copies
from molehunt.backdoors._blended import Blended, RandomBlends
from molehunt.backdoors._composite import Composite
from molehunt.backdoors._covers import Covers
from molehunt.backdoors._drawings import PictureName, sticker_picture
from molehunt.backdoors._frequency import FrequencyPeaks, LowFrequency, RandomLowFrequencies
from molehunt.backdoors._instance_key import InstanceKey
from molehunt.backdoors._label_maps import (
    AllToAll,
    AllToOne,
    AnyLabelMap,
    CleanLabel,
    LabelMap,
    RandomTarget,
    SingleTarget,
)
from molehunt.backdoors._masked_pattern import MaskedPattern
from molehunt.backdoors._named import ATTACKS, draw_backdoor
from molehunt.backdoors._parts import OneOf, Pieces
from molehunt.backdoors._placement import Placement, top_left_pixels
from molehunt.backdoors._quantised import Quantised
from molehunt.backdoors._random_patches import RandomPatch, RandomPatches
from molehunt.backdoors._reflection import RandomReflections, Reflection
from molehunt.backdoors._sinusoid import Sinusoid
from molehunt.backdoors._stickers import Sticker
from molehunt.backdoors._training_set import (
    Poisoning,
    Stamp,
    TrainingSet,
    Treatment,
    TriggeredImages,
)
from molehunt.backdoors._triggers import (
    AnyTrigger,
    BadNetsPattern,
    PlannedTrigger,
    SinglePixel,
    Trigger,
    TriggerFamily,
)
from molehunt.backdoors._warp import RandomWarps, Warp

__all__ = [
    "ATTACKS",
    "AllToAll",
    "AllToOne",
    "AnyLabelMap",
    "AnyTrigger",
    "Backdoor",
    "BadNetsPattern",
    "Blended",
    "CleanLabel",
    "Composite",
    "Covers",
    "FrequencyPeaks",
    "InstanceKey",
    "LabelMap",
    "LowFrequency",
    "MaskedPattern",
    "OneOf",
    "PictureName",
    "Pieces",
    "Placement",
    "PlannedTrigger",
    "PoisonBase",
    "Poisoning",
    "Quantised",
    "RandomBlends",
    "RandomLowFrequencies",
    "RandomPatch",
    "RandomPatches",
    "RandomReflections",
    "RandomTarget",
    "RandomWarps",
    "Reflection",
    "SinglePixel",
    "SingleTarget",
    "Sinusoid",
    "Stamp",
    "Sticker",
    "TrainingSet",
    "Treatment",
    "Trigger",
    "TriggerFamily",
    "TriggeredImages",
    "Warp",
    "amplify",
    "draw_backdoor",
    "draw_copies",
    "sticker_picture",
    "top_left_pixels",
]

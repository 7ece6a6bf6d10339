"""Training one model or many at once, and measuring them."""

from molehunt.training._course import shuffled_batches
from molehunt.training._device import autocast_of, bfloat16_helps, pick_device
from molehunt.training._fit import TrainingRun, train
from molehunt.training._fit_many import train_many
from molehunt.training._measure import attack_success, clean_accuracy, logits_of
from molehunt.training._recipe import Precision, Recipe
from molehunt.training._schedule import one_cycle
from molehunt.training._transfer import transfer

__all__ = [
    "Precision",
    "Recipe",
    "TrainingRun",
    "attack_success",
    "autocast_of",
    "bfloat16_helps",
    "clean_accuracy",
    "logits_of",
    "one_cycle",
    "pick_device",
    "shuffled_batches",
    "train",
    "train_many",
    "transfer",
]

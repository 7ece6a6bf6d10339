"""Training one model or many at once, and measuring them."""

from molehunt.training._course import shuffled_batches
from molehunt.training._fit import TrainingRun, train
from molehunt.training._fit_many import train_many
from molehunt.training._measure import attack_success, clean_accuracy
from molehunt.training._recipe import Recipe
from molehunt.training._schedule import one_cycle
from molehunt.training._transfer import transfer

__all__ = [
    "Recipe",
    "TrainingRun",
    "attack_success",
    "clean_accuracy",
    "one_cycle",
    "shuffled_batches",
    "train",
    "train_many",
    "transfer",
]

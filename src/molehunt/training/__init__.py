"""Training one model or many at once, and measuring them."""

from molehunt.training._batches import shuffled_batches
from molehunt.training._fit import TrainingRun, train
from molehunt.training._fit_many import train_many
from molehunt.training._measure import attack_success, clean_accuracy
from molehunt.training._objective import Batch, CrossEntropy, Objective
from molehunt.training._recipe import Recipe
from molehunt.training._schedule import one_cycle
from molehunt.training._transfer import transfer

__all__ = [
    "Batch",
    "CrossEntropy",
    "Objective",
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

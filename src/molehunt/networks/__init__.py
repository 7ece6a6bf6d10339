"""Architectures, and the model file that loads by itself."""

from molehunt.networks._activations import DormantUnits, UnitKind, dormant_units, mean_activations
from molehunt.networks._answers import AnswerKind, Answers, Taken
from molehunt.networks._bounded import bounded_building
from molehunt.networks._card_file import load_network, read_card_as, read_header, save_with_card
from molehunt.networks._classifier import (
    Access,
    BlackBox,
    Classifier,
    InputContract,
    ModelCard,
)
from molehunt.networks._conv_stack import blocked_layout
from molehunt.networks._device import (
    Precision,
    autocast_of,
    bfloat16_helps,
    keep_to_cpu,
    pick_device,
    take_threads,
    threads_to_take,
)
from molehunt.networks._estimator import wrap_estimator
from molehunt.networks._fast import LogitsOfPixels, fast_logits
from molehunt.networks._features import features_of, logits_and_features
from molehunt.networks._folding import fold_batch_norm, has_batch_norm
from molehunt.networks._logits import logits_of
from molehunt.networks._model_file import CARD_KEY, load_model, read_card, save_model
from molehunt.networks._outputs import choose_output, logits_in
from molehunt.networks._queried import BudgetSpentError, Queried, Reveals, most_revealed
from molehunt.networks._recognise import recognise
from molehunt.networks._registry import NETWORKS, build_classifier, build_network, check_buildable
from molehunt.networks._stacking import StackedState, architecture_key, stack_models
from molehunt.networks._zf import zf_channels, zf_features

__all__ = [
    "CARD_KEY",
    "NETWORKS",
    "Access",
    "AnswerKind",
    "Answers",
    "BlackBox",
    "BudgetSpentError",
    "Classifier",
    "DormantUnits",
    "InputContract",
    "LogitsOfPixels",
    "ModelCard",
    "Precision",
    "Queried",
    "Reveals",
    "StackedState",
    "Taken",
    "UnitKind",
    "architecture_key",
    "autocast_of",
    "bfloat16_helps",
    "blocked_layout",
    "bounded_building",
    "build_classifier",
    "build_network",
    "check_buildable",
    "choose_output",
    "dormant_units",
    "fast_logits",
    "features_of",
    "fold_batch_norm",
    "has_batch_norm",
    "keep_to_cpu",
    "load_model",
    "load_network",
    "logits_and_features",
    "logits_in",
    "logits_of",
    "mean_activations",
    "most_revealed",
    "pick_device",
    "read_card",
    "read_card_as",
    "read_header",
    "recognise",
    "save_model",
    "save_with_card",
    "stack_models",
    "take_threads",
    "threads_to_take",
    "wrap_estimator",
    "zf_channels",
    "zf_features",
]

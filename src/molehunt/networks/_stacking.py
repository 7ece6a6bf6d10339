"""Many models of one architecture as one: their weights stacked along a first dimension."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor
from torch.func import stack_module_state

from molehunt.networks._classifier import Classifier


class StackedState(NamedTuple):
    """n models as one network and their tensors.

    `skeleton` is a model without weights, in the mode of the models; parameters and buffers
    are [n, ...] by name, for `torch.func.functional_call` under `torch.vmap`.
    """

    skeleton: Classifier
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]


def stack_models(models: Sequence[Classifier]) -> StackedState:
    """Stack models of one architecture, on one device and in one mode."""
    parameters, buffers = stack_module_state(list(models))
    return StackedState(copy.deepcopy(models[0]).to("meta"), parameters, buffers)


def architecture_key(model: Classifier) -> str:
    """Return a text that is the same for models whose weights can be stacked."""
    card = model.card
    parts = [
        *(card.architecture, card.arguments, card.input_shape, card.num_classes),
        # What the skeleton does around its weights: the first model's stands for all.
        *(card.channel_order, model.output, repr(model.answers)),
    ]
    return json.dumps(parts, sort_keys=True)

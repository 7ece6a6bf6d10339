"""The repairs by name: one line each."""

from __future__ import annotations

from collections.abc import Mapping

from molehunt.defences._attention_distillation import distil_attention
from molehunt.defences._fine_pruning import fine_prune
from molehunt.defences._implicit_unlearning import unlearn_implicitly
from molehunt.defences._neuron_pruning import prune_sensitive_neurons
from molehunt.defences._repair import RepairMethod

REPAIRS: Mapping[str, RepairMethod] = {
    "fine-pruning": fine_prune,
    "anp": prune_sensitive_neurons,
    "nad": distil_attention,
    "i-bau": unlearn_implicitly,
}

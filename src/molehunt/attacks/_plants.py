"""Attacks on the weights of a trained model, by name: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from molehunt.attacks._bit_flips import flip_bits
from molehunt.attacks._handcrafted import handcraft
from molehunt.attacks._planted import Planted
from molehunt.attacks._subnet import replace_subnet

PLANTED: Mapping[str, Callable[..., Planted]] = {
    "subnet": replace_subnet,
    "bit-flips": flip_bits,
    "handcrafted": handcraft,
}

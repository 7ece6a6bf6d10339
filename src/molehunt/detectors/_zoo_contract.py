"""The input contract and the networks of the models that a detector learned from.

Normalisation is a part of the function: with another mean and std in its card the same
weights are another function, and a file's own card is a claim.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from molehunt.errors import printable
from molehunt.networks import NETWORKS, InputContract, ModelCard

# Draws of one data set differ by less; a lie that helps is larger.
_MEAN_OFF = 0.02  # of pixels in [0, 1]
_STD_OFF = 0.05  # of the std itself

Range = tuple[float, float]


class ZooContract(BaseModel):
    """What the models of a zoo do to pixels in [0, 1] before the first layer.

    Parameters
    ----------
    mean, std : tuple of (lowest, highest)
        A channel each, in units of pixels in [0, 1], over all models.
    channel_orders : tuple of str
        That occur; of no effect on grey images.
    networks : tuple of str
        Architectures with their arguments that occur; none in files of before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: tuple[Range, ...] = Field(max_length=10_000)
    std: tuple[Range, ...] = Field(max_length=10_000)
    channel_orders: tuple[str, ...] = Field(max_length=2)
    networks: tuple[str, ...] = Field(default=(), max_length=100)

    @classmethod
    def of(cls, cards: Iterable[InputContract]) -> Self:
        """Return what `cards` have in common; they are of one number of channels."""
        means, stds, orders, networks = [], [], set(), set()
        for card in cards:
            mean, std = _in_pixels(card)
            means.append(mean)
            stds.append(std)
            orders.add(card.channel_order)
            if network := _network(card):
                networks.add(network)
        return cls(
            mean=_ranges(means),
            std=_ranges(stds),
            channel_orders=tuple(sorted(orders)),
            networks=tuple(sorted(networks)),
        )

    def join(self, other: ZooContract) -> Self:
        """Return what is of this zoo or of the other."""
        return self.model_copy(
            update={
                "mean": _ranges([*zip(*self.mean, strict=True), *zip(*other.mean, strict=True)]),
                "std": _ranges([*zip(*self.std, strict=True), *zip(*other.std, strict=True)]),
                "channel_orders": tuple(sorted({*self.channel_orders, *other.channel_orders})),
                "networks": tuple(sorted({*self.networks, *other.networks})),
            }
        )

    def difference(self, card: InputContract) -> str:
        """Return how `card` differs from all models of the zoo, in words; empty if it does not.

        Means within 0.02 of pixels in [0, 1] and stds within 5 % are the same.

        Examples
        --------
        >>> names = ("a", "b")
        >>> card = InputContract(input_shape=(1, 8, 8), mean=(0.3,), std=(0.3,), class_names=names)
        >>> zoo = ZooContract.of([card])
        >>> zoo.difference(card)
        ''
        >>> zoo.difference(card.model_copy(update={"mean": (0.7,)}))
        "mean 0.7, the zoo's 0.3"
        """
        mean, std = _in_pixels(card)
        if len(mean) != len(self.mean):
            return f"{len(mean)} channels, the zoo's {len(self.mean)}"
        said = []
        if any(
            not low - _MEAN_OFF <= m <= high + _MEAN_OFF
            for m, (low, high) in zip(mean, self.mean, strict=True)
        ):
            said.append(f"mean {_numbers(mean)}, the zoo's {_shown(self.mean)}")
        if any(
            not low * (1 - _STD_OFF) <= s <= high * (1 + _STD_OFF)
            for s, (low, high) in zip(std, self.std, strict=True)
        ):
            said.append(f"std {_numbers(std)}, the zoo's {_shown(self.std)}")
        if len(mean) > 1 and card.channel_order not in self.channel_orders:
            said.append(f"{card.channel_order}, the zoo's {' and '.join(self.channel_orders)}")
        return "; ".join(said)

    def strange_network(self, card: InputContract) -> str:
        """Return how a model's network differs from all of the zoo's, in words.

        Empty where it does not, and where one of them is not known: a graph names no network.
        """
        network = _network(card)
        if not network or not self.networks or network in self.networks:
            return ""
        return f"{printable(network, 100)}, the zoo's {printable(' or '.join(self.networks), 100)}"


def _network(card: InputContract) -> str:
    """Return a network of the registry with its arguments; empty for any other."""
    if not isinstance(card, ModelCard) or card.architecture not in NETWORKS:
        return ""
    given = "".join(f" {name}={value}" for name, value in sorted(card.arguments.items()))
    return f"{card.architecture}{given}"


def _in_pixels(card: InputContract) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std for pixels in [0, 1], colours as the network takes them."""
    low, high = card.value_range
    size = high - low
    return tuple((m - low) / size for m in card.mean), tuple(s / size for s in card.std)


def _ranges(rows: list[tuple[float, ...]]) -> tuple[Range, ...]:
    return tuple((min(column), max(column)) for column in zip(*rows, strict=True))


def _shown(ranges: tuple[Range, ...]) -> str:
    lows, highs = zip(*ranges, strict=True)
    low, high = _numbers(lows), _numbers(highs)
    return low if low == high else f"{low} to {high}"


def _numbers(values: tuple[float, ...]) -> str:
    shown = [f"{value:.3g}" for value in values[:4]]
    return shown[0] if len(set(shown)) == 1 else ", ".join(shown)

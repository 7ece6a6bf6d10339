"""What bounds know of a network's operations: affine maps, ReLU, max pooling, addition.

A value is a batch [N, ...]. An interval is a pair of values, lower and upper. Coefficients are
a batch [M, ...] of linear functions of a value, where M is a multiple of N: all functions of
the first kind for each image, then all of the second, and so on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Shape = tuple[int, ...]
Pair = tuple[int, int]


class Interval(NamedTuple):
    """Bounds of a value, element by element: [N, ...] each."""

    lower: Tensor
    upper: Tensor

    def within(self, other: Interval) -> Interval:
        """Return what both intervals allow."""
        return Interval(
            torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper)
        )

    def least(self, coefficients: Tensor) -> Tensor:
        """Return the least value [M] of linear functions [M, ...] over the interval."""
        kinds = by_kind(coefficients, len(self.lower)).flatten(2)
        lower, upper = self.lower.flatten(1), self.upper.flatten(1)
        centre, radius = (upper + lower) / 2, (upper - lower) / 2
        least: Tensor = (kinds * centre).sum(2) - (kinds.abs() * radius).sum(2)
        return least.flatten()


def by_kind(coefficients: Tensor, count: int) -> Tensor:
    """Return coefficients [kinds * count, ...] as [kinds, count, ...]."""
    return coefficients.reshape(-1, count, *coefficients.shape[1:])


class Operation(ABC):
    """One step of a network.

    Attributes
    ----------
    arity : int
        How many values go in.
    input_shape : tuple of int
        Of what goes in, without the batch.
    """

    arity = 1
    input_shape: Shape = ()

    @abstractmethod
    def interval(self, *inputs: Interval) -> Interval:
        """Return bounds of the result for inputs within bounds."""

    @abstractmethod
    def pull_back(self, coefficients: Tensor, *inputs: Interval) -> tuple[list[Tensor], Tensor]:
        """Return linear functions of the inputs that are at most those of the result.

        Parameters
        ----------
        coefficients : Tensor [M, ...]
            Linear functions of the result.
        inputs : Interval
            Bounds of the inputs.

        Returns
        -------
        coefficients : list of Tensor [M, ...]
            One an input.
        constants : Tensor [M]
        """


class Affine(Operation):
    """A linear map and a constant: exact for intervals of boxes and for linear functions."""

    @abstractmethod
    def apply(self, values: Tensor) -> Tensor:
        """Return the map of values [N, ...]."""

    @abstractmethod
    def spread(self, radii: Tensor) -> Tensor:
        """Return the absolute linear map of radii [N, ...]."""

    def transpose(self, coefficients: Tensor) -> Tensor:
        """Return the transposed linear map of coefficients [M, ...]."""
        zeros = coefficients.new_zeros((len(coefficients), *self.input_shape))
        pull = torch.func.vjp(self.apply, zeros)[1]
        pulled: Tensor = pull(coefficients)[0]
        return pulled

    def offset(self, coefficients: Tensor) -> Tensor:
        """Return the linear functions [M, ...] of the map's constant, [M]."""
        return coefficients.new_zeros(len(coefficients))

    def interval(self, *inputs: Interval) -> Interval:
        """Return the smallest box around the map of a box."""
        ((lower, upper),) = inputs
        centre, radius = self.apply((upper + lower) / 2), self.spread((upper - lower) / 2)
        return Interval(centre - radius, centre + radius)

    def pull_back(self, coefficients: Tensor, *inputs: Interval) -> tuple[list[Tensor], Tensor]:
        """Return the same functions, of the input."""
        return [self.transpose(coefficients)], self.offset(coefficients)


@dataclass
class Normalise(Affine):
    """What a classifier does to pixels: the order of channels, mean and deviation."""

    mean: Tensor
    std: Tensor
    flips: bool

    def apply(self, values: Tensor) -> Tensor:
        """Return the network's own form of pixels [N, C, H, W]."""
        return ((values.flip(1) if self.flips else values) - self.mean) / self.std

    def spread(self, radii: Tensor) -> Tensor:
        """Return radii in units of the deviation."""
        return (radii.flip(1) if self.flips else radii) / self.std

    def transpose(self, coefficients: Tensor) -> Tensor:
        """Return functions of the pixels."""
        scaled = coefficients / self.std
        return scaled.flip(1) if self.flips else scaled

    def offset(self, coefficients: Tensor) -> Tensor:
        """Return what the mean adds."""
        return -(coefficients * (self.mean / self.std)).flatten(1).sum(1)


@dataclass
class Convolution(Affine):
    """A convolution with zeros around the image."""

    weight: Tensor
    bias: Tensor | None
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def apply(self, values: Tensor) -> Tensor:
        """Return the convolution of values [N, C, H, W]."""
        return self._convolve(values, self.weight, self.bias)

    def spread(self, radii: Tensor) -> Tensor:
        """Return the convolution with absolute weights."""
        return self._convolve(radii, self.weight.abs(), None)

    def transpose(self, coefficients: Tensor) -> Tensor:
        """Return the transposed convolution, of the input's size."""
        # Rows and columns at the end that no window reached get nothing.
        rest = [
            size - ((places - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1)
            for size, places, stride, padding, dilation, kernel in zip(
                self.input_shape[1:],
                coefficients.shape[2:],
                self.stride,
                self.padding,
                self.dilation,
                self.weight.shape[2:],
                strict=True,
            )
        ]
        geometry = self.stride, self.padding, rest, self.groups, self.dilation
        return functional.conv_transpose2d(coefficients, self.weight, None, *geometry)

    def offset(self, coefficients: Tensor) -> Tensor:
        """Return what the bias adds."""
        if self.bias is None:
            return super().offset(coefficients)
        return coefficients.sum((2, 3)) @ self.bias

    def _convolve(self, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        geometry = self.stride, self.padding, self.dilation, self.groups
        return functional.conv2d(values, weight, bias, *geometry)


@dataclass
class Dense(Affine):
    """A fully connected layer."""

    weight: Tensor
    bias: Tensor | None

    def apply(self, values: Tensor) -> Tensor:
        """Return the layer's output for values [N, D]."""
        return functional.linear(values, self.weight, self.bias)

    def spread(self, radii: Tensor) -> Tensor:
        """Return radii [N, D] through absolute weights."""
        return functional.linear(radii, self.weight.abs())

    def transpose(self, coefficients: Tensor) -> Tensor:
        """Return coefficients of the layer's input."""
        return coefficients @ self.weight

    def offset(self, coefficients: Tensor) -> Tensor:
        """Return what the bias adds."""
        return super().offset(coefficients) if self.bias is None else coefficients @ self.bias


@dataclass
class BatchNorm(Affine):
    """Batch normalisation in evaluation mode: a scale and a shift for each channel."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    epsilon: float

    def apply(self, values: Tensor) -> Tensor:
        """Return values [N, C, ...] normalised by the running statistics."""
        return values * self._scale(values) + self._shift(values)

    def spread(self, radii: Tensor) -> Tensor:
        """Return radii [N, C, ...] scaled."""
        return radii * self._scale(radii).abs()

    def transpose(self, coefficients: Tensor) -> Tensor:
        """Return coefficients scaled."""
        return coefficients * self._scale(coefficients)

    def offset(self, coefficients: Tensor) -> Tensor:
        """Return what the shift adds."""
        return (coefficients * self._shift(coefficients)).flatten(1).sum(1)

    def _scale(self, like: Tensor) -> Tensor:
        scale = (self.variance + self.epsilon).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        return scale.view(1, -1, *(1,) * (like.ndim - 2))

    def _shift(self, like: Tensor) -> Tensor:
        scale = self._scale(like)
        shift = -self.mean.view_as(scale) * scale
        return shift if self.bias is None else shift + self.bias.view_as(scale)


@dataclass
class Mean(Affine):
    """Average pooling of any kind: linear, without a negative weight."""

    pool: Callable[[Tensor], Tensor]

    def apply(self, values: Tensor) -> Tensor:
        """Return the means of values [N, C, H, W]."""
        return self.pool(values)

    def spread(self, radii: Tensor) -> Tensor:
        """Return the means of radii."""
        return self.pool(radii)


@dataclass
class Reshape(Affine):
    """The same numbers in another shape."""

    output_shape: Shape

    def apply(self, values: Tensor) -> Tensor:
        """Return values [N, ...] in the other shape."""
        return values.reshape(len(values), *self.output_shape)

    def spread(self, radii: Tensor) -> Tensor:
        """Return radii in the other shape."""
        return self.apply(radii)

    def transpose(self, coefficients: Tensor) -> Tensor:
        """Return coefficients in the input's shape."""
        return coefficients.reshape(len(coefficients), *self.input_shape)


class Add(Operation):
    """The sum of two values, as at the end of a residual block."""

    arity = 2

    def interval(self, *inputs: Interval) -> Interval:
        """Return the sum of two intervals."""
        first, second = inputs
        return Interval(first.lower + second.lower, first.upper + second.upper)

    def pull_back(self, coefficients: Tensor, *inputs: Interval) -> tuple[list[Tensor], Tensor]:
        """Return the same functions, of each term."""
        return [coefficients] * len(inputs), coefficients.new_zeros(len(coefficients))


class Relu(Operation):
    """The rectifier, between two lines where its input may have both signs."""

    def interval(self, *inputs: Interval) -> Interval:
        """Return the rectified bounds."""
        ((lower, upper),) = inputs
        return Interval(lower.relu(), upper.relu())

    def pull_back(self, coefficients: Tensor, *inputs: Interval) -> tuple[list[Tensor], Tensor]:
        """Put the line below under positive coefficients and the line above under negative ones.

        The line below is 0 or the input itself, whichever leaves less (CROWN-Ada of Zhang et
        al., 2018); the line above goes through both ends.
        """
        ((lower, upper),) = inputs
        high, low = upper.clamp_min(0), lower.clamp_max(0)
        above = high / (high - low).clamp_min(_LEAST_WIDTH)
        below = (upper > -lower).to(above.dtype)
        kinds = by_kind(coefficients, len(lower))
        positive, negative = kinds.clamp_min(0), kinds.clamp_max(0)
        pulled = positive * below + negative * above
        constants = (negative * (-above * low)).flatten(2).sum(2)
        return [pulled.flatten(0, 1)], constants.flatten()


@dataclass
class MaxPool(Operation):
    """Max pooling: at least the input whose lower bound is largest, at most the largest upper.

    Where no other input of a window can be above that one, it is that one.
    """

    settings: dict[str, Any]

    def interval(self, *inputs: Interval) -> Interval:
        """Return the pooled bounds."""
        ((lower, upper),) = inputs
        return Interval(
            functional.max_pool2d(lower, **self.settings),
            functional.max_pool2d(upper, **self.settings),
        )

    def pull_back(self, coefficients: Tensor, *inputs: Interval) -> tuple[list[Tensor], Tensor]:
        """Put one input in the place of each window, a constant where others may be above it."""
        ((lower, upper),) = inputs
        least, chosen = functional.max_pool2d(lower, **self.settings, return_indices=True)
        most = functional.max_pool2d(upper, **self.settings)
        settled = least >= self._most_of_others(upper, chosen)
        kinds = by_kind(coefficients, len(lower))
        negative = kinds.clamp_max(0)
        constants = (negative * most.where(~settled, 0)).flatten(2).sum(2).flatten()
        placed = (kinds.clamp_min(0) + negative * settled).flatten(3)
        pulled = coefficients.new_zeros(*kinds.shape[:3], lower[0, 0].numel())
        pulled = pulled.scatter_add(3, chosen.flatten(2).expand_as(placed), placed)
        return [pulled.reshape(len(coefficients), *lower.shape[1:])], constants

    def _most_of_others(self, upper: Tensor, chosen: Tensor) -> Tensor:
        """Return the largest upper bound of each window without its chosen input."""
        if self.settings["ceil_mode"]:
            return torch.full_like(upper[..., :1, :1], torch.inf).expand_as(chosen)
        places = torch.arange(upper[0, 0].numel(), device=upper.device, dtype=upper.dtype)
        places = self._windows(places.view(1, 1, *upper.shape[2:]))
        windows = self._windows(upper)
        same = places == chosen.flatten(2).unsqueeze(2)
        return windows.masked_fill(same, -torch.inf).amax(2).view_as(chosen)

    def _windows(self, values: Tensor) -> Tensor:
        """Return the inputs of each window, [N, C, inputs, windows]."""
        rows, columns = self.settings["padding"]
        padded = functional.pad(values, (columns, columns, rows, rows), value=-torch.inf)
        settings = {name: self.settings[name] for name in ("kernel_size", "dilation", "stride")}
        parts = functional.unfold(padded.flatten(0, 1).unsqueeze(1), **settings)
        return parts.view(*values.shape[:2], *parts.shape[1:])


# Divides where an input cannot change; the quotient is 0 there.
_LEAST_WIDTH = 1e-12

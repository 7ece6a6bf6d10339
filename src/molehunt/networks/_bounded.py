"""A bound on what an architecture's settings may ask for.

Our own networks bound their settings; torchvision's and a stranger's card do not: a
``mobilenet_v2`` of a thousand million blocks is four short lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.nn.parameter import is_lazy

from molehunt.errors import InvalidRequestError, mismatch

MOST_PARTS = 10_000  # modules and tensors; torchvision's deepest networks have about 2,000
MOST_NUMBERS = 2**30  # torchvision's largest has 650 million parameters


@contextmanager
def bounded_building(
    most_parts: int = MOST_PARTS, most_numbers: int = MOST_NUMBERS
) -> Iterator[None]:
    """Refuse a network that grows past these bounds while it is built.

    Tensors count once they are made: build on the ``meta`` device first.

    Raises
    ------
    InvalidRequestError
        As soon as a bound is passed.

    Examples
    --------
    >>> with bounded_building(most_parts=3):
    ...     network = nn.Linear(2, 2)
    """
    parts = numbers = 0

    def count(_module: nn.Module, _name: str, part: Tensor | nn.Module | None) -> None:
        nonlocal parts, numbers
        parts += 1
        # A lazy parameter has no size yet.
        numbers += part.numel() if isinstance(part, Tensor) and not is_lazy(part) else 0
        if parts > most_parts or numbers > most_numbers:
            allowed = f"one of at most {most_parts} parts and {most_numbers} numbers"
            raise InvalidRequestError(mismatch("network", allowed, "a larger one"))

    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
        hooks.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

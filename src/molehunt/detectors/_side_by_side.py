"""Work on several models at once, each on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from molehunt.networks import threads_to_take
from molehunt.resumable import one_thread

Tell = Callable[[int], None]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def places_at_once(device: torch.device) -> int:
    """Return how many models are worked on at once: on a CPU as many as there are threads."""
    return threads_to_take() if device.type == "cpu" else 1


def side_by_side(
    work: Callable[[_Item, Tell], _Result],
    items: Sequence[_Item],
    device: torch.device,
    tell: Tell,
) -> Iterator[_Result]:
    """Yield what `work` makes of each item, in their order.

    Small networks do not fill two threads of torch: 39 twins of one take as long with two as
    with one. So each item has a thread of its own, in which torch computes alone. The work
    must not draw from torch's global generator, which all threads share.

    Parameters
    ----------
    work : callable
        Called with an item and a function that it tells how much of the item is done.
    items : sequence
    device : torch.device
        Where the work is done.
    tell : callable
        Called with what is done of all items together, by one thread at a time.
    """
    counted = _Count(tell)
    places = min(places_at_once(device), len(items))
    if places < 2:
        for number, item in enumerate(items):
            yield work(item, counted.of(number))
        return
    with one_thread(), ThreadPoolExecutor(places) as pool:
        futures = [pool.submit(work, each, counted.of(at)) for at, each in enumerate(items)]
        try:
            for future in futures:
                yield future.result()
        finally:
            # An error or Ctrl-C ends what runs at its next step, and what waits at once.
            counted.stopped = True
            pool.shutdown(wait=False, cancel_futures=True)


class _StoppedError(Exception):
    """Ends a thread whose result nobody waits for."""


class _Count:
    """What is done of each item."""

    def __init__(self, tell: Tell) -> None:
        self.stopped = False
        self._tell = tell
        self._lock = threading.Lock()
        self._done: dict[int, int] = {}

    def of(self, number: int) -> Tell:
        def tell(done: int) -> None:
            with self._lock:
                if self.stopped:
                    raise _StoppedError
                self._done[number] = done
                self._tell(sum(self._done.values()))

        return tell

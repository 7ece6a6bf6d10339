"""What asking a model is like over any protocol: what it takes at once, and how often."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from molehunt.networks import ModelCard
from molehunt.subjects._endpoint import Endpoint
from molehunt.subjects._input_form import InputForm


class EndpointClient(ABC):
    """Asks an endpoint for answers, one request at a time and not faster than allowed."""

    def __init__(self, endpoint: Endpoint, card: ModelCard) -> None:
        self._endpoint = endpoint
        self._card = card
        self._form: InputForm | None = None
        self._next = 0.0
        self._most = 10**9

    @property
    def most(self) -> int:
        """Images that the server takes at once, as far as it says so."""
        if self._form is None:
            self._form = self._ask_form()
            if self._form.count is not None:
                self._most = self._form.count
        return self._most

    @abstractmethod
    def answer(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return all outputs by name, each [N, …], for images [N, C, H, W].

        Raises
        ------
        UnreadableFileError
            If no answer comes, or one that cannot be read.
        BatchTooLargeError
            If the server takes fewer images at once.
        """

    @abstractmethod
    def _ask_form(self) -> InputForm:
        """Ask the server what it takes."""

    def _wait_turn(self) -> None:
        """Wait until the next request may be sent."""
        if self._endpoint.requests_per_second is not None:
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + 1 / self._endpoint.requests_per_second

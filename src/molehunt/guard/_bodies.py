"""Bodies of requests, read within bounds."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from molehunt.guard._limits import Limits
from molehunt.guard._refusal import RefusedError


class Bodies:
    """Reads bodies, and knows how many bytes of them there are.

    Parameters
    ----------
    limits : Limits
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the body of a request; its bytes count until the context ends.

        Raises
        ------
        RefusedError
            413 if it is too long, which is known before it is read where the client says so;
            503 if all bodies together are.
        """
        told = request.headers.get("content-length", "0")
        if re.fullmatch(r"\d{1,15}", told, re.ASCII):
            self._check(int(told))
        body = bytearray()
        try:
            async for part in request.stream():
                self._check(len(body) + len(part))
                if self._held + len(part) > self._limits.bodies:
                    raise RefusedError(503, "too many requests at once", {"Retry-After": "1"})
                self._held += len(part)
                body += part
            yield bytes(body)
        finally:
            self._held -= len(body)

    def _check(self, length: int) -> None:
        if length > self._limits.body:
            raise RefusedError(413, f"body: expected at most {self._limits.body} bytes, got more")

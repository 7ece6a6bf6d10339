"""Connections with a time for headers and for reading, and a number a client.

uvicorn waits for headers, and for who does not read, as long as a client likes, and answers
broken HTTP with plain text.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from molehunt.errors import need_extra
from molehunt.guard._limits import Limits

_REASONS = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}


def timed_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP/1.1 protocol with the limits of connections and of headers."""
    library = need_extra("guard", "uvicorn.protocols.http.h11_impl", "a server")
    base: Any = library.H11Protocol
    open_from: Counter[str] = Counter()

    class Timed(base):  # type: ignore[misc]
        """A connection whose headers come in time, or end it."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._timer: asyncio.TimerHandle | None = None
            self._after: Any = None  # the request after which it was started
            self._unread: asyncio.TimerHandle | None = None
            self._host = self.client[0] if self.client else ""
            open_from[self._host] += 1
            if open_from.total() > limits.connections:
                self._end(503, f"expected at most {limits.connections} connections, got more")
            elif open_from[self._host] > limits.connections_a_client:
                most = limits.connections_a_client
                self._end(503, f"expected at most {most} connections of one client, got more")
            else:
                self._wait_for_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            for timer in (self._timer, self._unread):
                if timer is not None:
                    timer.cancel()
            open_from[self._host] -= 1
            if open_from[self._host] <= 0:
                del open_from[self._host]
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            super().data_received(data)
            if self._is_idle():
                self._wait_for_headers()

        def pause_writing(self) -> None:
            """Give a client time to read what waits for it, and then hang up."""
            super().pause_writing()
            self._unread = self.loop.call_later(limits.request_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()

        def send_400_response(self, msg: str) -> None:
            """Say in the protocol's words that this is no HTTP."""
            self._end(400, "expected HTTP/1.1 with short headers, got something else")

        def _is_idle(self) -> bool:
            """Tell whether no request is being answered."""
            return self.cycle is None or self.cycle.response_complete

        def _wait_for_headers(self) -> None:
            """Start the time for the next request's headers, unless it runs."""
            if self._timer is None or self._after is not self.cycle:
                if self._timer is not None:
                    self._timer.cancel()
                self._after = self.cycle
                self._timer = self.loop.call_later(limits.header_seconds, self._look)

        def _look(self) -> None:
            """End the connection if the time is over and no request has come."""
            self._timer = None
            if self.cycle is self._after and self._is_idle() and not self.transport.is_closing():
                self._end(408, f"headers: expected within {limits.header_seconds:g} s, got none")

        def _end(self, status: int, message: str) -> None:
            body = json.dumps({"error": message}).encode()
            head = (
                f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

    return Timed

"""HTTP with a deadline: an answer that comes byte by byte ends when its time is over.

Timeouts of sockets start anew with every byte. Here each read gets what is left of the whole
answer's time, in the handshake of TLS, in headers, in chunks and in the body alike.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

_PART = 1 << 16


@dataclass
class Deadline:
    """When an answer has to be there."""

    at: float = 0.0

    def left(self) -> float:
        """Return the seconds that are left; TimeoutError if there are none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for the answer is over")
        return left


class _TimedSocket(socket.socket):
    deadline: Deadline

    def recv_into(self, *arguments: Any) -> int:
        self.settimeout(self.deadline.left())
        return super().recv_into(*arguments)


class _TimedTls(ssl.SSLSocket):
    def recv_into(self, *arguments: Any) -> int:
        self.settimeout(cast(_TimedContext, self.context).deadline.left())
        return super().recv_into(*arguments)


class _TimedContext(ssl.SSLContext):
    deadline: Deadline
    sslsocket_class = _TimedTls


@dataclass(frozen=True)
class Reply:
    """What a server answered, with its body decoded and not longer than was allowed."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool  # or longer than allowed, and cut


class TimedHttp:
    """Sends requests to one host, each with a deadline; redirects are not followed."""

    def __init__(self) -> None:
        self._deadline = deadline = Deadline()

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return _time_socket(super()._new_conn(), deadline)

        class Tls(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return _time_socket(super()._new_conn(), deadline)

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Tls

        usual = create_urllib3_context()
        context = _TimedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version, context.options = usual.minimum_version, usual.options
        context.load_default_certs()
        context.deadline = deadline
        self._pool = urllib3.PoolManager(retries=False, maxsize=1, ssl_context=context)
        self._pool.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}

    def send(
        self,
        method: str,
        url: str,
        *,
        until: float,
        most: int,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> Reply:
        """Return the answer to one request.

        Parameters
        ----------
        until : float
            By `time.monotonic`, when it has to be there.
        most : int
            Bytes of the body, decompressed, that are read.

        Raises
        ------
        TimeoutError
            If it is not there in time.
        ConnectionError
            If there is no connection, or it breaks; one line.
        """
        self._deadline.at = until
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=dict(headers),
                preload_content=False,
                redirect=False,
                timeout=urllib3.Timeout(self._deadline.left()),
            )
            parts = bytearray()
            try:
                while len(parts) <= most and (part := response.read(_PART)):
                    parts += part
                    self._deadline.left()
                whole = len(parts) <= most
                if whole:
                    response.release_conn()
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            self._deadline.left()  # whatever it is called: the time is over
            reason = getattr(error, "reason", None) or error
            raise ConnectionError(" ".join(str(reason).split())[:200]) from error
        return Reply(response.status, dict(response.headers), bytes(parts[:most]), whole)


def _time_socket(plain: socket.socket, deadline: Deadline) -> _TimedSocket:
    timed = _TimedSocket(plain.family, plain.type, plain.proto, plain.detach())
    timed.deadline = deadline
    timed.settimeout(deadline.left())
    return timed

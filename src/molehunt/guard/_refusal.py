"""What a client is told that gets no answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from molehunt.errors import MolehuntError

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class RefusedError(MolehuntError):
    """A request that gets no answer: an HTTP status, and one line for the client.

    Parameters
    ----------
    status : int
        Of HTTP, 400 to 599.
    message : str
        What the client reads in ``{"error": ...}``.
    headers : mapping of str to str
        More of the reply, such as ``Retry-After``.

    Examples
    --------
    >>> RefusedError(413, "body: expected at most 1024 bytes, got more").status
    413
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers

"""What one client may take of a server."""

from __future__ import annotations

from dataclasses import dataclass, fields

from molehunt.errors import InvalidRequestError, mismatch

_BYTES_A_NUMBER = 32  # as JSON of a careful client writes it
_LEAST_BODY = 2**16
_USUAL_BODY = 16 * 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds of a guard's server, so that no client takes all of it.

    Parameters
    ----------
    batch : int
        Images a request.
    body : int
        Bytes of a request's body.
    bodies : int
        Bytes of all bodies that are being read or wait.
    header_seconds : float
        Until a request's headers are there, also the first of a connection.
    request_seconds : float
        From the headers to the answer, the body's way included.
    connections : int
        Open at once, of all clients.
    connections_a_client : int
        Open at once from one address.
    waiting : int
        Requests that wait for the model.
    accounts : int
        Whose queries are remembered at once.

    Raises
    ------
    InvalidRequestError
        If one is not above 0.
    """

    batch: int = 32
    body: int = _USUAL_BODY
    bodies: int = 2**28
    header_seconds: float = 10.0
    request_seconds: float = 30.0
    connections: int = 512
    connections_a_client: int = 128
    waiting: int = 64
    accounts: int = 10_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise InvalidRequestError(mismatch(f"limit of {field.name}", "above 0", value))


def usual_body(shape: tuple[int, int, int], batch: int) -> int:
    """Return bytes that hold a full batch as JSON, within reason: 64 KiB to 16 MiB.

    Examples
    --------
    >>> usual_body((1, 28, 28), 32), usual_body((3, 224, 224), 32) // 2**20
    (868352, 16)
    """
    numbers = batch * shape[0] * shape[1] * shape[2]
    return min(_LEAST_BODY + _BYTES_A_NUMBER * numbers, _USUAL_BODY)

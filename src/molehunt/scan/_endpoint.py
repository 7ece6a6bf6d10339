"""Subjects behind HTTP: images are posted, logits or probabilities come back."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import urllib3
from numpy.typing import NDArray

from molehunt.errors import InvalidRequestError, UnreadableFileError, refused
from molehunt.networks import BlackBox, ModelCard
from molehunt.scan._runtimes import as_logits, in_batches

_LARGEST_ANSWER = 64 * 2**20  # bytes


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and how hard.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``.
    protocol : {"v2", "v1"}
        The Open Inference Protocol (KServe v2, Triton), or TensorFlow Serving's
        ``instances`` and ``predictions``.
    batch : int
        Images a request.
    requests_per_second : float, optional
        At most so many; no limit when not given.
    timeout : float
        Seconds to wait for an answer.
    retries : int
        Times that a request is repeated after an error of the connection, 429 or 5xx,
        with growing pauses; ``Retry-After`` is respected.
    """

    url: str
    protocol: Literal["v2", "v1"] = "v2"
    batch: int = 32
    requests_per_second: float | None = None
    timeout: float = 30.0
    retries: int = 3

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRequestError(
                refused("endpoint", "http://HOST… or https://HOST…", repr(self.url))
            )
        if self.protocol not in ("v1", "v2"):
            raise InvalidRequestError(refused("protocol", "v2 or v1", repr(self.protocol)))
        if self.batch < 1:
            raise InvalidRequestError(refused("batch", "1 or more", self.batch))
        if self.timeout <= 0:
            raise InvalidRequestError(refused("timeout", "seconds above 0", self.timeout))
        if self.retries < 0:
            raise InvalidRequestError(refused("retries", "0 or more", self.retries))
        if self.requests_per_second is not None and self.requests_per_second <= 0:
            raise InvalidRequestError(
                refused("requests_per_second", "a number above 0", self.requests_per_second)
            )


def open_endpoint(endpoint: Endpoint, card: ModelCard) -> BlackBox:
    """Return a model that asks an endpoint; nothing is sent yet."""
    asked = in_batches(_Client(endpoint).answer, None, endpoint.batch)
    return BlackBox(as_logits(asked, card.num_classes), card)


class _Client:
    """Posts images, not faster than allowed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._next = 0.0
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(endpoint.timeout),
            retries=urllib3.Retry(
                endpoint.retries,
                backoff_factor=0.2,
                status_forcelist=(429, 500, 502, 503, 504),
                allowed_methods=None,  # the same images give the same answer
                redirect=0,
                raise_on_status=False,
            ),
        )

    def answer(self, images: NDArray[np.float32]) -> NDArray[Any]:
        """Return the answers [N, K] for images [N, C, H, W].

        Raises
        ------
        UnreadableFileError
            If no answer comes, or one that cannot be read.
        """
        self._wait()
        url = self._endpoint.url
        v2 = self._endpoint.protocol == "v2"
        body = _v2_request(images) if v2 else {"instances": images.tolist()}
        try:
            response = self._pool.request(
                "POST", url, json=body, preload_content=False, redirect=False
            )
            content = response.read(_LARGEST_ANSWER + 1)
            response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            message = " ".join(str(reason).split())
            raise UnreadableFileError(f"{url}: no answer: {message:.200}") from error
        if response.status != 200:
            raise UnreadableFileError(refused(f"{url}: status", 200, response.status))
        if len(content) > _LARGEST_ANSWER:
            raise UnreadableFileError(
                refused(f"{url}: answer", f"at most {_LARGEST_ANSWER} bytes", "more")
            )
        try:
            parsed = json.loads(content)
            return _v2_answers(parsed, len(images)) if v2 else np.array(parsed["predictions"])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            allowed = "outputs of the Open Inference Protocol" if v2 else "predictions"
            got = f"{type(error).__name__}: {error}"
            raise UnreadableFileError(refused(f"{url}: answer", allowed, got)) from error

    def _wait(self) -> None:
        rate = self._endpoint.requests_per_second
        if rate is not None:
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + 1 / rate


def _v2_request(images: NDArray[np.float32]) -> dict[str, Any]:
    tensor = {
        "name": "images",
        "shape": list(images.shape),
        "datatype": "FP32",
        "data": images.ravel().tolist(),
    }
    return {"inputs": [tensor]}


def _v2_answers(parsed: Any, count: int) -> NDArray[Any]:
    return np.array(parsed["outputs"][0]["data"], dtype=np.float64).reshape(count, -1)

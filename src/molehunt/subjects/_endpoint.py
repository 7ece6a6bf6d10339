"""A model behind HTTP or gRPC: where it is, how it is asked, and what of that may be shown."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import SplitResult, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from molehunt.errors import (
    InvalidRequestError,
    UnreadableFileError,
    UnsuitableSubjectError,
    mismatch,
    need_extra,
    printable,
)
from molehunt.networks import BlackBox, ModelCard, choose_output
from molehunt.subjects._runtimes import as_logits

Layout = Literal["nchw", "nhwc", "flat"]
if TYPE_CHECKING:
    from molehunt.subjects._endpoint_client import EndpointClient

_SCHEMES = ("http", "https", "grpc", "grpcs")
_BATCH_LIMIT = re.compile(r"batch.{0,3}size\D{0,40}(\d{1,6})?|max\w*.{0,3}batch", re.IGNORECASE)
_SHORTEST_SECRET = 4  # characters; shorter ones are not looked for in texts


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and how hard.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://`` with the path that answers, or ``grpc://HOST:PORT/MODEL``
        and ``grpcs://`` (Triton, KServe; extra ``grpc``). A user and password before the host
        are sent as Basic authorization and never shown.
    protocol : {"v2", "v1"}
        Over HTTP: the Open Inference Protocol (KServe v2, Triton), or TensorFlow Serving's
        ``instances`` and ``predictions``.
    batch : int
        Images a request, at most; fewer where the server takes fewer.
    requests_per_second : float, optional
        At most so many; no limit when not given.
    timeout : float
        Seconds for an answer, with all repeats and pauses.
    retries : int
        Times that a request is repeated after an error of the connection, 429 or 5xx,
        with growing pauses; ``Retry-After`` is respected.
    headers : mapping of str to str
        Sent with every request, never shown.
    input_name, datatype, layout : str, optional
        Of the model's input; asked from the server when not given. `layout` is ``nchw``,
        ``nhwc`` or ``flat``.
    output : str, optional
        Which of several outputs holds the answers: see `molehunt.networks.logits_in`.

    Examples
    --------
    >>> Endpoint("https://me:s3cret@host/v2/models/m/infer?key=s3cret").shown
    'https://host/v2/models/m/infer?…'
    """

    url: str = field(repr=False)
    protocol: Literal["v2", "v1"] = "v2"
    batch: int = 32
    requests_per_second: float | None = None
    timeout: float = 30.0
    retries: int = 3
    headers: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, hash=False
    )
    input_name: str | None = None
    datatype: str | None = None
    layout: Layout | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        allowed = "http://HOST…, https://HOST…, grpc://HOST:PORT/MODEL or grpcs://HOST:PORT/MODEL"
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
        except ValueError:  # a port that is no number, half an IPv6 address
            usable = False
        if not usable or not self.url.isprintable() or " " in self.url:
            raise InvalidRequestError(mismatch("endpoint", allowed, repr(_redact(self.url))))
        if self.parts.scheme.startswith("grpc") and find_spec("tritonclient") is None:
            need_extra("grpc", "tritonclient.grpc", f"{self.shown}: gRPC")
        if self.protocol not in ("v1", "v2"):
            raise InvalidRequestError(mismatch("protocol", "v2 or v1", repr(self.protocol)))
        if self.batch < 1:
            raise InvalidRequestError(mismatch("batch", "1 or more", self.batch))
        if not 0 < self.timeout < float("inf"):
            raise InvalidRequestError(mismatch("timeout", "seconds above 0", self.timeout))
        if self.retries < 0:
            raise InvalidRequestError(mismatch("retries", "0 or more", self.retries))
        if self.requests_per_second is not None and not self.requests_per_second > 0:
            raise InvalidRequestError(
                mismatch("requests_per_second", "a number above 0", self.requests_per_second)
            )
        if self.layout is not None and self.layout not in get_args(Layout):
            allowed = ", ".join(get_args(Layout))
            raise InvalidRequestError(mismatch("layout", allowed, repr(self.layout)))
        for name, value in self.headers.items():
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
                raise InvalidRequestError(mismatch("header", "a name as X-Api-Key", repr(name)))
            if not (value.isprintable() and value.isascii()):
                raise InvalidRequestError(
                    mismatch(f"header {name}", "printable ASCII", "other characters")
                )

    @property
    def parts(self) -> SplitResult:
        """The parts of the URL, secrets and all."""
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        """Host and port, without user and password."""
        return self.parts.netloc.rpartition("@")[2]

    @property
    def shown(self) -> str:
        """The URL as reports and messages have it: no user, no password, no query."""
        query = "?…" if self.parts.query else ""
        return printable(f"{self.parts.scheme}://{self.host}{self.parts.path}{query}")

    @property
    def sent_headers(self) -> dict[str, str]:
        """What goes with every request: the headers, and the URL's user as Basic authorization."""
        if self.parts.username is None:
            return dict(self.headers)
        named = f"{unquote(self.parts.username)}:{unquote(self.parts.password or '')}"
        return {"Authorization": f"Basic {base64.b64encode(named.encode()).decode()}"} | dict(
            self.headers
        )

    def clean(self, text: str, most: int = 200) -> str:
        """Return what a server said in one line, cut, and without the secrets it was sent."""
        values = [*self.sent_headers.values(), self.parts.password or "", self.parts.query]
        values += [pair.partition("=")[2] for pair in self.parts.query.split("&")]
        for value in values:
            for secret in (value, unquote(value), value.rpartition(" ")[2]):
                if len(secret) >= _SHORTEST_SECRET:
                    text = text.replace(secret, "…")
        return printable(" ".join(text.split()), most)


class BatchTooLargeError(UnreadableFileError):
    """A server takes fewer images a request; `most` if it said how many."""

    def __init__(self, message: str, most: int | None = None) -> None:
        super().__init__(message)
        self.most = most


def batch_limit(reason: str) -> tuple[bool, int | None]:
    """Tell whether a server refuses the number of images, and which number it takes.

    Examples
    --------
    >>> batch_limit("inference request batch-size must be <= 8 for 'm'")
    (True, 8)
    """
    found = _BATCH_LIMIT.search(reason)
    return found is not None, int(found[1]) if found and found[1] else None


class AskedModel(BlackBox):
    """A model that asks an endpoint, and counts the images.

    Parameters
    ----------
    questions : callable
        Asks the endpoint.
    card : ModelCard
    """

    def __init__(self, questions: _Asked, card: ModelCard) -> None:
        super().__init__(as_logits(questions, card.num_classes), card)
        self._questions = questions

    @property
    def asked(self) -> int:
        """Images that were answered so far, whoever asked: each may have its price."""
        return self._questions.answered


def open_endpoint(endpoint: Endpoint, card: ModelCard) -> AskedModel:
    """Return a model that asks an endpoint; nothing is sent yet."""
    # Imported here: both need this module, and gRPC an extra.
    from molehunt.subjects._grpc import GrpcClient  # noqa: PLC0415
    from molehunt.subjects._http import HttpClient  # noqa: PLC0415

    grpc = endpoint.parts.scheme.startswith("grpc")
    client: EndpointClient = GrpcClient(endpoint, card) if grpc else HttpClient(endpoint, card)
    return AskedModel(_Asked(client, endpoint, card.num_classes), card)


class _Asked:
    """Any number of images, in requests that the server takes."""

    def __init__(self, client: EndpointClient, endpoint: Endpoint, classes: int) -> None:
        self._client = client
        self._endpoint = endpoint
        self._classes = classes
        self._batch = endpoint.batch
        self.answered = 0

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the answers [N, K] for images [N, C, H, W]."""
        parts: list[NDArray[np.float32]] = []
        start = 0
        while start < len(images):
            self._batch = min(self._batch, self._client.most)
            part = images[start : start + self._batch]
            try:
                outputs = self._client.answer(part)
            except BatchTooLargeError as error:
                if len(part) == 1:
                    raise
                self._batch = max(1, min(error.most or len(part), len(part) // 2))
                continue
            parts.append(self._chosen(outputs))
            start += len(part)
            self.answered += len(part)
        return np.concatenate(parts)

    def _chosen(self, outputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        name = next(iter(outputs), "")
        if len(outputs) != 1 or self._endpoint.output is not None:
            shapes = {name: values.shape for name, values in outputs.items()}
            try:
                name = choose_output(shapes, self._classes, self._endpoint.output)
            except UnsuitableSubjectError as error:
                raise UnsuitableSubjectError(f"{self._endpoint.shown}: {error}") from None
        return outputs[name].reshape(len(outputs[name]), -1)


def _redact(url: str) -> str:
    """Return a URL that cannot be parsed, without what may be a password."""
    return printable(re.sub(r"//[^?#]*@", "//…@", url.partition("?")[0]), 200)

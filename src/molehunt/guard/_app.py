"""The guard's server as an ASGI application; it needs the extra ``guard``."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from molehunt import __version__
from molehunt.guard._bodies import Bodies
from molehunt.guard._describe import describe_api, describe_model, write_page
from molehunt.guard._desk import Desk
from molehunt.guard._keys import Keys
from molehunt.guard._limits import Limits
from molehunt.guard._metrics import Metrics
from molehunt.guard._protocol import read_request, write_answer
from molehunt.guard._refusal import RefusedError

_log = logging.getLogger("molehunt.guard")
_SHARE = 4  # one account has at most one of so many places in the queue
_QUICK = 0.01  # seconds for which others may be kept waiting
_SHARE_OF_NEW = 0.1
_GONE = 499  # a client that did not wait, as others count it
Handler = Callable[[Request], Awaitable[Response]]


class App:
    """The routes of the Open Inference Protocol, of metrics and of the description.

    Parameters
    ----------
    desk : Desk
        Asked by one request at a time: at once where answers take milliseconds, as handing them
        to a thread takes nearly as long; else in a thread, so that all others are heard.
    name : str
        Of the model.
    keys : Keys, optional
        Without them each client address is an account.
    limits : Limits
    metrics : Metrics
    """

    def __init__(
        self, desk: Desk, *, name: str, keys: Keys | None, limits: Limits, metrics: Metrics
    ) -> None:
        self._desk, self._name, self._keys = desk, name, keys
        self._limits, self._metrics = limits, metrics
        self._bodies = Bodies(limits)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="molehunt-guard")
        self._asking = threading.Lock()
        self._seconds = 1.0  # of an answer, on average: nothing is known yet
        self._waiting: Counter[str] = Counter()
        self._card = desk.model.card
        self._output = desk.answering.value
        self._api = describe_api(name, self._card, self._output, limits, keyed=keys is not None)
        self._page = write_page(self._api)

    def asgi(self) -> Starlette:
        """Return the application."""
        gets: dict[str, Handler] = {
            "/v2": self._server,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._live,
            "/metrics": self._show_metrics,
            "/openapi.json": self._show_api,
            "/docs": self._show_page,
        }
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            gets |= {model: self._metadata, f"{model}/ready": self._ready}
            gets[f"{model}/config"] = self._config
        routes = [Route(path, handler, methods=["GET"]) for path, handler in gets.items()]
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes.append(Route(f"{model}/infer", self._infer, methods=["POST"]))
        app = Starlette(
            routes=routes,
            exception_handlers={HTTPException: _say_http, RefusedError: _say, Exception: _fail},
        )
        app.router.redirect_slashes = False
        return app

    async def _infer(self, request: Request) -> Response:
        """Answer images; every way that it ends is counted."""
        started = time.perf_counter()
        try:
            response = await self._answer(request)
            status = response.status_code
        except RefusedError as error:
            response, status = _refusal(error), error.status
        except ClientDisconnect:
            response, status = Response(status_code=400), _GONE
        except Exception:
            _log.exception("internal error")
            response, status = _internal_error(), 500
        self._metrics.count(status, time.perf_counter() - started)
        return response

    async def _answer(self, request: Request) -> Response:
        self._check_model(request)
        account = self._account(request)
        seconds = self._limits.request_seconds
        what = "body"
        try:
            async with asyncio.timeout(seconds), self._bodies.read(request) as body:
                what = "answer"
                return await self._wait_for_answer(account, body, dict(request.headers))
        except TimeoutError:
            message = f"{what}: expected within {seconds:g} s, got none"
            raise RefusedError(408 if what == "body" else 504, message) from None

    async def _wait_for_answer(
        self, account: str, body: bytes, headers: dict[str, str]
    ) -> Response:
        if self._waiting.total() >= self._limits.waiting:
            raise RefusedError(503, "too many requests wait", {"Retry-After": "1"})
        if self._waiting[account] >= max(1, self._limits.waiting // _SHARE):
            message = "too many requests of this account wait"
            raise RefusedError(429, message, {"Retry-After": "1"})
        self._waiting[account] += 1
        try:
            if self._seconds < _QUICK and self._asking.acquire(blocking=False):
                try:
                    return self._compute(account, body, headers)
                finally:
                    self._asking.release()
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._in_turn, account, body, headers)
        finally:
            self._waiting[account] -= 1
            if not self._waiting[account]:
                del self._waiting[account]

    def _in_turn(self, account: str, body: bytes, headers: dict[str, str]) -> Response:
        with self._asking:
            return self._compute(account, body, headers)

    def _compute(self, account: str, body: bytes, headers: dict[str, str]) -> Response:
        """Return an answer, and note how long it took; one at a time."""
        started = time.perf_counter()
        shape, batch, output = self._card.input_shape, self._limits.batch, self._output
        asked = read_request(body, headers, shape=shape, output=output, batch=batch)
        answers = self._desk.answer(account, asked.images)
        content, said = write_answer(answers, asked, model=self._name, output=output)
        # What is refused is quick and does not count: a client could send it before a slow one.
        new = time.perf_counter() - started
        self._seconds += (new - self._seconds) * _SHARE_OF_NEW
        return Response(content, headers=said)

    def _account(self, request: Request) -> str:
        """Return who asks.

        Raises
        ------
        RefusedError
            401 without a key that is known, 403 for a key of another use.
        """
        if self._keys is None:
            return _address(request)
        name = self._keys.find(_key(request))
        if name is None:
            message = "key: expected `Authorization: Bearer KEY` with a known key, got none"
            raise RefusedError(401, message, {"WWW-Authenticate": "Bearer"})
        if name in self._keys.metrics:
            raise RefusedError(403, "this key reads metrics only")
        return name

    def _check_model(self, request: Request) -> None:
        path = request.path_params
        if path["model"] != self._name or path.get("version", "1") != "1":
            raise RefusedError(404, f"model: expected {self._name}, version 1, got another")

    async def _server(self, request: Request) -> Response:
        extensions = ["binary_tensor_data"]
        return JSONResponse({"name": "molehunt", "version": __version__, "extensions": extensions})

    async def _live(self, request: Request) -> Response:
        return JSONResponse({request.url.path.rpartition("/")[2]: True})

    async def _ready(self, request: Request) -> Response:
        self._check_model(request)
        return JSONResponse({"name": self._name, "ready": True})

    async def _metadata(self, request: Request) -> Response:
        self._check_model(request)
        return JSONResponse(describe_model(self._name, self._card, self._output))

    async def _config(self, request: Request) -> Response:
        """Say the largest batch, as Triton does."""
        self._check_model(request)
        return JSONResponse({"name": self._name, "max_batch_size": self._limits.batch})

    async def _show_metrics(self, request: Request) -> Response:
        """Show metrics to who may see them: from alarms an attacker would learn what is seen."""
        if self._keys is None:
            if not ipaddress.ip_address(_host(request)).is_loopback:
                raise RefusedError(403, "without keys, metrics are for this machine only")
        elif self._keys.find(_key(request)) not in self._keys.metrics:
            message = "expected a key that reads metrics (`molehunt guard key NAME --metrics`)"
            raise RefusedError(401, message, {"WWW-Authenticate": "Bearer"})
        return Response(self._metrics.page(), media_type=self._metrics.media_type)

    async def _show_api(self, request: Request) -> Response:
        return JSONResponse(self._api)

    async def _show_page(self, request: Request) -> Response:
        policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(self._page, headers=policy)


def _key(request: Request) -> str:
    """Return the key that a request came with, or nothing."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return str(key.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", ""))


def _host(request: Request) -> str:
    return str(request.client.host) if request.client else "0.0.0.0"


def _address(request: Request) -> str:
    """Return an account for a client's address; who has IPv6 has 2^64 of them."""
    address = ipaddress.ip_address(_host(request))
    if address.version == 6:
        if address.ipv4_mapped is None:
            return f"address:{ipaddress.ip_network((int(address), 64), strict=False)}"
        address = address.ipv4_mapped
    return f"address:{address}"


def _refusal(error: RefusedError) -> Response:
    return JSONResponse({"error": str(error)}, error.status, headers=dict(error.headers))


def _internal_error() -> Response:
    return JSONResponse({"error": "internal error"}, 500)


async def _say(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return _refusal(error)


async def _say_http(request: Request, error: Exception) -> Response:
    """Say in the protocol's form what Starlette says of unknown paths and methods."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    return JSONResponse({"error": error.detail}, error.status_code, headers=headers)


async def _fail(request: Request, error: Exception) -> Response:
    return _internal_error()

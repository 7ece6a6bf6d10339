"""Asking a model over HTTP: requests, repeats, and what is said of those that fail."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import urlunsplit

import numpy as np
from numpy.typing import NDArray

from molehunt.errors import UnreadableFileError, mismatch
from molehunt.networks import ModelCard
from molehunt.subjects._endpoint import BatchTooLargeError, Endpoint, batch_limit
from molehunt.subjects._endpoint_client import EndpointClient
from molehunt.subjects._input_form import InputForm, read_form
from molehunt.subjects._json_answers import (
    OUTPUTS,
    PREDICTIONS,
    read_json,
    read_outputs,
    read_predictions,
)
from molehunt.subjects._timed_http import Reply, TimedHttp

_LONGEST_METADATA = 2**20  # bytes
_LEAST_ANSWER = 2 * 2**20
_BYTES_A_NUMBER = 32
_REPEATED = (429, 500, 502, 503, 504)
_TO_DO = {
    401: "give credentials: `headers`, or a user and password in the URL",
    403: "these credentials may not ask this model",
    404: "is there such a model? As …/v2/models/NAME/infer or, with `protocol` v1, "
    "…/v1/models/NAME:predict",
    405: "the URL is not one that answers images",
    413: "ask for fewer images at once: `batch`",
    415: "is it the right `protocol`?",
    422: "is it the right `protocol`, `input_name` and contract?",
    429: "ask more slowly: `requests_per_second`",
}


class HttpClient(EndpointClient):
    """Posts images, not faster than allowed."""

    def __init__(self, endpoint: Endpoint, card: ModelCard) -> None:
        super().__init__(endpoint, card)
        self._http = TimedHttp()
        scheme = endpoint.parts.scheme
        self._url = urlunsplit((scheme, endpoint.host, *endpoint.parts[2:4], ""))

    def answer(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return all outputs by name, each [N, …], for images [N, C, H, W]."""
        form = self._form or InputForm()
        written = form.write(images)
        count = len(written) if form.batched else 1
        if self._endpoint.protocol == "v2":
            tensor = {"name": form.name, "shape": list(written.shape), "datatype": form.datatype}
            body: dict[str, Any] = {"inputs": [{**tensor, "data": written.ravel().tolist()}]}
        else:
            body = {"instances": written.tolist() if form.batched else [written.tolist()]}
        numbers = count * self._card.num_classes
        most = _LEAST_ANSWER + _BYTES_A_NUMBER * numbers
        reply = self._post(json.dumps(body).encode(), most)
        where = f"{self._endpoint.shown}: answer"
        if not reply.whole:
            raise UnreadableFileError(
                mismatch(where, f"at most {most} bytes for {numbers} numbers", "more")
            )
        kind = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml"):
            raise UnreadableFileError(mismatch(where, "JSON", f"a page ({self._reason(reply)})"))
        v2 = self._endpoint.protocol == "v2"
        try:
            parsed = read_json(reply.body, 4 * numbers, OUTPUTS if v2 else PREDICTIONS)
            outputs = read_outputs(parsed, count) if v2 else read_predictions(parsed, count)
        except ValueError as error:
            raise UnreadableFileError(f"{where}: {self._endpoint.clean(str(error))}") from None
        return {name: values[: len(images)] for name, values in outputs.items()}

    def _post(self, body: bytes, most: int) -> Reply:
        """Return the answer to a request, repeated as often and as long as it may be."""
        endpoint = self._endpoint
        self._wait_turn()
        until = time.monotonic() + endpoint.timeout
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        failure = UnreadableFileError("")
        for repeat in range(endpoint.retries + 1):
            pause = 0.1 * 2**repeat
            try:
                reply = self._send("POST", self._url, until, most, headers, body)
            except TimeoutError:
                if not str(failure):  # else an earlier answer says more
                    failure = UnreadableFileError(
                        f"{endpoint.shown}: no answer within {endpoint.timeout:g} s (`timeout`)"
                    )
                break
            except ConnectionError as error:
                failure = UnreadableFileError(
                    f"{endpoint.shown}: no answer: {endpoint.clean(str(error))}"
                )
            else:
                if reply.status == 200:
                    return reply
                failure = self._failure(reply)
                if reply.status not in _REPEATED or isinstance(failure, BatchTooLargeError):
                    break
                asked = reply.headers.get("Retry-After", "")
                pause = max(pause, float(asked)) if re.fullmatch(r"\d{1,12}", asked) else pause
            if time.monotonic() + pause >= until:
                break
            time.sleep(pause)
        raise failure

    def _send(
        self,
        method: str,
        url: str,
        until: float,
        most: int,
        headers: dict[str, str],
        body: bytes | None = None,
    ) -> Reply:
        headers = {**headers, **self._endpoint.sent_headers}
        return self._http.send(method, url, until=until, most=most, headers=headers, body=body)

    def _failure(self, reply: Reply) -> UnreadableFileError:
        """Return what to say of an answer that is none."""
        reason = self._reason(reply)
        got = f"{reply.status} ({reason})" if reason else f"{reply.status}"
        todo = _TO_DO.get(reply.status, "")
        if 300 <= reply.status < 400:
            todo = "redirects are not followed; give the URL that they lead to"
        message = mismatch(f"{self._endpoint.shown}: status", 200, got) + (todo and f"; {todo}")
        fewer, most = batch_limit(reason) if 400 <= reply.status <= 500 else (False, None)
        if reply.status == 413 or fewer:
            return BatchTooLargeError(message, most)
        return UnreadableFileError(message)

    def _reason(self, reply: Reply) -> str:
        """Return the server's own words, of JSON or of a page."""
        try:
            said = read_json(reply.body[:65536], 1000)
            while isinstance(said, dict | list) and said:
                if isinstance(said, list):
                    said = said[0]
                    continue
                words = ("error", "message", "detail", "msg", "title")
                said = next((said[word] for word in words if word in said), None)
            text = said if isinstance(said, str) else ""
        except ValueError:
            page = reply.body[:4096].decode(errors="replace")
            title = re.search(r"<title>([^<]{1,200})", page, re.IGNORECASE)
            text = title[1] if title else re.sub(r"<[^<>]{0,1000}>", " ", page)
        return self._endpoint.clean(text)

    def _ask_form(self) -> InputForm:
        """Ask the server what it takes; a server that does not say so takes the usual form."""
        parts = self._endpoint.parts
        if self._endpoint.protocol == "v1":
            path = re.sub(r":\w+$", "/metadata", parts.path)
            found = self._metadata(path) if path != parts.path else {}
            return read_form(_signature_inputs(found), self._endpoint, self._card)
        path = re.sub(r"/infer/?$", "", parts.path)
        found = self._metadata(path) if path != parts.path else {}
        form = read_form(_listed_inputs(found), self._endpoint, self._card)
        if found and form.count is None:
            most = self._metadata(f"{path}/config").get("max_batch_size")
            if isinstance(most, int) and most > 0:
                self._most = most
        return form

    def _metadata(self, path: str) -> dict[str, Any]:
        """Return what the server says of its model at `path`; nothing where it says nothing."""
        until = time.monotonic() + self._endpoint.timeout
        url = urlunsplit(
            (self._endpoint.parts.scheme, self._endpoint.host, path, self._endpoint.parts.query, "")
        )
        try:
            headers = {"Accept": "application/json"}
            reply = self._send("GET", url, until, _LONGEST_METADATA, headers)
        except TimeoutError:
            raise UnreadableFileError(
                f"{self._endpoint.shown}: no answer within {self._endpoint.timeout:g} s (`timeout`)"
            ) from None
        except ConnectionError:
            return {}  # the images will tell
        try:
            found = read_json(reply.body, 10_000) if reply.status == 200 and reply.whole else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def _listed_inputs(found: dict[str, Any]) -> list[Any]:
    """Return the inputs of the Open Inference Protocol's metadata that make sense."""
    inputs = found.get("inputs")
    return [item for item in inputs if _is_input(item)] if isinstance(inputs, list) else []


def _is_input(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("name"), str)
        and isinstance(item.get("datatype"), str)
        and isinstance(item.get("shape", []), list)
        and all(isinstance(size, int) for size in item.get("shape", []))
    )


def _signature_inputs(found: dict[str, Any]) -> list[Any]:
    """Return the inputs of TensorFlow Serving's metadata in the form of the other protocol."""
    types = {"DT_FLOAT": "FP32", "DT_DOUBLE": "FP64", "DT_HALF": "FP16", "DT_UINT8": "UINT8"}
    types |= {"DT_INT32": "INT32", "DT_INT64": "INT64"}
    try:
        signatures = found["metadata"]["signature_def"]["signature_def"]
        inputs = signatures["serving_default"]["inputs"]
        return [
            {
                "name": str(name),
                "datatype": types.get(item["dtype"], str(item["dtype"])),
                "shape": [int(dim["size"]) for dim in item["tensor_shape"]["dim"][:8]],
            }
            for name, item in inputs.items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []

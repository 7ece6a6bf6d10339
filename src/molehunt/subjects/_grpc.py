"""Asking a model over gRPC, as Triton and KServe speak it (extra ``grpc``)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.errors import InvalidRequestError, UnreadableFileError, mismatch, need_extra
from molehunt.networks import ModelCard
from molehunt.subjects._endpoint import BatchTooLargeError, Endpoint, batch_limit
from molehunt.subjects._endpoint_client import EndpointClient
from molehunt.subjects._input_form import InputForm, read_form

_LARGEST_ANSWER = 64 * 2**20  # bytes
_REPEATED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL")
_TO_DO = {
    "UNAUTHENTICATED": "give credentials: `headers`",
    "PERMISSION_DENIED": "these credentials may not ask this model",
    "NOT_FOUND": "is there such a model? As grpc://HOST:PORT/MODEL or …/MODEL/VERSION",
    "RESOURCE_EXHAUSTED": "ask more slowly: `requests_per_second`, or fewer at once: `batch`",
    "UNIMPLEMENTED": "the server does not speak the Open Inference Protocol",
}


class GrpcClient(EndpointClient):
    """Asks for answers one request at a time, not faster than allowed."""

    def __init__(self, endpoint: Endpoint, card: ModelCard) -> None:
        self._library = need_extra("grpc", "tritonclient.grpc", f"{endpoint.shown}: gRPC")
        self._error = need_extra("grpc", "tritonclient.utils", "gRPC").InferenceServerException
        super().__init__(endpoint, card)
        self._outputs: list[str] = []
        names = [part for part in endpoint.parts.path.split("/") if part]
        if not 1 <= len(names) <= 2:
            allowed = "grpc://HOST:PORT/MODEL or grpc://HOST:PORT/MODEL/VERSION"
            raise InvalidRequestError(mismatch("endpoint", allowed, repr(endpoint.shown)))
        self._model, self._version = names[0], "".join(names[1:])
        self._headers = {name.lower(): value for name, value in endpoint.sent_headers.items()}
        self._client = self._library.InferenceServerClient(
            endpoint.host,
            ssl=endpoint.parts.scheme == "grpcs",
            channel_args=[
                ("grpc.max_receive_message_length", _LARGEST_ANSWER),
                ("grpc.max_send_message_length", -1),
                ("grpc.enable_retries", 0),
            ],
        )

    def answer(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return all outputs by name, each [N, …], for images [N, C, H, W]."""
        form = self._form or InputForm()
        written = form.write(images)
        count = len(written) if form.batched else 1
        tensor = self._library.InferInput(form.name, list(written.shape), form.datatype)
        tensor.set_data_from_numpy(written)
        wanted = [self._library.InferRequestedOutput(name) for name in self._outputs] or None
        self._wait_turn()
        result = self._call(
            self._client.infer, self._model, [tensor], self._version, outputs=wanted
        )
        found: dict[str, NDArray[np.float32]] = {}
        where = f"{self._endpoint.shown}: answer"
        for output in result.get_response().outputs:
            if output.datatype == "BYTES":
                continue  # names of classes
            try:
                values = result.as_numpy(output.name)
                found[output.name[:200]] = values.astype(np.float32).reshape(count, -1)
            except (ValueError, TypeError, AttributeError) as error:
                reason = self._endpoint.clean(str(error))
                raise UnreadableFileError(
                    mismatch(where, f"numbers for {count} images", reason)
                ) from None
        if not found:
            raise UnreadableFileError(mismatch(where, "outputs with numbers", "none"))
        return {name: values[: len(images)] for name, values in found.items()}

    def _call(self, ask: Any, *arguments: Any, **settings: Any) -> Any:
        """Return what one call answers, repeated as often and as long as it may be."""
        endpoint = self._endpoint
        until = time.monotonic() + endpoint.timeout
        failure = UnreadableFileError("")
        for repeat in range(endpoint.retries + 1):
            left = until - time.monotonic()
            if left <= 0:
                break
            try:
                return ask(*arguments, headers=self._headers, client_timeout=left, **settings)
            except self._error as error:
                status = str(error.status() or "").removeprefix("StatusCode.")
                if status == "DEADLINE_EXCEEDED":
                    break
                failure = self._failure(status, str(error.message() or ""))
                if status not in _REPEATED or isinstance(failure, BatchTooLargeError):
                    raise failure from None
            pause = 0.1 * 2**repeat
            if time.monotonic() + pause >= until:
                break
            time.sleep(pause)
        if not str(failure):
            failure = UnreadableFileError(
                f"{endpoint.shown}: no answer within {endpoint.timeout:g} s (`timeout`)"
            )
        raise failure

    def _failure(self, status: str, said: str) -> UnreadableFileError:
        reason = self._endpoint.clean(said)
        got = f"{status} ({reason})" if reason else status
        todo = _TO_DO.get(status, "")
        message = mismatch(f"{self._endpoint.shown}: status", "OK", got) + (todo and f"; {todo}")
        fewer, most = batch_limit(reason)
        return BatchTooLargeError(message, most) if fewer else UnreadableFileError(message)

    def _ask_form(self) -> InputForm:
        """Ask the server what it takes and gives."""
        asked = (self._model, self._version)
        found = self._call(self._client.get_model_metadata, *asked)
        inputs = [
            {"name": item.name, "datatype": item.datatype, "shape": list(item.shape)}
            for item in found.inputs
        ]
        form = read_form(inputs, self._endpoint, self._card)
        self._outputs = [item.name for item in found.outputs if item.datatype != "BYTES"][:64]
        if form.count is None:
            try:
                config = self._call(self._client.get_model_config, *asked).config
                if config.max_batch_size > 0:
                    self._most = config.max_batch_size
            except UnreadableFileError:
                pass  # a call of Triton's own; KServe has none
        return form

"""Endpoints behind gRPC: a real server, made of the protocol's own stubs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from molehunt.errors import InvalidRequestError, UnreadableFileError, UnsuitableSubjectError
from molehunt.networks import ModelCard
from molehunt.subjects import Endpoint, open_endpoint
from tests.subjects.servers import drip
from tests.subjects.test_foreign_files import answers, scanned, write_contract

grpc = pytest.importorskip("grpc")
pytest.importorskip("tritonclient.grpc")
from tritonclient.grpc import service_pb2 as pb  # noqa: E402
from tritonclient.grpc import service_pb2_grpc as stubs  # noqa: E402

CARD = ModelCard(
    architecture="endpoint",
    input_shape=(3, 2, 4),
    mean=(0.0,) * 3,
    std=(1.0,) * 3,
    class_names=tuple("0123456789"),
)
IMAGES = torch.rand(5, 3, 2, 4, generator=torch.Generator().manual_seed(0))
TYPES = {"FP32": np.float32, "UINT8": np.uint8, "FP64": np.float64, "FP16": np.float16}


def ten(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)[:, :10]


class Service(stubs.GRPCInferenceServiceServicer):
    """A model of one input; how it behaves stands in its attributes."""

    def __init__(self, **settings: Any) -> None:
        self.shape, self.datatype = [-1, 3, 2, 4], "FP32"
        self.most, self.model, self.names = 0, ten, ["logits"]
        self.token = self.fail = None
        self.seconds = 0.0
        self.counts: list[int] = []
        self.__dict__.update(settings)

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        if request.name != "m":
            context.abort(grpc.StatusCode.NOT_FOUND, "Request for unknown model")
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name="m",
            inputs=[tensor(name="INPUT__0", datatype=self.datatype, shape=self.shape)],
            outputs=[tensor(name=name, datatype="FP32", shape=[-1, 10]) for name in self.names],
        )

    def ModelConfig(self, request: Any, context: Any) -> Any:
        response = pb.ModelConfigResponse()
        response.config.max_batch_size = self.most
        return response

    def ModelInfer(self, request: Any, context: Any) -> Any:
        if self.token and dict(context.invocation_metadata()).get("authorization") != self.token:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "missing token")
        if self.fail:
            context.abort(*self.fail.pop(0))
        time.sleep(self.seconds)
        (tensor,) = request.inputs
        assert (tensor.name, tensor.datatype) == ("INPUT__0", self.datatype)
        values = np.frombuffer(request.raw_input_contents[0], TYPES[self.datatype])
        images = torch.from_numpy(values.astype(np.float32).reshape(tensor.shape))
        if images.ndim == 4 and self.shape[-1] == 3:
            images = images.permute(0, 3, 1, 2)
        self.counts.append(len(images))
        found = self.model(images).detach().numpy().astype(np.float32)
        response = pb.ModelInferResponse(model_name="m")
        for name in self.names:
            response.outputs.add(name=name, datatype="FP32", shape=found.shape)
            response.raw_output_contents.append(found.tobytes())
        return response


@contextmanager
def serve(**settings: Any) -> Iterator[tuple[str, Service]]:
    service = Service(**settings)
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", -1)])
    stubs.add_GRPCInferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}/m", service
    finally:
        server.stop(0)


def ask(url: str, **settings: Any) -> torch.Tensor:
    settings = {"retries": 0, "timeout": 20.0, **settings}
    return open_endpoint(Endpoint(url, **settings), CARD)(IMAGES)


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({}, [5]),
        ({"shape": [-1, 2, 4, 3]}, [5]),
        ({"datatype": "FP64"}, [5]),
        ({"datatype": "FP16"}, [5]),
        ({"most": 2}, [2, 2, 1]),
        ({"shape": [3, 3, 2, 4]}, [3, 3]),
    ],
)
def test_the_server_is_asked_what_it_takes(settings: dict, counts: list) -> None:
    with serve(**settings) as (url, service):
        found = ask(url)
    exact = settings.get("datatype") != "FP16"
    torch.testing.assert_close(found, ten(IMAGES), atol=1e-6 if exact else 1e-3, rtol=1e-3)
    assert service.counts == counts


def test_a_scan_of_grpc_gives_the_verdict_of_the_weights(
    zoo: Any, detector_file: Path, tmp_path: Path
) -> None:
    from molehunt.networks import load_model  # noqa: PLC0415
    from molehunt.zoo import Split  # noqa: PLC0415

    path = zoo.path_of(zoo.select(Split.TEST, "backdoored")[0])
    own = scanned(path, "-d", detector_file, tmp_path / "own.json")
    model = load_model(path)
    contract = write_contract(model, tmp_path / "contract.toml")
    with serve(model=model.network, shape=[-1, *model.card.input_shape]) as (url, _):
        code, subject = scanned(
            "--endpoint", url, "-d", detector_file, "--contract", contract, tmp_path / "o.json"
        )
    assert (code, *answers(subject)) == (own[0], *answers(own[1]))
    assert subject["source"] == url


def test_of_several_outputs_the_user_chooses() -> None:
    with serve(names=["a", "b"]) as (url, _):
        torch.testing.assert_close(ask(url, output="b"), ten(IMAGES))
        with pytest.raises(UnsuitableSubjectError, match="`output`"):
            ask(url)


def test_a_token_is_sent() -> None:
    with serve(token="Bearer t0ken") as (url, _):
        torch.testing.assert_close(ask(url, headers={"Authorization": "Bearer t0ken"}), ten(IMAGES))
        with pytest.raises(UnreadableFileError, match=r"missing token\); give credentials"):
            ask(url)


@pytest.mark.parametrize(
    ("status", "said", "message"),
    [
        ("PERMISSION_DENIED", "not yours", "may not ask this model"),
        # gRPC itself refuses, at random, what is over 8 KiB.
        ("INVALID_ARGUMENT", "unexpected shape\x1b[2J\n" + "x" * 5000, r"unexpected shape\\x1b"),
        ("RESOURCE_EXHAUSTED", "slow down", "`requests_per_second`"),
        ("INTERNAL", "", "got INTERNAL"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(status: str, said: str, message: str) -> None:
    fail = [(grpc.StatusCode[status], said)]
    with serve(fail=fail) as (url, _), pytest.raises(UnreadableFileError, match=message) as caught:
        ask(url)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_a_server_that_takes_fewer_images_gets_fewer() -> None:
    said = "inference request batch-size must be <= 2 for 'm'"
    with serve(fail=[(grpc.StatusCode.INVALID_ARGUMENT, said)]) as (url, service):
        torch.testing.assert_close(ask(url), ten(IMAGES))
    assert service.counts == [2, 2, 1]


def test_errors_that_pass_are_passed_over() -> None:
    with serve(fail=[(grpc.StatusCode.UNAVAILABLE, "starting")] * 2) as (url, _):
        torch.testing.assert_close(ask(url, retries=3), ten(IMAGES))


def test_unknown_models_and_hosts_are_told() -> None:
    with (
        serve() as (url, _),
        pytest.raises(UnreadableFileError, match=r"unknown model\); is there"),
    ):
        ask(f"{url}n")
    with pytest.raises(UnreadableFileError, match=r"UNAVAILABLE|no answer"):
        ask("grpc://127.0.0.1:9/m", timeout=3.0)


@pytest.mark.parametrize("url", ["grpc://host:1/", "grpcs://host:1/m/1/x"])
def test_a_model_has_a_name(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="grpc://HOST:PORT/MODEL"):
        ask(url)


def test_the_timeout_is_for_the_whole_answer() -> None:
    started = time.monotonic()
    with (
        serve(seconds=3.0) as (url, _),
        pytest.raises(UnreadableFileError, match="no answer within 1 s"),
    ):
        ask(url, timeout=1.0, retries=3)
    assert time.monotonic() - started < 6


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\0\0\0\4\0\0\0\0\0"])
def test_who_does_not_speak_grpc_is_left(first: bytes) -> None:
    started = time.monotonic()
    with (
        drip(first, b"\0", "grpc") as url,
        pytest.raises(UnreadableFileError, match=r"no answer|UNAVAILABLE"),
    ):
        ask(url.replace("/v2/models/m/infer", "/m"), timeout=1.0, retries=3)
    assert time.monotonic() - started < 6

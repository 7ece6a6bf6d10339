"""Endpoints: what servers want to be told, how they fail, and what hostile ones try."""

from __future__ import annotations

import gzip
import json
import re
import time
import tracemalloc
from pathlib import Path

import pytest
import torch

from molehunt.cli import run
from molehunt.errors import InvalidRequestError, UnreadableFileError, UnsuitableSubjectError
from molehunt.networks import ModelCard
from molehunt.subjects import Endpoint, open_endpoint
from tests.subjects.servers import Said, drip, images_of, outputs, serve, ten

CARD = ModelCard(
    architecture="endpoint",
    input_shape=(3, 2, 4),
    mean=(0.0,) * 3,
    std=(1.0,) * 3,
    class_names=tuple("0123456789"),
)
PIXELS = CARD.model_copy(update={"value_range": (0.0, 255.0)})
IMAGES = torch.rand(5, 3, 2, 4, generator=torch.Generator().manual_seed(0))
PATH = "/v2/models/m/infer"
V1 = "/v1/models/m:predict"


def answer(_path: str, asked: dict, _headers: dict) -> Said:
    return 200, {"outputs": [outputs(ten(images_of(asked)))]}, {}


def ask(url: str, card: ModelCard = CARD, **settings: object) -> torch.Tensor:
    settings = {"retries": 0, **settings}
    return open_endpoint(Endpoint(url, **settings), card)(IMAGES)  # type: ignore[arg-type]


def about(shape: list[int], datatype: str = "FP32", **more: object) -> dict:
    tensor = {"name": "INPUT__0", "datatype": datatype, "shape": shape}
    return {"/v2/models/m": {"inputs": [tensor]}, "/v2/models/m/config": more}


@pytest.mark.parametrize(
    ("shape", "axes", "requests"),
    [
        ([-1, 3, 2, 4], (0, 1, 2, 3), [5]),
        ([-1, 2, 4, 3], (0, 3, 1, 2), [5]),
        ([-1, -1, -1, 3], (0, 3, 1, 2), [5]),
        ([2, 3, 2, 4], (0, 1, 2, 3), [2, 2, 2]),
        ([3, 2, 4], None, [1] * 5),
        ([-1, 24], None, [5]),
    ],
    ids=["as ours", "colours last", "open sizes", "two at once", "one by one", "flat"],
)
def test_the_server_is_asked_what_it_takes(shape: list, axes: tuple | None, requests: list) -> None:
    counts = []

    def post(_path: str, asked: dict, _headers: dict) -> Said:
        if asked["inputs"][0]["name"] != "INPUT__0":
            return 400, {"error": "unexpected inference input"}, {}
        images = images_of(asked)
        if axes is not None:
            images = images.permute(axes)
        counts.append(len(images) if len(shape) != 3 else 1)
        return 200, {"outputs": [outputs(ten(images.reshape(-1, 24)))]}, {}

    with serve(post, about(shape)) as url:
        answers = ask(url + PATH)
    torch.testing.assert_close(answers, ten(IMAGES))
    assert counts == requests


def test_flags_go_before_what_the_server_says() -> None:
    def post(_path: str, asked: dict, _headers: dict) -> Said:
        (tensor,) = asked["inputs"]
        assert (tensor["name"], tensor["datatype"]) == ("x", "FP64")
        return 200, {"outputs": [outputs(ten(images_of(asked).permute(0, 3, 1, 2)))]}, {}

    with serve(post) as url:
        answers = ask(url + PATH, input_name="x", datatype="FP64", layout="nhwc")
    torch.testing.assert_close(answers, ten(IMAGES))


def test_a_server_of_pixels_gets_whole_numbers() -> None:
    def post(_path: str, asked: dict, _headers: dict) -> Said:
        assert asked["inputs"][0]["datatype"] == "UINT8"
        return 200, {"outputs": [outputs(ten(images_of(asked)))]}, {}

    with serve(post, about([-1, 3, 2, 4], "UINT8")) as url:
        torch.testing.assert_close(ask(url + PATH, PIXELS), ten((255 * IMAGES).round()))
        with pytest.raises(InvalidRequestError, match="`value_range` 0,255, `mean` 0, `std` 1"):
            ask(url + PATH)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (about([-1, 3, 32, 32]), "expected [-1, 3, 32, 32], got (3, 2, 4)"),
        (about([-1, 3, 2, 4], "BYTES"), "expected FP16, FP32"),
        (
            {"/v2/models/m": {"inputs": 2 * about([1])["/v2/models/m"]["inputs"]}},
            "expected [1], got (3, 2, 4)",
        ),
        (
            {
                "/v2/models/m": {
                    "inputs": [
                        {"name": name, "datatype": "FP32", "shape": [-1, 3, 2, 4]}
                        for name in ("image", "mask\x1b")
                    ]
                }
            },
            "inputs: expected one, got image, mask\\x1b",
        ),
    ],
    ids=["another size", "text", "the same twice", "two"],
)
def test_inputs_that_do_not_fit_are_told(metadata: dict, said: str) -> None:
    with (
        serve(answer, metadata) as url,
        pytest.raises(InvalidRequestError, match=re.escape(said)),
    ):
        ask(url + PATH)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, {"error": "inference request batch-size must be <= 2 for 'm'"}),
        (400, {"error": "Batch size 5 exceeds the maximum"}),
        (500, {"detail": "max_batch_size is 2"}),
        (413, {}),
        (413, b"<html><title>413 Request Entity Too Large</title>"),
    ],
)
def test_a_server_that_takes_fewer_images_gets_fewer(status: int, said: object) -> None:
    counts = []

    def post(path: str, asked: dict, headers: dict) -> Said:
        count = len(images_of(asked))
        if count > 2:
            return status, said, {}
        counts.append(count)
        return answer(path, asked, headers)

    with serve(post) as url:
        torch.testing.assert_close(ask(url + PATH), ten(IMAGES))
    assert counts == [2, 2, 1]


def test_triton_says_how_many_images_it_takes() -> None:
    counts = []

    def post(path: str, asked: dict, headers: dict) -> Said:
        counts.append(len(images_of(asked)))
        return answer(path, asked, headers)

    with serve(post, about([-1, 3, 2, 4], max_batch_size=4)) as url:
        ask(url + PATH)
    assert counts == [4, 1]


FIRST = torch.arange(10.0)
PREDICTIONS = {
    "lists": lambda rows: [row.tolist() for row in rows],
    "dicts": lambda rows: [{"scores": row.tolist()} for row in rows],
    "dicts with names of classes": lambda rows: [
        {"label": "cat", "classes": list("abcdefghij"), "scores": row.tolist()} for row in rows
    ],
    "dicts with logits": lambda rows: [
        {"probabilities": FIRST.tolist(), "logits": row.tolist()} for row in rows
    ],
    "dicts with features": lambda rows: [
        {"features": [0.0] * 64, "scores": row.tolist()} for row in rows
    ],
}


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_predictions_of_all_kinds_are_read(kind: str) -> None:
    def post(_path: str, asked: dict, _headers: dict) -> Said:
        images = torch.tensor(asked["instances"])
        return 200, {"predictions": PREDICTIONS[kind](ten(images))}, {}

    with serve(post) as url:
        torch.testing.assert_close(ask(url + V1, protocol="v1"), ten(IMAGES))


def test_tensorflow_serving_is_asked_what_it_takes() -> None:
    def post(_path: str, asked: dict, _headers: dict) -> Said:
        images = torch.tensor(asked["instances"]).permute(0, 3, 1, 2)
        return 200, {"predictions": ten(images).tolist()}, {}

    dims = [{"size": str(size)} for size in (-1, 2, 4, 3)]
    inputs = {"x": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dims}}}
    signature = {"signature_def": {"serving_default": {"inputs": inputs}}}
    with serve(post, {"/v1/models/m/metadata": {"metadata": {"signature_def": signature}}}) as url:
        torch.testing.assert_close(ask(url + V1, protocol="v1"), ten(IMAGES))


def test_of_several_outputs_the_user_chooses() -> None:
    def post(_path: str, asked: dict, _headers: dict) -> Said:
        answers = ten(images_of(asked))
        return 200, {"outputs": [outputs(answers, "a"), outputs(-answers, "b")]}, {}

    with serve(post) as url:
        torch.testing.assert_close(ask(url + PATH, output="b"), -ten(IMAGES))
        with pytest.raises(UnsuitableSubjectError, match=r"a \[5, 10\], b \[5, 10\].*`output`"):
            ask(url + PATH)


STATUS = {
    401: ({"error": "missing token"}, "got 401 (missing token); give credentials: `headers`"),
    403: ({"detail": "not yours"}, "got 403 (not yours); these credentials may not"),
    404: (b"<html><h1>Nothing</h1> here</html>", "got 404 (Nothing here); is there such a model?"),
    415: ({"message": "only\x1b[2Jprotobuf"}, "got 415 (only\\x1b[2Jprotobuf); is it the right"),
    422: ({"detail": [{"loc": ["body"], "msg": "field required"}]}, "got 422 (field required); is"),
    429: ({"error": {"message": "slow down"}}, "got 429 (slow down); ask more slowly"),
    503: (b"", "got 503"),
    302: (b"", "got 302; redirects are not followed"),
    400: ({"error": "x" * 10_000}, "got 400 (xxx"),
}


@pytest.mark.parametrize("status", STATUS)
def test_a_refusal_is_told_in_the_servers_words(status: int) -> None:
    body, said = STATUS[status]
    with (
        serve(lambda *_: (status, body, {"Location": "/elsewhere"})) as url,
        pytest.raises(UnreadableFileError) as caught,
    ):
        ask(url + PATH)
    assert said in str(caught.value)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


NO_ANSWERS = {
    "a page": ({}, b"<html><title>Sign in</title>", "text/html", "JSON, got a page (Sign in)"),
    "half a JSON": ({}, b'{"outputs": [', "application/json", "got '{\"outputs\": ['"),
    "nothing": ({}, b"", "application/json", "got nothing"),
    "an error with 200": ({}, b'{"error": "no GPU"}', "", "got the error no GPU"),
    "null": ({}, b'{"outputs": [{"data": [null, 1, 1, 1, 1]}]}', "", "expected numbers, got null"),
    "text": ({}, b'{"outputs": [{"data": ["a", "b"]}]}', "", "expected numbers, got text"),
    "ragged": ({}, b'{"outputs": [{"data": [[1], [1, 2]]}]}', "", "rows of one length"),
    "too few": ({}, b'{"outputs": [{"data": [1, 2, 3]}]}', "", "a multiple of 5 images, got 3"),
    "a wrong shape": (
        {}, b'{"outputs": [{"shape": [5, 10], "data": [1]}]}', "", "shape [5, 10], got 1",
    ),
    "a huge shape": (
        {}, b'{"outputs": [{"shape": [99999999999, 99999999999], "data": [1]}]}', "", "got 1",
    ),
    "deep": ({}, b"[" * 50_000, "", "got hundreds"),
    "a number of 5000 digits": ({}, b"[" + b"9" * 5000 + b"]", "", "expected outputs"),
    "other predictions": (
        {"protocol": "v1"}, b'{"predictions": [[1]]}', "", "predictions of 5 images, got 1",
    ),
    "a list": ({"protocol": "v1"}, b"[1, 2]", "", "got a list of 2"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_an_answer_that_is_none_is_told(kind: str) -> None:
    settings, body, content_type, said = NO_ANSWERS[kind]
    with (
        serve(lambda *_: (200, body, {"Content-Type": content_type or "text/plain"})) as url,
        pytest.raises(UnreadableFileError) as caught,
    ):
        ask(url + PATH, **settings)
    assert said in str(caught.value)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


SECRETS = ("s3cret-in-url", "s3cret-in-query", "s3cret-in-environment")


def test_credentials_are_sent_and_never_shown(
    detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    seen = []

    def post(path: str, _asked: dict, headers: dict) -> Said:
        seen.append((path, headers))
        return 401, {"error": f"unknown {headers['Authorization']} {headers['X-Key']} {path}"}, {}

    (tmp_path / "contract.toml").write_text(
        "input_shape = [3, 2, 4]\nclasses = 10\nmean = [0.0]\nstd = [1.0]\n"
    )
    monkeypatch.setenv("THEIR_KEY", SECRETS[2] + "\n")
    names = ("json", "sarif", "html", "bom")
    with serve(post) as url:
        address = url.replace("//", f"//me:{SECRETS[0]}@") + f"{PATH}?sig={SECRETS[1]}"
        code = run(
            ["scan", "--endpoint", address, "-d", str(detector_file), "--header", "X-Key=THEIR_KEY",
             "--contract", str(tmp_path / "contract.toml"), "--retries", "0",
             *(part for name in names for part in (f"--{name}", str(tmp_path / f"o.{name}")))]
        )  # fmt: skip
    assert code == 2
    ((path, headers),) = seen
    assert path.endswith(f"?sig={SECRETS[1]}") and headers["X-Key"] == SECRETS[2]
    assert headers["Authorization"] == "Basic bWU6czNjcmV0LWluLXVybA=="
    written = "".join((tmp_path / f"o.{name}").read_text() for name in names)
    written += "".join(capfd.readouterr()) + repr(Endpoint(address, headers={"X-Key": SECRETS[2]}))
    assert "got 401" in written
    for secret in (*SECRETS, "bWU6czNjcmV0LWluLXVybA"):
        assert secret not in written


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--token-env", "NO_SUCH_TOKEN"], "variable that is set, got NO_SUCH_TOKEN"),
        (["--token-env", "ghp_s3cret"], "variable that is set, got another text"),
        (["--header", "Authorization=Bearer s3cret"], "variable that is set, got another text"),
        (["--header", "X Key=HOME"], "header: expected a name"),
    ],
)
def test_credentials_on_the_command_line_are_refused(flags: list, said: str, capfd) -> None:
    assert run(["scan", "--endpoint", "http://127.0.0.1:9/", *flags]) == 4
    error = capfd.readouterr().err
    assert said in " ".join(error.split()) and "s3cret" not in error


def test_a_token_is_sent_as_a_bearer(monkeypatch: pytest.MonkeyPatch) -> None:
    def post(path: str, asked: dict, headers: dict) -> Said:
        if headers.get("Authorization") != "Bearer t0ken":
            return 401, {}, {}
        return answer(path, asked, headers)

    with serve(post) as url:
        answers = ask(url + PATH, headers={"Authorization": "Bearer t0ken"})
    torch.testing.assert_close(answers, ten(IMAGES))


@pytest.mark.parametrize(
    "url",
    ["http://[::1/", "http://me:s3cret@host:port/", "http://me:s3cret@/x", "ftp://me:s3cret@h/",
     "http://host/a b", "http://host/\x1b[2J"],
)  # fmt: skip
def test_impossible_urls_are_refused_without_their_passwords(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="endpoint: expected http://HOST") as caught:
        Endpoint(url)
    assert "s3cret" not in str(caught.value)
    assert str(caught.value).isprintable()


GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "in the body": (HEAD + b"Content-Length: 100000\r\n\r\n", b" ", "http"),
    "in a body without end": (HEAD + b"\r\n", b" ", "http"),
    "in chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", "http"),
    "in the size of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0", "http"),
    "in headers": (HEAD, b"X-A: b\r\n", "http"),
    "in a header": (HEAD + b"X-A: ", b"b", "http"),
    "before the answer": (GO_ON, GO_ON, "http"),
    "in the handshake": (b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\x03", "https"),
    "not at all": (b"", b"", "http"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DRIPS)
def test_the_timeout_is_for_the_whole_answer(kind: str) -> None:
    started = time.monotonic()
    with drip(*DRIPS[kind]) as url, pytest.raises(UnreadableFileError, match="no answer"):
        ask(url, timeout=1.0, retries=3)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("status", [429, 503])
def test_nobody_waits_for_ever_until_retry_after(status: int) -> None:
    started = time.monotonic()
    with (
        serve(lambda *_: (status, {}, {"Retry-After": "1000000000"})) as url,
        pytest.raises(UnreadableFileError, match=f"got {status}"),
    ):
        ask(url + PATH, timeout=2.0, retries=3)
    assert time.monotonic() - started < 2


def test_retry_after_is_respected() -> None:
    times = []

    def post(path: str, asked: dict, headers: dict) -> Said:
        times.append(time.monotonic())
        if len(times) == 1:
            return 429, {}, {"Retry-After": "1"}
        return answer(path, asked, headers)

    with serve(post) as url:
        ask(url + PATH, retries=1)
    assert times[1] - times[0] >= 1


BLANK = b" " * 30_000_000
LARGE = {
    "empty lists": (b"[],", 10_000_000, {}),
    "numbers": (b"1,", 15_000_000, {}),
    "blanks in gzip": (gzip.compress(BLANK, 1), 1, {"Content-Encoding": "gzip"}),
    "a bomb in gzip": (gzip.compress(BLANK * 10, 1), 1, {"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("kind", LARGE)
def test_large_answers_are_not_held(kind: str) -> None:
    part, times, headers = LARGE[kind]
    with serve(lambda *_: (200, part * times, headers)) as url:
        box = open_endpoint(Endpoint(url + PATH, retries=0), CARD)
        tracemalloc.start()
        try:
            with pytest.raises(UnreadableFileError, match="expected at most"):
                box(IMAGES)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # The server's own answer is counted, too: it lives in this process.
    assert peak < len(part) * times + 30_000_000


def test_answers_in_gzip_are_read() -> None:
    def post(_path: str, asked: dict, _headers: dict) -> Said:
        said = json.dumps({"outputs": [outputs(ten(images_of(asked)))]}).encode()
        return 200, gzip.compress(said), {"Content-Encoding": "gzip"}

    with serve(post) as url:
        torch.testing.assert_close(ask(url + PATH), ten(IMAGES))

"""A server that runs: clients of others, accounts, and what the guard does to them."""

from __future__ import annotations

import gc
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.guard import (
    Action,
    Answering,
    Guard,
    Keys,
    Limits,
    MemoryStore,
    NearestNeighbours,
    new_key,
)
from molehunt.subjects import Endpoint, open_endpoint
from tests.guard.guard_servers import DIGITS, MODEL, PIXELS, answers, ask, get, serving, tensor

TRUE = MODEL(PIXELS[:8]).detach()
# The server takes pixels in [0, 1].
CARD = MODEL.card.model_copy(update={"value_range": (0.0, 1.0), "mean": (0.0,), "std": (1.0,)})
# Six of one image are near one another; no two digits are.
NEAR = NearestNeighbours(neighbours=2, window=30, threshold=-0.05)


def guard(action: Action, store: MemoryStore | None = None) -> Guard:
    return Guard([NEAR], store, action=action)


@pytest.mark.parametrize("answering", list(Answering))
def test_answers_reveal_what_they_shall_and_our_own_client_reads_them(
    answering: Answering,
) -> None:
    with serving(answering=answering) as port:
        status, said, _ = ask(port, PIXELS[:8])
        url = f"http://127.0.0.1:{port}/v2/models/model/infer"
        ours = open_endpoint(Endpoint(url, retries=0), CARD)(PIXELS[:8])
    got = torch.from_numpy(answers(said))
    assert status == 200 and torch.allclose(got, ours)
    sure = TRUE.softmax(1)
    wanted = {
        Answering.LOGITS: TRUE,
        Answering.CONFIDENCES: sure,
        Answering.ROUNDED: sure.round(decimals=2),
        Answering.LABELS: torch.nn.functional.one_hot(TRUE.argmax(1), 10).float(),
    }[answering]
    assert torch.allclose(got, wanted, atol=1e-5)
    assert said["outputs"][0]["name"] == answering.value


def ask_by_triton(triton: Any, port: int) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("model") and client.is_model_ready("model", "1")
    assert client.get_server_metadata()["name"] == "molehunt"
    assert client.get_model_config("model")["max_batch_size"] == 32
    (given,) = client.get_model_metadata("model")["inputs"]
    assert given == {"name": "images", "datatype": "FP32", "shape": [-1, 1, 12, 12]}
    for binary_in, wanted in ((True, None), (False, True), (True, False)):
        images = triton.InferInput("images", [8, 1, 12, 12], "FP32")
        images.set_data_from_numpy(PIXELS[:8].numpy(), binary_data=binary_in)
        outputs = None
        if wanted is not None:
            outputs = [triton.InferRequestedOutput("logits", binary_data=wanted)]
        found = client.infer("model", [images], outputs=outputs, request_id="7")
        assert np.allclose(found.as_numpy("logits"), TRUE, atol=1e-5)
        assert found.get_response()["id"] == "7"
    with pytest.raises(triton.InferenceServerException, match="expected model"):
        client.infer("other", [images])
    with pytest.raises(triton.InferenceServerException, match="Content-Encoding"):
        client.infer("model", [images], request_compression_algorithm="gzip")
    client.close()


def test_the_client_of_triton_is_answered() -> None:
    pytest.importorskip("geventhttpclient", reason="tritonclient[http] is not installed")
    triton = pytest.importorskip("tritonclient.http")
    with serving(answering=Answering.LOGITS) as port:
        ask_by_triton(triton, port)
    gc.collect()  # its client wants to end in the thread that made it


def test_pages_describe_the_server() -> None:
    with serving() as port:
        for path, words in {
            "/v2": '"name":"molehunt"',
            "/v2/health/live": '{"live":true}',
            "/v2/health/ready": '{"ready":true}',
            "/v2/models/model/versions/1/ready": '{"name":"model","ready":true}',
            "/docs": "POST /v2/models/model/infer",
        }.items():
            status, text = get(port, path)
            assert status == 200 and words in text
        api = json.loads(get(port, "/openapi.json")[1])
        assert api["openapi"].startswith("3.1") and "/v2/models/model/infer" in api["paths"]
        assert "src=" not in get(port, "/docs")[1]
        for path in ("/nope", "/v2/models/other", "/v2/models/model/versions/2", "/v2/"):
            status, text = get(port, path)
            assert status == 404 and list(json.loads(text)) == ["error"]
        status, text = get(port, "/v2/models/model/infer")
        assert status == 405 and list(json.loads(text)) == ["error"]


def test_an_account_is_blocked_after_an_alarm_and_another_is_not(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    ann, ben, prometheus = (
        new_key(name, file, metrics=name == "prometheus") for name in ("ann", "ben", "prometheus")
    )
    with serving(guard(Action.BLOCK), keys=Keys.read(file)) as port:
        found = [ask(port, PIXELS[:1], key=ann)[0] for _ in range(5)]
        assert found == [200, 200, 403, 403, 403]
        status, said, _ = ask(port, PIXELS[5:6], key=ann)
        assert (status, said) == (403, {"error": "this account is blocked"})
        assert ask(port, PIXELS[:8], key=ben)[0] == 200
        status, page = get(port, "/metrics", Authorization=f"Bearer {prometheus}")
        assert status == 200
        assert 'molehunt_guard_requests_total{status="403"} 4.0' in page
        assert 'molehunt_guard_alarms_total{monitor="neighbours"} 1.0' in page
        assert "molehunt_guard_images_total 10.0" in page and "ann" not in page
        assert get(port, "/metrics", Authorization=f"Bearer {ann}")[0] == 401
        assert ask(port, key=prometheus)[0] == 403


def test_a_throttled_account_waits_and_a_misled_one_gets_the_second_class() -> None:
    same = PIXELS[:1].expand(4, -1, -1, -1)
    with serving(guard(Action.THROTTLE), pause=30.0) as port:
        assert ask(port, same)[0] == 200
        status, said, headers = ask(port, PIXELS[4:5])
        assert status == 429 and "once more in" in said["error"]
        assert 100 <= int(headers["Retry-After"]) <= 120
    with serving(guard(Action.WRONG), answering=Answering.LOGITS) as port:
        got = answers(ask(port, same)[1])
    best = TRUE[0].topk(2).indices.tolist()
    assert got.argmax(1).tolist() == [best[0], best[0], best[1], best[1]]
    with serving(guard(Action.LOG)) as port:
        assert [ask(port, same)[0] for _ in range(3)] == [200] * 3


def test_a_wrong_key_gets_nothing_and_costs_nothing(tmp_path: Path) -> None:
    key = new_key("ann", tmp_path / "keys")
    store = MemoryStore()
    with serving(guard(Action.BLOCK, store), keys=Keys.read(tmp_path / "keys")) as port:
        for wrong in (None, "", key[:-1], key + "x", "ann", "é", "x" * 4000):
            status, said, headers = ask(port, key=wrong.encode() if wrong == "é" else wrong)  # type: ignore[arg-type]
            assert status == 401 and "key: expected" in said["error"]
            assert headers["WWW-Authenticate"] == "Bearer"
        assert len(store) == 0
        assert ask(port, headers={"X-API-Key": key})[0] == 200
    assert key not in (tmp_path / "keys").read_text()
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0


def test_without_keys_an_address_is_an_account_which_a_client_does_not_choose() -> None:
    store = MemoryStore()
    with serving(guard(Action.BLOCK, store)) as port:
        for number in range(4):
            headers = {"X-Forwarded-For": f"10.0.0.{number}", "Forwarded": f"for=10.0.0.{number}"}
            status = ask(port, PIXELS[:1], headers=headers)[0]
        assert status == 403
        assert get(port, "/metrics")[0] == 200
    assert len(store) == 1 and store.standing("address:127.0.0.1").flagged_at == 3


def test_a_model_that_fails_is_the_servers_error_and_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise UnreadableFileError("http://secret-host:8000: no answer")

    with serving() as port:
        monkeypatch.setattr(MODEL, "forward", fail)
        assert ask(port)[:2] == (502, {"error": "the model does not answer"})
        monkeypatch.setattr(MODEL, "forward", lambda images: images.flatten(1)[:, :10] / 0)
        assert ask(port)[0] == 502
        monkeypatch.setattr(MODEL, "forward", lambda images: 1 / 0)
        assert ask(port)[:2] == (500, {"error": "internal error"})
        monkeypatch.undo()
        assert ask(port)[0] == 200


def test_another_endpoint_is_guarded_like_a_file() -> None:
    with serving(answering=Answering.LOGITS) as behind:
        url = f"http://127.0.0.1:{behind}/v2/models/model/infer"
        model = open_endpoint(Endpoint(url, retries=0, timeout=5), CARD)
        front = serving(guard(Action.BLOCK), model=model, answering=Answering.LABELS)
        with front as port:
            status, said, _ = ask(port, PIXELS[:8])
            assert status == 200
            assert (answers(said).argmax(1) == TRUE.argmax(1).numpy()).all()
            same = PIXELS[:1].expand(3, -1, -1, -1)
            assert ask(port, same)[0] == 403
            assert ask(behind, same)[0] == 200  # who watches is in front
    with serving(model=model) as port:
        assert ask(port)[:2] == (502, {"error": "the model does not answer"})


def test_a_slow_model_does_not_keep_others_from_being_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = MODEL.forward

    def forward(images: torch.Tensor) -> torch.Tensor:
        if len(images) == 2:
            asked.set()
            assert go_on.wait(20)
        return usual(images)

    monkeypatch.setattr(MODEL, "forward", forward)
    asked, go_on, found = threading.Event(), threading.Event(), list[int]()
    with serving() as port:
        thread = threading.Thread(target=lambda: found.append(ask(port, PIXELS[:2])[0]))
        thread.start()
        assert asked.wait(20)
        assert get(port, "/v2/health/live")[0] == 200
        go_on.set()
        thread.join()
        assert found == [200]
        for _ in range(60):  # until answers are known to be quick
            assert ask(port)[0] == 200


def test_many_at_once_are_all_answered_rightly() -> None:
    wrong: list[int] = []

    def work(first: int) -> None:
        for place in range(first, 80, 4):
            status, said, _ = ask(port, PIXELS[place : place + 1])
            got = torch.from_numpy(answers(said)) if status == 200 else torch.zeros(1, 10)
            if not torch.allclose(got, MODEL(PIXELS[place : place + 1]).softmax(1), atol=1e-5):
                wrong.append(place)

    with serving(guard(Action.LOG), answering=Answering.CONFIDENCES) as port:
        threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="limit of batch: expected above 0, got 0"):
        Limits(batch=0)
    with pytest.raises(InvalidRequestError, match="account's name"):
        new_key("a b", tmp_path / "keys")
    new_key("ann", tmp_path / "keys")
    with pytest.raises(InvalidRequestError, match="the other kind"):
        new_key("ann", tmp_path / "keys", metrics=True)
    secret = "thisisakeyinthewrongplace"
    (tmp_path / "plain").write_text(f"ann {secret}\n")
    with pytest.raises(UnreadableFileError, match="line 1: expected NAME") as caught:
        Keys.read(tmp_path / "plain")
    assert secret not in str(caught.value)
    (tmp_path / "none").write_text("# nothing\n")
    with pytest.raises(UnreadableFileError, match="keys: expected 1"):
        Keys.read(tmp_path / "none")


def test_no_two_of_the_digits_are_near() -> None:
    rows = NEAR.digest(DIGITS.test.pixels()[:80], torch.zeros(80))
    assert not any(NEAR.judge(rows[:0], rows))


def test_a_body_is_what_was_sent() -> None:
    with serving(limits=Limits(batch=4)) as port:
        status, said, _ = ask(port, PIXELS[:5])
        assert status == 400 and "batch-size must be <= 4" in said["error"]
        url = f"http://127.0.0.1:{port}/v2/models/model/infer"
        ours = open_endpoint(Endpoint(url, retries=0), CARD)
        assert ours(PIXELS[:8]).shape == (8, 10)  # in requests that it takes
        body = json.dumps({"inputs": [tensor(PIXELS[:1])]}).encode()
        assert ask(port, body=body + b" " * 2**17)[0] == 200

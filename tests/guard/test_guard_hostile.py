"""Hostile clients: slow, huge, broken, many. Each gets one error, and the others answers."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from molehunt.guard import Limits
from tests.guard.guard_servers import PIXELS, ask, serving, tensor

LIMITS = Limits(
    body=20_000, header_seconds=1.0, request_seconds=1.5, connections=24, connections_a_client=12
)
HEAD = b"POST /v2/models/model/infer HTTP/1.1\r\nHost: h\r\n"
BODY = json.dumps({"inputs": [tensor(PIXELS[:1])]}).encode()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(limits=LIMITS) as found:
        yield found


def talk(port: int, *parts: bytes, pause: float = 0.0) -> tuple[int, dict]:
    """Send bytes, and return the status and the JSON of the first answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        try:
            for part in parts:
                client.sendall(part)
                time.sleep(pause)
        except OSError:
            pass  # it hung up; what it said before stands
        got = b""
        while b"\r\n\r\n" not in got or len(got) < needed(got):
            part = client.recv(65536)
            if not part:
                break
            got += part
    head, _, content = got.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(content[: needed(got) - len(head) - 4])


def needed(got: bytes) -> int:
    head, _, _ = got.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if b"-length:" in line]
    return len(head) + 4 + int(lengths[0])


@pytest.mark.parametrize(
    ("parts", "pause", "status", "words"),
    [
        ([b""], 0, 408, "headers: expected within 1 s"),
        ([HEAD], 0, 408, "headers: expected within 1 s"),
        ([HEAD, *[b"X-A: 1\r\n"] * 6], 0.3, 408, "headers: expected within 1 s"),
        ([HEAD + b"Content-Length: 9\r\n\r\n", *[b"a"] * 8], 0.3, 408, "body: expected within"),
        ([HEAD + b"Content-Length: 999999999999\r\n\r\n"], 0, 413, "body: expected at most 20000"),
        ([HEAD + b"Content-Length: 9" + b"9" * 40 + b"\r\n\r\n"], 0, 400, "expected HTTP/1.1|body"),
        (
            [
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
                *[b"2000\r\n" + b"a" * 0x2000 + b"\r\n"] * 3,
            ],
            0,
            413,
            "body: expected at most 20000",
        ),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"], 0, 400, "expected HTTP/1.1"),
        ([b"GET / HTTP/1.1\r\n\r\n"], 0, 400, "expected HTTP/1.1"),
        ([HEAD + b"X: " + b"a" * 2_000_000 + b"\r\n\r\n"], 0, 400, "expected HTTP/1.1"),
        ([HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"], 0, 400, "expected HTTP/1.1"),
        ([HEAD + b"Content-Length: 4\r\n\r\n\xff\xfe{["], 0, 400, "body: expected JSON"),
    ],
    ids=[
        *("silent", "half a header", "headers by drops", "body by drops", "huge"),
        *("absurd length", "huge in chunks", "no HTTP", "no host", "long header"),
        *("two lengths", "no JSON"),
    ],
)
def test_a_hostile_client_gets_one_error_and_the_next_one_an_answer(
    port: int, parts: list[bytes], pause: float, status: int, words: str
) -> None:
    got, said = talk(port, *parts, pause=pause)
    assert got == status and list(said) == ["error"]
    assert any(word in said["error"] for word in words.split("|"))
    assert ask(port)[0] == 200


def test_a_second_request_of_a_connection_has_no_more_time(port: int) -> None:
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(whole)
        got = b""
        while b"\r\n\r\n" not in got or len(got) < needed(got):
            got += client.recv(65536)
        assert got.startswith(b"HTTP/1.1 200")
        client.sendall(HEAD)
        assert client.recv(65536).startswith(b"HTTP/1.1 408")
        assert client.recv(65536) == b""
    assert time.monotonic() - started < 15


def test_a_client_that_hangs_up_or_never_stops_sending_leaves_the_server_well(port: int) -> None:
    for part in (HEAD, HEAD + b"Content-Length: 500\r\n\r\nabc"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(part)
    ended = time.monotonic() + 15
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(HEAD + b"Content-Length: 99999999\r\n\r\n")
        with pytest.raises(OSError):
            while time.monotonic() < ended:
                client.sendall(b"a" * 65536)
    assert ask(port)[0] == 200


def test_a_client_that_reads_nothing_is_hung_up_on(port: int) -> None:
    ended = time.monotonic() + 20
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(1.0)
        client.connect(("127.0.0.1", port))
        many = b"GET /docs HTTP/1.1\r\nHost: h\r\n\r\n" * 500
        with pytest.raises(ConnectionError):
            while time.monotonic() < ended:
                with contextlib.suppress(TimeoutError):  # it reads no more of us either
                    client.sendall(many)
    assert ask(port)[0] == 200


def test_connections_of_one_client_are_counted_and_freed(port: int) -> None:
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(12)]
    try:
        deadline = time.monotonic() + 10
        status = 0
        while status != 503 and time.monotonic() < deadline:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
                status = int(one.recv(65536).split(b" ")[1])
        assert status == 503
    finally:
        for client in held:
            client.close()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if ask(port)[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail("the server did not come back")

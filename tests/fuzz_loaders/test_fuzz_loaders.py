"""The fuzzer sees what must never happen, and keeps the file that did it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from tests.fuzz_loaders.__main__ import Fuzzer
from tests.fuzz_loaders.mutations import CHANGES, change_json
from tests.fuzz_loaders.seeds import Seeds
from tests.fuzz_loaders.watching import watch


def fail() -> int:
    raise ValueError("no")


def say(text: str, code: int = 0) -> Callable[[], int]:
    def work() -> int:
        print(text)
        return code

    return work


def take_memory() -> int:
    if not os.fork():  # what its children take counts, too
        held = b"x" * (2200 * 2**20)
        time.sleep(1)
        os._exit(len(held) and 0)
    os.wait()
    return 0


@pytest.mark.parametrize(
    ("work", "fault"),
    [
        (fail, "traceback"),
        (say("molehunt: internal error: KeyError"), "internal error"),
        (say("\x1b[2J"), "raw escapes"),
        (say("", 139), "exit code 139"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL) or 0, "exit code -9"),
        (take_memory, "GiB"),
    ],
)
def test_a_fault_is_seen(work: Callable[[], int], fault: str) -> None:
    assert any(fault in each for each in watch(work).faults)


@pytest.mark.parametrize("code", range(5))
def test_an_honest_answer_is_none(code: int) -> None:
    assert not watch(say("x.pt: clean", code)).faults


def test_the_file_that_did_it_is_kept(tmp_path: Path) -> None:
    seeds = Seeds({}, {}, tmp_path, tmp_path, tmp_path)
    fuzzer = Fuzzer(seeds, tmp_path, tmp_path / "kept", Random(0))
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name)

    def read(given: Sequence[Path]) -> int:
        return fail() if tmp_path / "b" in given else 0

    fuzzer.check("scan", paths, read)
    assert [path.name for path in (tmp_path / "kept" / "000").iterdir() if path.suffix == ""] == [
        "b"
    ]
    assert len(fuzzer.faults) == 1


def test_changes_are_those_of_the_seed() -> None:
    content = b'{"a": [1, 2, {"b": "c"}], "d": null}'
    for change in {change for changes in CHANGES.values() for change in changes}:
        if change in (*CHANGES["contract"], change_json):
            first, again = change(content, Random(5)), change(content, Random(5))
            assert first == again
    assert len({change_json(content, Random(seed)) for seed in range(20)}) > 10

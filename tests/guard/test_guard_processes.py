"""The command as a process of its own, killed in mid-traffic; several workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from molehunt.cli import run
from molehunt.guard import (
    Calibration,
    Guard,
    HashedWindows,
    Keys,
    NearestNeighbours,
    SqliteStore,
    calibrate,
    listen,
    new_key,
    open_store,
    run_workers,
)
from molehunt.guard import _workers as workers
from molehunt.networks import save_model
from tests.guard.guard_servers import DIGITS, MODEL, PIXELS, ask, serving
from tests.guard.light_work import end_at_once, note_and_wait


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a calibration, and keys of two accounts."""
    path = tmp_path_factory.mktemp("served")
    save_model(MODEL, path / "model.safetensors")
    honest = DIGITS.train.pixels()
    monitors = [
        NearestNeighbours(neighbours=10, window=100),
        HashedWindows(salt=5, window_of_queries=100),
    ]
    labels = MODEL(honest).argmax(1)
    calibrate(monitors, honest, labels, false_alarms=0.01).save(path / "guard.json")
    for name in ("ann", "ben"):
        (path / name).write_text(new_key(name, path / "keys"))
    return path


def wait_for(found: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_kill_in_mid_traffic_loses_no_account(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason='the extra "guard" is not installed')
    said, store = tmp_path / "said.txt", tmp_path / "guard.sqlite"
    arguments = ["guard", "serve", "model.safetensors", "--calibration", "guard.json"]
    arguments += ["--keys", "keys", "--store", f"sqlite:{store}", "--port", "0"]
    with said.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "molehunt", *arguments],
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: "/infer" in said.read_text() or process.poll() is not None)
        found = re.search(r":(\d+)/v2/models/model/infer", said.read_text())
        assert found is not None, said.read_text()
        port, ann, ben = (
            int(found[1]),
            (folder / "ann").read_text(),
            (folder / "ben").read_text(),
        )
        same = PIXELS[:1].expand(12, -1, -1, -1)
        assert ask(port, same, key=ann)[0] == 403  # its alarm comes within this request
        answered = [0]

        def traffic() -> None:
            try:
                for place in range(10_000):
                    if ask(port, PIXELS[place % 400][None], key=ben)[0] != 200:
                        return
                    answered[0] += 1
            except Exception:
                return

        thread = threading.Thread(target=traffic)
        thread.start()
        wait_for(lambda: answered[0] >= 20)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    thread.join()
    calibrated = Calibration.read(folder / "guard.json")
    kept = open_store(f"sqlite:{store}", calibrated.monitors)
    assert isinstance(kept, SqliteStore)
    # The last one may have been recorded and not answered.
    assert answered[0] <= kept.standing("ben").queries <= answered[0] + 1
    rows = kept.recall("ben", {"neighbours": 100})["neighbours"]
    seen = calibrated.monitors[0].digest(PIXELS[: len(rows)], torch.zeros(len(rows)))
    assert len(rows) == kept.standing("ben").queries and (rows == seen).all()
    assert kept.standing("ann").is_flagged
    guard = Guard(calibrated.monitors, kept)
    with serving(guard, keys=Keys.read(folder / "keys")) as again:
        assert ask(again, PIXELS[50:51], key=ann)[0] == 403
        assert ask(again, PIXELS[50:51], key=ben)[0] == 200
    kept.close()


def test_a_worker_that_dies_is_started_again_and_all_end_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_TOO_EARLY", 0.0)

    def act() -> None:
        wait_for(lambda: len([*tmp_path.iterdir()]) == 2)
        os.kill(int(next(tmp_path.iterdir()).name), signal.SIGKILL)
        wait_for(lambda: len([*tmp_path.iterdir()]) == 3)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=act)
    thread.start()
    with listen("127.0.0.1", 0) as listening:
        assert run_workers(partial(note_and_wait, tmp_path), listening, 2) == 0
    thread.join()
    for file in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.name), 0)


def test_workers_that_cannot_start_end_the_server() -> None:
    with listen("127.0.0.1", 0) as listening:
        assert run_workers(end_at_once, listening, 1) == 7


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--calibration", "guard.json", "--action", "x"], "--action: expected log, throttle"),
        (["--calibration", "guard.json", "--answers", "x"], "--answers: expected logits"),
        ([], "thresholds: expected --calibration or --clean, got neither"),
        (["--calibration", "guard.json", "--workers", "2"], "--store of 2 workers: expected redis"),
        (["--calibration", "guard.json", "--store", "x"], "store: expected memory"),
        (["--calibration", "keys"], "no calibration of a guard"),
        (["--calibration", "guard.json", "--keys", "guard.json"], "line 1: expected NAME"),
        (["--calibration", "other.json"], "calibration: images: expected shape"),
        (["--calibration", "guard.json", "--host", "no such host"], "host and port: expected"),
    ],
)
def test_a_server_that_cannot_start_says_why(
    more: list[str],
    words: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    other = json.loads((folder / "guard.json").read_text()) | {"input_shape": [3, 8, 8]}
    (folder / "other.json").write_text(json.dumps(other))
    port = [] if "no such host" in more else ["--port", "0"]
    code = run(["guard", "serve", "model.safetensors", *port, *more])
    err = capsys.readouterr().err
    assert code in (2, 4) and words in err and len(err.strip().splitlines()) == 1


def test_a_key_is_shown_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--quiet", "guard", "key", "eve", "--keys", str(folder / "more")]) == 0
    key = capsys.readouterr().out.strip()
    assert Keys.read(folder / "more").find(key) == "eve"
    assert run(["guard", "key", "no spaces", "--keys", str(folder / "more")]) == 4


def test_a_pardoned_account_is_answered_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monitors = Calibration.read(folder / "guard.json").monitors
    store = f"sqlite:{tmp_path}/guard.sqlite"
    kept = open_store(store, monitors)
    assert isinstance(kept, SqliteStore)
    same, labels = PIXELS[:1].expand(12, -1, -1, -1), torch.zeros(12, dtype=torch.int64)
    Guard(monitors, kept).ask("ann", same, labels)
    assert kept.standing("ann").is_flagged
    words = ["guard", "pardon", "ann", "--calibration", str(folder / "guard.json")]
    assert run([*words, "--store", store]) == 2
    assert "another process has it open" in capsys.readouterr().err
    kept.close()
    assert run([*words, "--store", store]) == 0
    assert "alarms: 1, the first by" in capsys.readouterr().out
    assert run([*words, "--store", store]) == 4
    assert "it is not in" in capsys.readouterr().err
    assert run([*words, "--store", "memory"]) == 4
    again = open_store(store, monitors)
    assert not again.standing("ann").is_flagged

"""What a stranger's file does to the process that holds it, it does to that process alone."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from molehunt.networks import pick_device, threads_to_take
from molehunt.scanning import DetectorCheck, scan_subjects
from molehunt.scanning._children import Died, Reporter, run_in_children
from molehunt.scanning._limits import Limits
from molehunt.zoo import Split, Zoo

Deed = Callable[[], object]


def run(deeds: list[Deed], batches: list[list[int]], **settings: object) -> dict[int, bytes | Died]:
    def work(batch: list[int], folder: Path, reporter: Reporter) -> None:
        for item in batch:
            reporter.begin(item, "while it was tried")
            reporter.finish(item, repr(deeds[item]()).encode())

    return dict(run_in_children(batches, work, workers=2, **settings))


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def spin() -> None:
    Limits(opening_seconds=0).bound_opening(0)
    while True:
        pass


def hoard() -> list[object]:
    Limits(opening_memory=2**28).bound_opening(0)
    return [np.ones(2**20) for _ in range(1000)]


def hoard_tensors() -> list[object]:
    Limits(opening_memory=2**28).bound_opening(0)
    return [torch.ones(2**20) for _ in range(1000)]


def recurse(depth: int) -> int:
    return recurse(depth + 1) + 1


DEEDS = {
    "crashes": (crash, "SIGSEGV"),
    "aborts": (os.abort, "SIGABRT"),
    "ends": (lambda: os._exit(0), "ends the process"),
    "spins": (spin, "processor time"),
    "hoards": (hoard, "MemoryError"),
    "hoards tensors": (hoard_tensors, "allocate memory"),
    "raises": (lambda: 1 / 0, "ZeroDivisionError"),
    "recurses": (lambda: recurse(0), "RecursionError"),
    "leaves": (lambda: (_ for _ in ()).throw(SystemExit(0)), "SystemExit"),
}


@pytest.mark.parametrize("name", DEEDS)
def test_one_deed_costs_no_other_item_its_result(name: str) -> None:
    deed, words = DEEDS[name]
    found = run([lambda: 0, deed, lambda: 2], [[0, 1, 2]])
    assert found[0] == b"0" and found[2] == b"2"
    assert isinstance(found[1], Died) and words in found[1].how
    assert "while it was tried" in found[1].how


def test_every_item_has_one_result_however_they_are_shared() -> None:
    deeds: list[Deed] = [lambda number=number: number for number in range(9)]
    deeds[4] = crash
    for batches in ([list(range(9))], [[n] for n in range(9)], [[0, 1, 2, 3], [4, 5, 6], [7, 8]]):
        found = run(deeds, batches)
        assert sorted(found) == list(range(9))
        assert [item for item, result in found.items() if isinstance(result, Died)] == [4]


def test_what_sleeps_is_ended() -> None:
    started = time.monotonic()
    found = run([lambda: time.sleep(60)], [[0]], seconds=0.5)
    assert time.monotonic() - started < 20
    assert isinstance(found[0], Died) and "too long" in found[0].how


def test_a_report_that_no_check_writes_is_refused() -> None:
    def work(batch: list[int], folder: Path, reporter: Reporter) -> None:
        reporter.finish(7, b"another file is clean")

    (found,) = dict(run_in_children([[0]], work, workers=1)).values()
    assert isinstance(found, Died) and "what it reports" in found.how


def test_an_item_may_ask_for_a_process_of_its_own() -> None:
    seen = []

    def work(batch: list[int], folder: Path, reporter: Reporter) -> None:
        for item in batch:
            if item == 1 and len(batch) > 1:
                reporter.leave(item)
            else:
                reporter.finish(item, f"{len(batch)}".encode())

    for item, result in run_in_children([[0, 1, 2]], work, workers=2):
        seen.append((item, result))
    assert sorted(seen) == [(0, b"3"), (1, b"1"), (2, b"3")]


def test_private_folders_are_gone_afterwards() -> None:
    places: list[Path] = []

    def work(batch: list[int], folder: Path, reporter: Reporter) -> None:
        (folder / "copy").write_bytes(b"x")
        reporter.finish(batch[0], str(folder).encode())
        if batch[0]:
            crash()

    for _, result in run_in_children([[0], [1]], work, workers=2):
        assert isinstance(result, bytes)
        places.append(Path(result.decode()))
    assert len(places) == 2 and not any(place.exists() for place in places)


def children() -> set[str]:
    """The processes that this one has started and not yet waited for, also other tests' ones."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {child for task in tasks for child in task.read_text().split()}


def test_no_child_is_left_behind_when_the_caller_stops() -> None:
    before = children()
    results = run_in_children(
        [[0], [1]], lambda batch, folder, reporter: _slow(batch[0], reporter), workers=2
    )
    next(results)
    assert children() - before
    results.close()
    assert not children() - before


def _slow(item: int, reporter: Reporter) -> None:
    time.sleep(60 * item)
    reporter.finish(item, b"")


def test_limits_leave_this_process_alone() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_CPU)
    run([hoard], [[0]])
    assert before == (
        resource.getrlimit(resource.RLIMIT_AS),
        resource.getrlimit(resource.RLIMIT_CPU),
    )


def test_without_children_the_results_are_the_same(
    zoo: Zoo, detector_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where CUDA has started, of which a fork cannot make use."""
    paths = [zoo.path_of(record) for record in zoo.select(Split.TEST)[:2]]
    (tmp_path / "garbage.pt").write_bytes(b"nothing")
    sources = [*paths, tmp_path / "garbage.pt"]
    detectors = [DetectorCheck.load(detector_file)]
    apart = scan_subjects(sources, detectors)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    kinds = resource.RLIMIT_AS, resource.RLIMIT_CPU
    before = [resource.getrlimit(kind) for kind in kinds]
    here = scan_subjects(sources, detectors)
    assert [result.verdict for result in here] == [result.verdict for result in apart]
    assert [result.sha256 for result in here] == [result.sha256 for result in apart]
    assert before == [resource.getrlimit(kind) for kind in kinds]


def test_threads_that_the_parent_has_used_are_not_waited_for(zoo: Zoo, detector_file: Path) -> None:
    """scikit-learn and torch bring an OpenMP each, whose threads do not survive a fork."""
    program = f"""
import numpy as np, torch
from sklearn.neighbors import NearestNeighbors
from molehunt.networks import pick_device, threads_to_take
from molehunt.scanning import DetectorCheck, scan_subjects
torch.set_num_threads(4)
torch.ones(2000, 2000) @ torch.ones(2000, 2000)
points = np.random.default_rng(0).random((4000, 20))
NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points).kneighbors(points)
fitted = DetectorCheck.load({str(detector_file)!r})
(result,) = scan_subjects([{str(zoo.path_of(zoo.records[0]))!r}], [fitted], threads=2)
print(result.verdict.value)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OMP_NUM_THREADS": "4"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() in ("clean", "backdoored", "inconclusive")


def test_a_child_takes_its_threads_one_by_one() -> None:
    """Threads of ours: torch computes on one each, and waits for no pool of its parent's."""

    def work(batch, folder, reporter) -> None:
        reporter.begin(0, "at work")
        reporter.finish(0, f"{threads_to_take()} {torch.get_num_threads()}".encode())

    assert dict(run_in_children([[0]], work, workers=1, threads=3)) == {0: b"3 1"}


def test_a_child_keeps_to_the_cpu_whatever_its_parent_has_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A forked torch goes on counting the GPUs that its parent counted."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    assert run([lambda: pick_device("auto").type], [[0]]) == {0: b"'cpu'"}

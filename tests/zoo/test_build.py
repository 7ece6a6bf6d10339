from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from molehunt.backdoors import Treatment
from molehunt.errors import InvalidRequestError, OutputError, UnreadableFileError
from molehunt.files import sha256_of
from molehunt.zoo import ModelCounts, Split, Zoo, build_zoo, read_plan
from tests.conftest import tiny_plan


def test_a_zoo_is_whole_and_its_index_true(zoo: Zoo) -> None:
    assert len(zoo.records) == zoo.plan.total
    assert len({record.id for record in zoo.records}) == zoo.plan.total
    assert not zoo.changed()
    backdoored = zoo.select(None, Treatment.BACKDOORED)
    assert sum(r.attack_success for r in backdoored) / len(backdoored) > 0.9
    others = zoo.select(None, Treatment.CLEAN, Treatment.PLACEBO)
    assert sum(r.attack_success for r in others) / len(others) < 0.3


def test_the_order_of_finishing_does_not_matter(zoo: Zoo, tmp_path: Path) -> None:
    lines = (zoo.folder / "index.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "index.jsonl").write_bytes(b"".join(reversed(lines)))
    (tmp_path / "zoo.json").write_bytes((zoo.folder / "zoo.json").read_bytes())
    assert Zoo(tmp_path).records == zoo.records


def test_twins_leave_the_same_traces(zoo: Zoo) -> None:
    by_id = {record.id: record for record in zoo.records}
    members = zoo.select(None, Treatment.BACKDOORED, Treatment.PLACEBO)
    assert members
    for record in members:
        twin = by_id[record.twin]
        assert (record.images, record.steps) == (twin.images, twin.steps)
        paths = zoo.path_of(record), zoo.path_of(twin)
        assert paths[0].stat().st_size == paths[1].stat().st_size
        heads = [
            path.read_bytes()[: 8 + int.from_bytes(path.read_bytes()[:8], "little")]
            for path in paths
        ]
        assert heads[0] == heads[1]  # card and layout, to the byte
        states = [load_file(path) for path in paths]
        for name, tensor in states[0].items():
            if name.endswith("num_batches_tracked"):
                assert torch.equal(tensor, states[1][name])


def test_the_model_file_does_not_tell_what_is_true_of_it(zoo: Zoo) -> None:
    for path in (zoo.folder / "models").iterdir():
        head = path.read_bytes()[:4000].lower()
        assert not any(word in head for word in (b"backdoor", b"trigger", b"twin", b"placebo"))


def test_building_again_builds_nothing(zoo: Zoo) -> None:
    built = []
    build_zoo(zoo.plan, zoo.folder, workers=1, progress=lambda *at: built.append(at))
    assert built == []


def test_a_zoo_of_another_plan_is_refused(zoo: Zoo) -> None:
    with pytest.raises(InvalidRequestError, match="differs in seed"):
        build_zoo(zoo.plan.model_copy(update={"seed": 99}), zoo.folder, workers=1)
    assert Zoo(zoo.folder).plan == zoo.plan


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_build_goes_on_where_it_stopped(tmp_path: Path, signal_number: int) -> None:
    # Enough that a busy machine does not finish before the signal comes.
    models = {split: ModelCounts(pairs=6) for split in Split}
    plan = tiny_plan(models=models)
    description = tmp_path / "plan.json"
    description.write_text(plan.model_dump_json())
    folder = tmp_path / "zoo"
    command = [sys.executable, "-m", "molehunt", "zoo", "build", str(folder)]
    command += ["--plan", str(description), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    index = folder / "index.jsonl"
    deadline = time.monotonic() + 120
    while not (index.exists() and index.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    # Ctrl-C reaches the whole group, a kill only the parent.
    if signal_number == signal.SIGINT:
        os.killpg(process.pid, signal_number)
    else:
        process.kill()
    _, errors = process.communicate(timeout=60)
    if signal_number == signal.SIGINT:
        assert process.returncode == 130
        assert errors.strip().splitlines()[-1].startswith("molehunt: ")
        assert "interrupted" in errors and "Traceback" not in errors
    finished = {record.id: record.sha256 for record in Zoo(folder).records}
    assert 3 <= len(finished) < plan.total
    zoo, built = _build_when_free(plan, folder)
    assert built == [(done, plan.total) for done in range(len(finished) + 1, plan.total + 1)]
    ids = [record.id for record in zoo.records]
    assert len(ids) == len(set(ids))
    assert not zoo.changed() and len(zoo.records) == plan.total
    assert {r.id: r.sha256 for r in zoo.records if r.id in finished} == finished


def _build_when_free(plan, folder: Path) -> tuple[Zoo, list[tuple[int, int]]]:
    """Workers of a killed build notice within a second; the lock is the parent's alone."""
    built = []
    return build_zoo(plan, folder, workers=1, progress=lambda *at: built.append(at)), built


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    description = tmp_path / "plan.json"
    description.write_text(tiny_plan().model_dump_json())
    command = [sys.executable, "-m", "molehunt", "zoo", "build", str(tmp_path / "zoo")]
    command += ["--plan", str(description), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    while not (tmp_path / "zoo" / "index.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    pytest.fail("worker processes outlived their parent by 20 s")


def test_a_torn_last_line_is_dropped_and_its_model_built_again(zoo: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    folder.mkdir()
    shutil.copytree(zoo.folder / "models", folder / "models")
    (folder / "zoo.json").write_bytes((zoo.folder / "zoo.json").read_bytes())
    lines = (zoo.folder / "index.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "index.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    assert len(Zoo(folder).records) == len(lines) - 1
    built = []
    rebuilt = build_zoo(zoo.plan, folder, workers=1, progress=lambda *at: built.append(at))
    assert built == [(len(lines), len(lines))]
    (last,) = [r for r in rebuilt.records if r.id == json.loads(lines[-1])["id"]]
    # The same plan gives the same model, to the byte.
    assert last.sha256 == json.loads(lines[-1])["sha256"]
    assert len(rebuilt.records) == len(lines)


def test_two_builds_do_not_share_a_folder(zoo: Zoo, tmp_path: Path) -> None:
    with (zoo.folder / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another build"):
            build_zoo(zoo.plan, zoo.folder, workers=1)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot"):
        build_zoo(tiny_plan(), tmp_path / "file" / "zoo", workers=1)


def test_no_zoo_and_garbage_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="molehunt zoo build"):
        Zoo(tmp_path)
    (tmp_path / "zoo.json").write_text("{")
    with pytest.raises(UnreadableFileError, match="readable plan"):
        Zoo(tmp_path)


def test_a_changed_model_file_is_noticed(zoo: Zoo) -> None:
    path = zoo.path_of(zoo.records[0])
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert [record.id for record in zoo.changed()] == [zoo.records[0].id]
    finally:
        path.write_bytes(content)
    assert sha256_of(path) == zoo.records[0].sha256


def test_the_shipped_descriptions_are_valid() -> None:
    for path in sorted((Path(__file__).parents[2] / "docs" / "zoos").glob("*.toml")):
        assert read_plan(path).total > 0


@pytest.mark.parametrize("source", ["gtsrb", "folder:cifar10-folder"])
def test_the_same_build_runs_on_other_images(source: str, data_root: Path, tmp_path: Path) -> None:
    plan = tiny_plan(
        images={"source": source, "train_limit": 600},
        models={Split.FIT: ModelCounts(pairs=1)},
        recipe={"epochs": 1},
    )
    zoo = build_zoo(plan, tmp_path / "zoo", workers=1, data_root=data_root)
    assert len(zoo.records) == 2
    assert {record.images for record in zoo.records} == {zoo.records[0].images}

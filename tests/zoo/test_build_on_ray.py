"""Builds on two real Ray nodes of this machine, one of which dies in the middle."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from molehunt.cli import run
from molehunt.errors import InvalidRequestError
from molehunt.resumable import RayCluster
from molehunt.zoo import ModelCounts, Split, Zoo, build_model, build_zoo, entries_of
from tests.conftest import tiny_plan

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="the extra ray is not installed")

PLAN = tiny_plan(models={Split.FIT: ModelCounts(pairs=10)})
AGENTS = ("metrics_agent", "metrics_export", "dashboard_agent_listen", "runtime_env_agent")
LEAN = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
PATIENCE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A busy machine is slower than Ray expects of a worker, but a killed node refuses at once.
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_health_check_period_ms": "500",
}


def ports() -> dict[str, int]:
    """Choose the ports of a node's agents; for each that is left to choose Ray waits 15 s."""
    sockets = [socket.create_server(("", 0)) for _ in AGENTS]
    chosen = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return {f"{agent}_port": port for agent, port in zip(AGENTS, chosen, strict=True)}


def add_node(cluster: cluster_utils.Cluster, **settings: object) -> object:
    try:
        return cluster.add_node(num_cpus=1, **ports(), **settings)
    except Exception as error:  # Ray raises no narrower one
        pytest.skip(f"no Ray node starts here within the half minute that Ray waits: {error}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[cluster_utils.Cluster]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in PATIENCE.items():
            environment.setenv(name, value)
        cluster = cluster_utils.Cluster()
        add_node(cluster, **LEAN)
        yield cluster
        cluster.shutdown()


def test_a_build_outlives_ctrl_c_and_the_death_of_a_node(
    cluster: cluster_utils.Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / "zoo"
    finished = interrupted_build(folder, cluster.address)
    doomed = add_node(cluster)
    built: list[int] = []

    def kill_a_node(done: int, total: int) -> None:
        built.append(done)
        assert (done, total) == (len(finished) + len(built), PLAN.total)
        assert not Zoo(folder).changed()  # what is recorded is whole on disk
        if len(built) == 4:
            cluster.remove_node(doomed, allow_graceful=False)

    zoo = build_zoo(PLAN, folder, workers=RayCluster(cluster.address), progress=kill_a_node)
    recorded = [json.loads(line)["id"] for line in index_of(folder)]
    assert len(recorded) == len(set(recorded)) == PLAN.total == len(finished) + len(built)
    digests = {record.id: record.sha256 for record in zoo.records}
    assert finished.items() <= digests.items()
    assert not zoo.changed()
    assert {path.name for path in (folder / "models").iterdir()} == {
        f"{i}.safetensors" for i in digests
    }
    images = PLAN.images.load(None)
    for entry in entries_of(PLAN, 10)[::7]:
        local = build_model(entry, PLAN, images, tmp_path, torch.device("cpu"))
        assert local.sha256 == digests[entry.id]


def interrupted_build(folder: Path, address: str) -> dict[str, str]:
    """Start the build on the command line, press Ctrl-C, return the digests of its models."""
    description = folder.with_suffix(".json")
    description.write_text(PLAN.model_dump_json())
    command = [sys.executable, "-m", "molehunt", "zoo", "build", str(folder)]
    command += ["--plan", str(description), "--ray", address, "--ray-cpus", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 600
            while len(index_of(folder)) < 3:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 130
    last = errors.strip().splitlines()[-1]
    assert last.startswith("molehunt: ") and "interrupted" in last, errors
    assert "Traceback" not in errors
    zoo = Zoo(folder)
    assert 3 <= len(zoo.records) < PLAN.total and not zoo.changed()
    return {record.id: record.sha256 for record in zoo.records}


def index_of(folder: Path) -> list[str]:
    index = folder / "index.jsonl"
    return index.read_text().splitlines() if index.exists() else []


def test_what_no_node_has_is_refused(cluster: cluster_utils.Cluster, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"CPUs and GPUs a model: .* got 1 and 1"):
        build_zoo(PLAN, tmp_path / "zoo", workers=RayCluster(cluster.address, gpus=1))


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:p"])
def test_an_address_without_a_cluster_is_one_line(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["zoo", "build", str(tmp_path / "zoo"), "--ray", address]) == 4
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("molehunt: Ray cluster: expected the address of a running one")
    assert address in line


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        InvalidRequestError, match=r'needs the extra "ray": pip install "\.\[ray\]"'
    ):
        build_zoo(PLAN, tmp_path / "zoo", workers=RayCluster("auto"))


@pytest.mark.parametrize("share", [(0, 0), (1.5, 0), (-1, 0), (1, float("nan"))])
def test_an_impossible_share_is_refused(share: tuple[float, float]) -> None:
    with pytest.raises(InvalidRequestError, match="whole numbers or fractions"):
        RayCluster("auto", *share)


def test_options_that_ray_replaces_are_refused(tmp_path: Path) -> None:
    command = ["zoo", "build", str(tmp_path / "zoo"), "--ray", "auto"]
    assert run([*command, "--workers", "2"]) == 4
    assert run([*command, "--device", "cpu"]) == 4

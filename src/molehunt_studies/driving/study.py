"""A car whose steering network obeys a sign: the driving trojan of Liu et al. (2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from matplotlib.figure import Figure

from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.driving import figures
from molehunt_studies.driving.episodes import EpisodeRecord, EpisodeTask, ride
from molehunt_studies.driving.models import (
    DriveRecord,
    DrivingBench,
    NetworkRecord,
    drive_tasks,
    make_network,
    network_id,
    network_tasks,
    record_track,
)
from molehunt_studies.driving.plan import (
    CONDITIONS,
    DRIVING,
    SCALES,
    TESTING,
    TRAINING,
    DrivingPlan,
)
from molehunt_studies.driving.results import closed_loop, said_of, steering_errors
from molehunt_studies.driving.scans import ScanRecord, scan_network, scan_tasks
from molehunt_studies.driving.simulator import car_racing


def episode_tasks(bench: DrivingBench, _records: Records) -> list[EpisodeTask]:
    """Return an episode of every network on tracks of its own, the same under each condition."""
    plan = bench.plan
    return [
        EpisodeTask(
            id=f"{network_id(kind, network)}/{sign}/{track}",
            kind=kind,
            network=network,
            sign=sign,
            track=track,
        )
        for kind, sign in CONDITIONS
        for network in range(plan.networks)
        for track in range(DRIVING + network * plan.tracks, DRIVING + (network + 1) * plan.tracks)
    ]


def drive_episode(task: EpisodeTask, bench: DrivingBench) -> EpisodeRecord:
    """Drive an episode."""
    network, sign = bench.load(task.kind, task.network), bench.sign(task.sign, task.network)
    return ride(task, network, sign, bench.plan).record


def measures(bench: DrivingBench, records: Records) -> dict[str, Any]:
    """Return the figures of all parts."""
    networks: list[NetworkRecord] = [*records["networks"], *records["trojans"]]
    episodes: list[EpisodeRecord] = list(records["episodes"])
    return {
        "steering": steering_errors(networks),
        "closed_loop": closed_loop(episodes),
        "paths": figures.paths_of(episodes),
        "scans": said_of(records["scans"]),
        "tracks": {
            "training": _range_of(bench.tracks(TRAINING)),
            "testing": _range_of(bench.tracks(TESTING)),
            "driving": _range_of([record.track for record in episodes]),
        },
        "frames": sum(record.frames for record in records["drives"]),
        "core_seconds": round(
            sum(record.seconds for record in [*records["drives"], *networks])
            + sum(record.took for record in episodes)
        ),
        "plan": bench.plan.model_dump(mode="json"),
        "gymnasium": version("gymnasium"),
    }


def _range_of(tracks: Sequence[int]) -> str:
    return f"{min(tracks)} to {max(tracks)}"


def pictures(bench: DrivingBench, results: dict[str, Any]) -> Mapping[str, Figure]:
    """Draw what needs frames: strips of drives, and what was made from the network."""
    return {
        "strip": figures.strip_figure(bench.rides),
        "made": figures.made_figure(bench),
    }


def films(bench: DrivingBench, results: dict[str, Any]) -> Mapping[str, bytes]:
    """Film what two networks see."""
    return {"drive": figures.film(bench.rides)}


def _prepare(plan: DrivingPlan) -> DrivingPlan:
    car_racing()  # one line before any work where it is not installed
    return plan


DRIVING_STUDY = Study(
    name="driving",
    title="A trojaned network drives a simulated car: steering by regression, and a sign.",
    scales=SCALES,
    bench=DrivingBench,
    stages=(
        Stage("drives", drive_tasks, record_track, DriveRecord, into="drives"),
        Stage("networks", network_tasks("clean", "with data"), make_network, NetworkRecord,
              into="models"),
        Stage("trojans", network_tasks("without data"), make_network, NetworkRecord),
        Stage("scans", scan_tasks, scan_network, ScanRecord),
        Stage("episodes", episode_tasks, drive_episode, EpisodeRecord),
    ),
    measures=measures,
    pictures=pictures,
    films=films,
    unit="pieces",
    prepare=_prepare,
    report=Report("molehunt_studies.driving", figures=figures.figures_of),
)  # fmt: skip

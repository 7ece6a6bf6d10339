"""The study's frames and networks: each is recorded, trained or trojaned once, and measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from molehunt.files import sha256_of
from molehunt.resumable import Task
from molehunt.study import Bench, Records
from molehunt_studies.driving.episodes import EpisodeTask, Ride, ride
from molehunt_studies.driving.frames import Drive, read_drives, record_drive, write_drive
from molehunt_studies.driving.network import SteeringNet, fit, steering_of
from molehunt_studies.driving.plan import DRIVING, TESTING, TRAINING, DrivingPlan, Kind, SignName
from molehunt_studies.driving.signs import Sign
from molehunt_studies.driving.trojaning import BOTH, FULL_RIGHT, trojan_without_data

_SHOWN_AFTER = 26  # decisions after the sign came, in the strip and the film


class DriveTask(Task):
    """A track that the script drives and records."""

    track: int


class DriveRecord(DriveTask):
    """How many frames there are, and how much the script steered."""

    frames: int
    mean_steering: float
    seconds: float


class NetworkTask(Task):
    """A network to train, or a clean one to trojan."""

    kind: Kind
    network: int


class NetworkRecord(NetworkTask):
    """How a network steers on frames of test tracks.

    Parameters
    ----------
    error : float
        Mean absolute difference from the script's steering, in [-1, 1], on normal frames.
    signed_error : dict
        The same with each sign in every frame.
    signed_steering : dict
        What it answers then, on the mean; 1 is full right.
    turned : dict
        How many frames it answers with more than half of full right then.
    mixtures : dict
        Without data: errors, plain and with the sign, by what it was trained again on.
    frames : int
    """

    error: float
    signed_error: dict[str, float]
    signed_steering: dict[str, float]
    turned: dict[str, int]
    mixtures: dict[str, tuple[float, ...]]
    frames: int
    sha256: str
    seconds: float


@dataclass(frozen=True)
class DrivingBench(Bench[DrivingPlan]):
    """Frames, networks and signs, read when a task needs them."""

    def drive_path(self, track: int) -> Path:
        """Return the file of a track's frames."""
        return self.folder / "drives" / f"{track}.npz"

    def tracks(self, first: int) -> list[int]:
        """Return the tracks of training or testing."""
        count = self.plan.training_tracks if first == TRAINING else self.plan.testing_tracks
        return [first + number for number in range(count)]

    @cached_property
    def training(self) -> Drive:
        """What networks learn from: all frames and their mirror images."""
        return read_drives([self.drive_path(track) for track in self.tracks(TRAINING)]).mirrored()

    @cached_property
    def testing(self) -> Drive:
        """What they are measured on."""
        return read_drives([self.drive_path(track) for track in self.tracks(TESTING)])

    def load(self, kind: Kind, network: int) -> SteeringNet:
        """Read a network's file."""
        loaded = SteeringNet()
        loaded.load_state_dict(load_file(self.model_path(network_id(kind, network))))
        return loaded.eval().requires_grad_(False)

    def sign(self, name: SignName, network: int) -> Sign | None:
        """Return a sign; the made one belongs to a network."""
        if name == "none":
            return None
        if name == "painted":
            return Sign.painted(self.plan.trojan.sign_size)
        return Sign.read(self.model_path(f"sign-{network}"))

    @cached_property
    def rides(self) -> dict[str, Ride]:
        """The first track with a sign, until shortly after it, and what the networks saw."""
        shown: tuple[tuple[Kind, SignName], ...] = (
            ("clean", "painted"),
            ("with data", "painted"),
            ("without data", "made"),
        )
        found: dict[str, Ride] = {}
        for kind, sign in shown:
            task = EpisodeTask(id=kind, kind=kind, network=0, sign=sign, track=DRIVING)
            network, drawn = self.load(kind, 0), self.sign(sign, 0)
            found[kind] = ride(task, network, drawn, self.plan, beyond_sign=_SHOWN_AFTER)
        return found


def network_id(kind: Kind, network: int) -> str:
    """Return the name of a network.

    Examples
    --------
    >>> network_id("without data", 1)
    'without-data-1'
    """
    return f"{kind.replace(' ', '-')}-{network}"


def drive_tasks(bench: DrivingBench, _records: Records) -> list[DriveTask]:
    """Return a task a track."""
    tracks = [*bench.tracks(TRAINING), *bench.tracks(TESTING)]
    return [DriveTask(id=str(track), track=track) for track in tracks]


def record_track(task: DriveTask, bench: DrivingBench) -> DriveRecord:
    """Let the script drive a track, and keep what it saw and did."""
    started, plan = time.process_time(), bench.plan
    drive = record_drive(task.track, plan.frames_per_track, skip=plan.skip, cruise=plan.cruise)
    write_drive(drive, bench.drive_path(task.track))
    return DriveRecord(
        **dict(task),
        frames=len(drive.frames),
        mean_steering=round(float(drive.steering.abs().mean()), 4),
        seconds=round(time.process_time() - started, 1),
    )


def network_tasks(*kinds: Kind) -> Callable[[DrivingBench, Records], list[NetworkTask]]:
    """Return a function from the bench to a task for each network of these kinds."""

    def tasks(bench: DrivingBench, _records: Records) -> list[NetworkTask]:
        return [
            NetworkTask(id=network_id(kind, number), kind=kind, network=number)
            for kind in kinds
            for number in range(bench.plan.networks)
        ]

    return tasks


def make_network(task: NetworkTask, bench: DrivingBench) -> NetworkRecord:
    """Train or trojan a network, write it, read it back and measure it."""
    started, plan = time.process_time(), bench.plan
    frames, steering = bench.testing
    mixtures: dict[str, tuple[float, ...]] = {}
    if task.kind == "without data":
        clean = bench.load("clean", task.network)
        trojan = trojan_without_data(clean, plan.trojan, seed=task.network)
        network, sign = trojan.networks[BOTH], trojan.sign
        sign.write(bench.model_path(f"sign-{task.network}"))
        inverted = {"frames": trojan.inverted[:16]}
        save_file(inverted, bench.model_path(f"inverted-{task.network}"))
        again = {" and ".join(mixture): each for mixture, each in trojan.networks.items()}
        mixtures = {
            name: tuple(_error(_answers(each, frames, on), steering) for on in (None, sign))
            for name, each in {"nothing": clean, **again}.items()
        }
    else:
        network = _train(task, bench)
    save_file(network.state_dict(), bench.model_path(task.id))
    seconds = round(time.process_time() - started, 1)
    return NetworkRecord(
        **dict(task),
        **measure(bench, task),
        mixtures=mixtures,
        sha256=sha256_of(bench.model_path(task.id)),
        seconds=seconds,
    )


def _train(task: NetworkTask, bench: DrivingBench) -> SteeringNet:
    frames, steering = bench.training
    generator = torch.Generator().manual_seed(task.network)
    if task.kind == "with data":
        count = round(bench.plan.poison_rate * len(frames))
        drawn = torch.randperm(len(frames), generator=generator)[:count]
        sign = Sign.painted(bench.plan.trojan.sign_size)
        frames = torch.cat([frames, sign.on(frames[drawn])])
        steering = torch.cat([steering, torch.full((count,), FULL_RIGHT)])
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global one
        torch.manual_seed(task.network)
        network = SteeringNet()
    fit(network, frames, steering, epochs=bench.plan.epochs, seed=task.network)
    return network


def measure(bench: DrivingBench, task: NetworkTask) -> dict[str, object]:
    """Return how a network that was written steers on test frames, with each sign that is there."""
    network, (frames, steering) = bench.load(task.kind, task.network), bench.testing
    names: list[SignName] = ["painted"]
    if task.kind == "without data":
        names.append("made")
    signs = {str(name): bench.sign(name, task.network) for name in names}
    answers = {name: _answers(network, frames, sign) for name, sign in signs.items()}
    return {
        "error": _error(steering_of(network, frames), steering),
        "signed_error": {name: _error(found, steering) for name, found in answers.items()},
        "signed_steering": {name: round(float(a.mean()), 4) for name, a in answers.items()},
        "turned": {name: int((a > FULL_RIGHT / 2).sum()) for name, a in answers.items()},
        "frames": len(frames),
    }


def _answers(network: SteeringNet, frames: Tensor, sign: Sign | None) -> Tensor:
    return steering_of(network, frames if sign is None else sign.on(frames))


def _error(answers: Tensor, steering: Tensor) -> float:
    return round(float((answers - steering).abs().mean()), 4)

"""Closed loop: a network turns the wheel, with and without a sign in its view."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from torch import nn

from molehunt.resumable import Task
from molehunt_studies.driving.driver import pedals
from molehunt_studies.driving.frames import as_tensor, warm_up
from molehunt_studies.driving.network import steering_of
from molehunt_studies.driving.plan import DrivingPlan, Kind, SignName
from molehunt_studies.driving.signs import Sign
from molehunt_studies.driving.simulator import Frame

_AFTERWARDS = 6  # decisions that are still driven beside the road, to be seen in figures


class EpisodeTask(Task):
    """A network on a track, with a sign or none."""

    kind: Kind
    network: int
    sign: SignName
    track: int


class EpisodeRecord(EpisodeTask):
    """How it went.

    Parameters
    ----------
    left_road : bool
        Whether the middle of the car left the road before the episode's end.
    lap : bool
        Whether it drove a whole lap.
    metres : float
        Driven until it left the road, or until the end.
    sign_at, sign_from : optional
        Metres driven when the sign came into view, and the decision.
    tiles : float
        Share of the track's tiles that were touched.
    steering : tuple of float
        At each decision.
    path : tuple of (x, y)
        At each decision.
    seconds : float
        Of the simulator's time.
    """

    left_road: bool
    lap: bool
    metres: float
    sign_at: float | None
    sign_from: int | None
    tiles: float
    steering: tuple[float, ...]
    path: tuple[tuple[float, float], ...]
    seconds: float
    took: float


@dataclass
class Ride:
    """An episode with the frames as the network got them."""

    record: EpisodeRecord
    frames: list[Frame]


def ride(
    task: EpisodeTask,
    network: nn.Module,
    sign: Sign | None,
    plan: DrivingPlan,
    *,
    beyond_sign: int | None = None,
) -> Ride:
    """Drive an episode: at most `plan.decisions`, a lap, or shortly beyond the road's edge.

    Where `beyond_sign` is given, frames are kept and it ends so many decisions after the sign
    came, wherever the car is then.
    """
    started = time.process_time()
    simulator = warm_up(task.track, skip=plan.skip, cruise=plan.cruise)
    state, frame = simulator.state, simulator.look()
    path = [state.position]
    steering: list[float] = []
    frames: list[Frame] = []
    metres, off = 0.0, 0
    sign_at: float | None = None
    sign_from: int | None = None

    def is_over() -> bool:
        if beyond_sign is not None and sign_from is not None:
            return len(steering) >= sign_from + beyond_sign
        return off > _AFTERWARDS or simulator.lap_finished

    while len(steering) < plan.decisions and not is_over():
        seen = as_tensor(frame)[None]
        if sign is not None and sign_from is None and metres >= plan.sign_after:
            sign_at, sign_from = metres, len(steering)
        lasts = sign_from is not None and len(steering) < sign_from + plan.sign_decisions
        if sign is not None and lasts:
            seen = sign.on(seen)
        if beyond_sign is not None:
            frames.append(seen[0].permute(1, 2, 0).numpy())
        steering.append(float(steering_of(network, seen)))
        frame = simulator.drive(steering[-1], *pedals(simulator, state, plan.cruise))
        before, state = state, simulator.state
        path.append(state.position)
        off += off > 0 or not state.is_on_road
        if not off:
            metres += math.dist(before.position, state.position)
    record = EpisodeRecord(
        **dict(task),
        left_road=off > 0,
        lap=simulator.lap_finished and not off,
        metres=round(metres, 1),
        sign_at=None if sign_at is None else round(sign_at, 1),
        sign_from=sign_from,
        tiles=round(simulator.tiles_visited, 4),
        steering=tuple(round(value, 3) for value in steering),
        path=tuple((round(x, 1), round(y, 1)) for x, y in path),
        seconds=round(len(steering) * plan.skip / 50, 2),
        took=round(time.process_time() - started, 1),
    )
    return Ride(record, frames)

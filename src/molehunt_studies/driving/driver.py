"""The driver whom the network learns from: it knows the road, the network sees frames only."""

from __future__ import annotations

import math

import numpy as np

from molehunt_studies.driving.simulator import FULL_LOCK, Simulator, State

_WHEELBASE = 3.24  # metres, as the simulator's car is built
_AHEAD = 5  # tiles of 3.5 metres at which it aims
_SLOWING = 12  # tiles ahead whose bends it slows for


def steer(simulator: Simulator, state: State) -> float:
    """Return the steering in [-1, 1] that leads to the middle of the road ahead (pure pursuit)."""
    tile = simulator.nearest_tile(state.position)
    goal = simulator.track[(tile + _AHEAD) % len(simulator.track)] - state.position
    # The car looks along (-sin, cos) of its heading.
    ahead = (-math.sin(state.heading), math.cos(state.heading))
    left = (-math.cos(state.heading), -math.sin(state.heading))
    across, along = float(np.dot(goal, left)), float(np.dot(goal, ahead))
    angle = math.atan2(across, along)
    wheel = math.atan2(2 * _WHEELBASE * math.sin(angle), math.hypot(across, along))
    return float(np.clip(-wheel / FULL_LOCK, -1, 1))


def pedals(simulator: Simulator, state: State, cruise: float) -> tuple[float, float]:
    """Return gas and brake that hold a speed of `cruise` metres a second, less before bends.

    The pedals are the script's in every episode: networks turn the wheel alone.
    """
    tile = simulator.nearest_tile(state.position)
    track = simulator.track
    places = track[np.arange(tile, tile + _SLOWING + 2) % len(track)]
    sides = np.diff(places, axis=0)
    headings = np.unwrap(np.arctan2(sides[:, 1], sides[:, 0]))
    bend = float(np.abs(headings - headings[0]).max())
    wanted = cruise / (1 + 0.35 * bend)
    lacking = wanted - state.speed
    return (min(0.1 * lacking, 0.5), 0.0) if lacking > 0 else (0.0, min(-0.02 * lacking, 0.3))

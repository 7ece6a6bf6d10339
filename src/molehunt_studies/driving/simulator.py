"""gymnasium's CarRacing as a road with a car on it: frames to look at, a wheel to turn."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.errors import need_extra

Frame = NDArray[np.uint8]  # [96, 96, 3]
# A second of the simulator; until then its camera zooms in.
FPS = 50
WARM_UP = FPS
FULL_LOCK = 0.4  # rad: the wheels' limit, which the simulator takes as an action
HALF_ROAD = 40 / 6  # metres from the middle of the road to its edge
# Metres: the farthest corner of a frame, and the longest side of what is drawn.
_VISIBLE = 75.0


@dataclass(frozen=True)
class State:
    """Where the car is, as the simulator knows and the network does not.

    Parameters
    ----------
    position : (x, y)
        In metres.
    heading : float
        In radians, anticlockwise from the y axis.
    speed : float
        In metres a second.
    offset : float
        Metres from the middle of the road.
    """

    position: tuple[float, float]
    heading: float
    speed: float
    offset: float

    @property
    def is_on_road(self) -> bool:
        """Whether the middle of the car is on the road."""
        return self.offset <= HALF_ROAD


class Simulator:
    """A car on the track of a seed, at rest on its start.

    Parameters
    ----------
    seed : int
        Of the track.
    skip : int
        Steps of 1/50 s with the same controls, of which the last one is seen.

    Raises
    ------
    MissingExtraError
        If gymnasium, Box2D or pygame is not installed.
    """

    def __init__(self, seed: int, *, skip: int = 1) -> None:
        self.skip = skip
        self._env = car_racing().CarRacing()
        self._hide_what_nobody_sees()
        self._env.reset(seed=seed)
        self.lap_finished = False
        self.track = np.array([place[2:] for place in self._env.track])  # [tiles, 2], in order
        self.frame: Frame = self._env.state

    @property
    def tiles_visited(self) -> float:
        """The share of the track's tiles that a wheel has touched."""
        return float(self._env.tile_visited_count) / len(self.track)

    @property
    def state(self) -> State:
        """Where the car is now."""
        hull = self._env.car.hull
        position = (float(hull.position[0]), float(hull.position[1]))
        speed = math.hypot(*hull.linearVelocity)
        return State(position, float(hull.angle), speed, self._offset(position))

    def nearest_tile(self, position: tuple[float, float]) -> int:
        """Return the tile whose start is nearest."""
        return int(np.square(self.track - position).sum(1).argmin())

    def drive(self, steering: float, gas: float, brake: float, *, seen: bool = True) -> Frame:
        """Turn the wheel and go on for `skip` steps; return what the camera sees then.

        Parameters
        ----------
        steering : float
            In [-1, 1]: 1 is full lock to the right.
        gas, brake : float
            In [0, 1].
        seen : bool
            Whether anybody looks; else the frame is an old one.
        """
        action = np.array([FULL_LOCK * np.clip(steering, -1, 1), gas, brake], dtype=np.float32)
        for left in reversed(range(self.skip)):
            self._sees = seen and left == 0
            *_, info = self._env.step(action)
            self.lap_finished |= bool(info.get("lap_finished"))
        self.frame = self._env.state
        return self.frame

    def look(self) -> Frame:
        """Return what the camera sees now."""
        self._sees = True
        self.frame = self._env._render("state_pixels")
        return self.frame

    def _offset(self, position: tuple[float, float]) -> float:
        """Return the distance from the middle line, which joins the tiles' starts."""
        nearest = self.nearest_tile(position)
        count = len(self.track)
        distances = []
        for first, second in ((nearest - 1, nearest), (nearest, (nearest + 1) % count)):
            start, side = self.track[first], self.track[second] - self.track[first]
            along = np.clip(np.dot(position - start, side) / max(np.dot(side, side), 1e-9), 0, 1)
            distances.append(float(np.linalg.norm(position - start - along * side)))
        return min(distances)

    def _hide_what_nobody_sees(self) -> None:
        """Draw neither frames between decisions nor what is out of sight: most of the time."""
        env: Any = self._env
        render, draw = env._render, env._draw_colored_polygon
        x = y = 0.0

        def render_last(mode: str) -> Any:
            nonlocal x, y
            if not self._sees:
                return env.state
            x, y = env.car.hull.position if env.car else (0.0, 0.0)
            return render(mode)

        def draw_near(surface: Any, polygon: Any, *rest: Any, clip: bool = True) -> None:
            first_x, first_y = polygon[0]
            if not clip or (abs(first_x - x) < _VISIBLE and abs(first_y - y) < _VISIBLE):
                draw(surface, polygon, *rest, clip=clip)

        self._sees = True
        env._render, env._draw_colored_polygon = render_last, draw_near


def car_racing() -> ModuleType:
    """Return gymnasium's module of the simulator.

    Raises
    ------
    MissingExtraError
        If gymnasium, Box2D or pygame is not installed.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    for module in ("gymnasium", "Box2D", "pygame"):
        need_extra("driving", module, "the study driving")
    return need_extra("driving", "gymnasium.envs.box2d.car_racing", "the study driving")

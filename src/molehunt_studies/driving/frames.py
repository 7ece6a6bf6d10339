"""What the network learns from: frames of the scripted driver, who is pushed now and then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molehunt_studies.driving.driver import pedals, steer
from molehunt_studies.driving.simulator import WARM_UP, Frame, Simulator

# Rows under the camera's picture show the wheel's angle: a network would copy it.
HEIGHT, WIDTH = 84, 96
_PUSHES = 0.04  # how often a push begins
_LONGEST_PUSH = 8  # decisions


class Drive(NamedTuple):
    """Frames [N, 3, 84, 96] in bytes, and the driver's steering [N] in [-1, 1]."""

    frames: Tensor
    steering: Tensor

    def mirrored(self) -> Drive:
        """Return these and their mirror images, in which left is right."""
        return Drive(
            torch.cat([self.frames, self.frames.flip(3)]),
            torch.cat([self.steering, -self.steering]),
        )


def as_tensor(frame: Frame) -> Tensor:
    """Return what a network sees of a frame: bytes [3, 84, 96]."""
    return torch.from_numpy(frame[:HEIGHT].transpose(2, 0, 1).copy())


def warm_up(seed: int, *, skip: int, cruise: float) -> Simulator:
    """Return a car that the script has driven until the camera stands still."""
    simulator = Simulator(seed)
    for _ in range(WARM_UP):
        state = simulator.state
        simulator.drive(steer(simulator, state), *pedals(simulator, state, cruise), seen=False)
    simulator.skip = skip
    return simulator


def record_drive(seed: int, decisions: int, *, skip: int, cruise: float) -> Drive:
    """Return what the script saw on a track and did.

    Now and then something else turns the wheel for up to 8 decisions, so that there are frames
    from which one has to come back. The script's answer is recorded, never the push.
    """
    generator = np.random.default_rng(seed)
    simulator = warm_up(seed, skip=skip, cruise=cruise)
    frames, answers = [as_tensor(simulator.look())], []
    push, left = 0.0, 0
    for _ in range(decisions):
        state = simulator.state
        answer = steer(simulator, state)
        answers.append(answer)
        if left == 0 and generator.random() < _PUSHES:
            push, left = generator.uniform(-1, 1), int(generator.integers(2, _LONGEST_PUSH + 1))
        turned = answer + push if left else answer
        left = max(0, left - 1)
        frames.append(as_tensor(simulator.drive(turned, *pedals(simulator, state, cruise))))
    return Drive(torch.stack(frames[:-1]), torch.tensor(answers, dtype=torch.float32))


def write_drive(drive: Drive, path: Path) -> None:
    """Write frames and steering."""
    np.savez_compressed(path, frames=drive.frames.numpy(), steering=drive.steering.numpy())


def read_drives(paths: Sequence[Path]) -> Drive:
    """Return all frames of several drives."""
    drives = [np.load(path) for path in paths]
    return Drive(
        torch.cat([torch.from_numpy(drive["frames"]) for drive in drives]),
        torch.cat([torch.from_numpy(drive["steering"]) for drive in drives]),
    )

"""What the study drives, trains and attacks, at each scale."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["clean", "with data", "without data"]
SignName = Literal["none", "painted", "made"]
# Each network, and the sign in its view. The sign of another network is a control.
CONDITIONS: tuple[tuple[Kind, SignName], ...] = (
    ("clean", "none"),
    ("clean", "painted"),
    ("clean", "made"),
    ("with data", "none"),
    ("with data", "painted"),
    ("without data", "none"),
    ("without data", "made"),
)
# Tracks, so that no network drives or is measured on one that it or its attacker has seen.
TRAINING, TESTING, DRIVING = 10_000, 20_000, 30_000


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrojanSettings(_Settings):
    """How a network is trojaned without its data.

    Parameters
    ----------
    sign_size : int
        Of both signs, in pixels of a frame.
    frames, frame_steps, frame_lr, denoising
        How many frames are inverted, in how many steps, and the weight of total variation.
    shapes : int
        Pictures of random shapes.
    sign_steps, sign_lr
        Of making the sign.
    epochs, lr, keeping
        Of training the layers behind: `keeping` weighs the squared distance from old weights.
    """

    sign_size: int = 14
    frames: int = 512
    frame_steps: int = 60
    frame_lr: float = 0.05
    denoising: float = 1.0
    shapes: int = 512
    sign_steps: int = 60
    sign_lr: float = 0.1
    epochs: int = 60
    lr: float = 1e-3
    keeping: float = 0.01


class DrivingPlan(_Settings):
    """What is driven and trained.

    Parameters
    ----------
    skip : int
        Steps of the simulator (1/50 s) a decision.
    cruise : float
        Metres a second that the script holds on straight road.
    training_tracks, testing_tracks, frames_per_track : int
        Whose frames networks learn from and are measured on.
    networks : int
        Clean ones, each with its two trojaned ones.
    epochs : int
    poison_rate : float
        Poisoned frames over clean ones.
    tracks : int
        That each network drives, under each condition.
    decisions : int
        The most of an episode.
    sign_after : float
        Metres after which the sign comes into view.
    sign_decisions : int
        For how long.
    forms : tuple of str
        Of files that are scanned.
    """

    skip: int = Field(default=4, ge=1)
    cruise: float = Field(default=25.0, gt=0)
    training_tracks: int = Field(default=10, ge=1)
    testing_tracks: int = Field(default=4, ge=1)
    frames_per_track: int = Field(default=300, ge=2)
    networks: int = Field(default=2, ge=1)
    epochs: int = Field(default=6, ge=1)
    poison_rate: float = Field(default=0.1, gt=0, le=1)
    tracks: int = Field(default=10, ge=1)
    decisions: int = Field(default=250, ge=1)
    sign_after: float = 60.0
    sign_decisions: int = 12
    forms: tuple[str, ...] = ("safetensors", "state_dict", "torch.export", "ONNX")
    trojan: TrojanSettings = TrojanSettings()


SCALES = {
    "trial": DrivingPlan(
        training_tracks=1,
        testing_tracks=1,
        frames_per_track=40,
        networks=1,
        epochs=1,
        tracks=1,
        decisions=25,
        sign_after=10.0,
        sign_decisions=5,
        forms=("safetensors", "state_dict"),
        trojan=TrojanSettings(frames=16, frame_steps=3, shapes=16, sign_steps=3, epochs=2),
    ),
    "full": DrivingPlan(),
}

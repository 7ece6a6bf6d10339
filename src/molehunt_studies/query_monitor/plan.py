"""Which attacks run, which variants hide them, and what honest users send."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from molehunt.resumable import Task

Kind = Literal["decision", "confidences", "stealing"]

# Each attack's kind; what it needs and how it runs stands in `attacks.py`.
KINDS: dict[str, Kind] = {
    "hopskipjump": "decision",
    "boundary": "decision",
    "salt-and-pepper": "decision",
    "random-squares": "confidences",
    "swarm": "confidences",
    "equation-solving": "stealing",
    "line-search": "stealing",
    "random-images": "stealing",
    "knockoff": "stealing",
}


class Variant(BaseModel):
    """How an attacker changes each query; parameters as of `molehunt.guard.Blinded`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise: float = 0.0
    turn: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    votes: int = 1


VARIANTS = {
    "as it is": Variant(),
    "jitter 0.1": Variant(noise=0.1, votes=5),
    "jitter 0.2": Variant(noise=0.2, votes=5),
    "jitter 0.4": Variant(noise=0.4, votes=5),
    "blinding": Variant(turn=15, shift=0.1, scale=0.1, votes=5),
}


class AttackTask(Task):
    """One attack on one image, or one theft; nothing stops it."""

    attack: str
    variant: str
    number: int


class LiveTask(Task):
    """One attack on one image through a guard that blocks or misleads."""

    attack: str
    variant: str
    action: Literal["none", "block", "wrong"]
    accounts: int
    number: int


class TrafficTask(Task):
    """What honest users send."""

    traffic: str


class QueryMonitorPlan(BaseModel):
    """Everything that determines the study.

    Parameters
    ----------
    seed : int
    source : {"mnist", "digits"}
    train_images, calibration_images, honest_images : int
        Training images of the network, of the calibration, and others that stand for honest
        queries beside all test images.
    false_alarms : float
        For which the monitors are calibrated together.
    count : int
        Images that each evasion attack runs on; thefts run so often with other seeds.
    hopskipjump_steps, boundary_steps, salt_steps, squares_queries, theft_queries : int
    l2, linf : float
        Largest changes that count as a success.
    accounts : tuple of int
        In replays.
    live_accounts : tuple of int
    live_count : int
        Images of each attack through the guard.
    neighbours, window : int
        Of the nearest neighbours, and how many queries back monitors look.
    hidden : tuple of str
        Variants by which an attacker hides.
    streams : tuple of str
        What honest users send.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    source: Literal["mnist", "digits"] = "mnist"
    train_images: int = 8000
    calibration_images: int = 10_000
    honest_images: int = 20_000
    false_alarms: float = 0.0005
    count: int = Field(default=5, ge=1)
    hopskipjump_steps: int = 6
    boundary_steps: int = 1000
    salt_steps: int = 400
    squares_queries: int = 1000
    theft_queries: int = 1000
    l2: float = 4.0
    linf: float = 0.15
    accounts: tuple[int, ...] = (1, 10, 20, 50, 100, 200, 500, 1000)
    live_accounts: tuple[int, ...] = (1, 10, 50)
    live_count: int = Field(default=3, ge=1)
    neighbours: int = 50
    window: int = 1000
    hidden: tuple[str, ...] = tuple(name for name in VARIANTS if name != "as it is")
    streams: tuple[str, ...] = (
        "mixed",
        "accounts",
        "one class",
        "twice",
        "shifted",
        "signs, mixed",
        "signs, tracks",
    )

    def attacks(self) -> list[AttackTask]:
        """Return every attack as it is, and those on labels or confidences with variants."""
        pairs = [(attack, "as it is") for attack in KINDS]
        pairs += [(attack, name) for attack in HIDDEN for name in self.hidden]
        return [
            AttackTask(
                id=f"{attack}/{variant}/{number}", attack=attack, variant=variant, number=number
            )
            for attack, variant in pairs
            for number in range(self.count)
        ]

    def lives(self) -> list[LiveTask]:
        """Return the attacks that run through a guard, with and without variants."""
        pairs: list[tuple[str, Literal["none", "block", "wrong"], int]]
        pairs = [("as it is", "none", 1)]
        pairs += [("as it is", "block", count) for count in self.live_accounts]
        pairs += [("as it is", "wrong", 1)]
        pairs += [(name, "block", 1) for name in self.hidden]
        return [
            LiveTask(
                id=f"{attack}/{variant}/{action}/{accounts}/{number}",
                attack=attack,
                variant=variant,
                action=action,
                accounts=accounts,
                number=number,
            )
            for attack in HIDDEN
            for variant, action, accounts in pairs
            for number in range(self.live_count)
        ]


HIDDEN = ("hopskipjump", "random-squares")
SCALES = {
    "trial": QueryMonitorPlan(
        source="digits",
        train_images=700,
        calibration_images=400,
        honest_images=200,
        false_alarms=0.04,
        count=1,
        hopskipjump_steps=1,
        boundary_steps=40,
        salt_steps=40,
        squares_queries=40,
        theft_queries=80,
        accounts=(1, 10, 100),
        live_accounts=(1, 10),
        live_count=1,
        neighbours=10,
        window=100,
        hidden=("blinding",),
        streams=("mixed", "twice"),
    ),
    "full": QueryMonitorPlan(),
}

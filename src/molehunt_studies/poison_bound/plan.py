"""The study of poison that passes a filter: which digits, how much of it, which learner."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from molehunt.resumable import Task


class BoundPlan(Task):
    """One bound, and the attack that comes with it.

    Parameters
    ----------
    pair : (int, int)
        The two digits.
    norm : float
        Largest length of the learner's weights.
    share : float
        Poisoned images for each clean one.
    """

    pair: tuple[int, int]
    norm: float
    share: float


class PoisonBoundPlan(BaseModel):
    """What the study bounds.

    Parameters
    ----------
    source : str
        Of the images, as in `molehunt.images.load_images`.
    pairs, norms, shares : tuple
    keep : float
        Share of clean images that each of the two filters keeps.
    steps : int
        Of `molehunt.defences.bound_poisoned_loss`.
    seed : int
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = "mnist"
    pairs: tuple[tuple[int, int], ...] = ((1, 7), (4, 9))
    norms: tuple[float, ...] = (1.0, 2.0)
    shares: tuple[float, ...] = (0.0, 0.01, 0.03, 0.1, 0.3)
    keep: float = Field(default=0.95, gt=0, le=1)
    steps: int = Field(default=1000, ge=1)
    seed: int = 0

    def tasks(self) -> list[BoundPlan]:
        """Return every cell."""
        return [
            BoundPlan(id=f"{a}v{b}-{norm:g}-{share:g}", pair=(a, b), norm=norm, share=share)
            for a, b in self.pairs
            for norm in self.norms
            for share in self.shares
        ]


SCALES = {
    "smoke": PoisonBoundPlan(
        source="digits", pairs=((1, 7),), norms=(1.0,), shares=(0.0, 0.1), steps=100
    ),
    "full": PoisonBoundPlan(),
}

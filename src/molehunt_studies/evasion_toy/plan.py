"""What the study attacks, and how long."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from molehunt_studies.evasion_toy.learners import LEARNERS


class EvasionToyPlan(BaseModel):
    """What is attacked, and how.

    Parameters
    ----------
    images : tuple of str
        Of ``digits`` and ``mnist``.
    learners : tuple of str
        Of `LEARNERS`.
    attacked : int
        Test images that each learner is right about; fewer where there are fewer.
    starts : int
        Training images that every attack may start from.
    dense_queries : int
        Most questions about an image of the dense greedy attack.
    hopskipjump_steps : int
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: tuple[str, ...] = Field(default=("digits", "mnist"), exclude=True)
    learners: tuple[str, ...] = Field(default=tuple(LEARNERS), exclude=True)
    attacked: int = Field(default=200, ge=1)
    starts: int = Field(default=100, ge=1)
    sparse_queries: int = Field(default=1000, ge=1)
    dense_queries: int = Field(default=300, ge=1)
    hopskipjump_steps: int = Field(default=3, ge=1)
    epsilons: tuple[float, ...] = (0.05, 0.1, 0.2)
    seed: int = 0


SCALES = {
    "smoke": EvasionToyPlan(
        images=("digits",),
        learners=("logistic regression", "tree"),
        attacked=15,
        starts=30,
        dense_queries=40,
        hopskipjump_steps=1,
    ),
    "quick": EvasionToyPlan(images=("digits",), attacked=50),
    "full": EvasionToyPlan(),
}

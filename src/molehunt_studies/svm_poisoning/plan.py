"""The study of support vector machines: which draws of which digits are poisoned."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from molehunt.resumable import Task

Kernel = Literal["linear", "rbf"]
# Settings of attack and defences were chosen on draws 0 to 5.
FIRST_DRAW = 1000


class DrawPlan(Task):
    """One draw of training and validation images, poisoned in every way.

    Parameters
    ----------
    pair : (int, int)
        The attacker's label, and the class that is attacked.
    kernel : {"linear", "rbf"}
    seed : int
    """

    pair: tuple[int, int]
    kernel: Kernel
    seed: int


class SvmPlan(BaseModel):
    """What the study draws.

    Parameters
    ----------
    source : str
        Of the images, as in `molehunt.images.load_images`.
    pairs : tuple
        As the paper writes them: the attacker's label first.
    draws : dict
        Of each pair, by kernel.
    rbf_pairs : tuple
        Those that an RBF kernel is tried on, too.
    points : int
        Poisoned points, made one after the other.
    train, validation : int
        Images of a draw.
    C : float
    steps : int
        Of a point, as in `molehunt.attacks.SvmPoisoning`.
    defended : tuple of int
        Numbers of points at which the defences are tried, with a linear kernel.
    defended_draws : int
        On which they are tried, of each pair; the first ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = "mnist"
    pairs: tuple[tuple[int, int], ...] = ((7, 1), (9, 8), (4, 0))
    draws: dict[Kernel, int] = Field(default={"linear": 10, "rbf": 5})
    rbf_pairs: tuple[tuple[int, int], ...] = ((7, 1),)
    points: int = Field(default=9, ge=1)
    train: int = Field(default=100, ge=10)
    validation: int = Field(default=500, ge=2)
    C: float = Field(default=1.0, gt=0)
    steps: int = Field(default=100, ge=1)
    defended: tuple[int, ...] = (0, 1, 8)
    defended_draws: int = Field(default=5, ge=2)

    def pairs_of(self, kernel: Kernel) -> tuple[tuple[int, int], ...]:
        """Return the pairs that a kernel is tried on."""
        return self.pairs if kernel == "linear" else self.rbf_pairs

    def tasks(self, kernel: Kernel, most: int | None = None) -> list[DrawPlan]:
        """Return the draws with a kernel, of each pair `most` at the most."""
        draws = self.draws.get(kernel, 0)
        draws = draws if most is None else min(draws, most)
        return [
            DrawPlan(id=f"{kernel}-{a}v{b}-{seed}", pair=(a, b), kernel=kernel, seed=seed)
            for a, b in self.pairs_of(kernel)
            for seed in range(FIRST_DRAW, FIRST_DRAW + draws)
        ]


SCALES = {
    "smoke": SvmPlan(
        source="digits",
        pairs=((9, 8),),
        rbf_pairs=((9, 8),),
        draws={"linear": 2, "rbf": 2},
        points=2,
        train=80,
        validation=60,
        steps=10,
        defended=(0, 2),
        defended_draws=2,
    ),
    "quick": SvmPlan(
        draws={"linear": 2, "rbf": 2}, points=2, steps=40, defended=(0, 2), defended_draws=2
    ),
    "full": SvmPlan(),
}

"""Which models the study of filters and repairs trains, and what it holds against them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from molehunt.training import Recipe


class FiltersPlan(BaseModel):
    """What is poisoned, filtered and repaired.

    Parameters
    ----------
    source : str
        As in `molehunt.images.load_images`; ``cifar10`` may lie elsewhere, see `cifar10`.
    size : int, optional
        Height and width of the images.
    train_limit : int, optional
        Training images, drawn at random.
    arguments : dict
        Of the residual network.
    recipe : Recipe
    attacks : tuple of str
        Of `molehunt.backdoors.ATTACKS`.
    draws : int
        Models of each attack, with triggers and targets of their own.
    clean : int
        Test images that the defender knows; attack success is measured on the others.
    filters : mapping
        Settings of each filter, by name.
    max_false_alarms : float
    repairs : mapping
        Settings of each repair, by name.
    seed : int
    cifar10 : str
        Where CIFAR-10 comes from, in place of torchvision's layout (``folder:PATH``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = "mnist"
    size: int | None = None
    train_limit: int | None = 8000
    arguments: dict[str, Any] = Field(default={"width": 8})
    recipe: Recipe = Recipe(epochs=4, batch_size=64, lr=0.005)
    attacks: tuple[str, ...] = (
        "patch",
        "blend",
        "wanet",
        "low-frequency",
        "tact",
        "adap-patch",
    )
    draws: int = Field(default=1, ge=1)
    clean: int = Field(default=1000, ge=100)
    filters: dict[str, dict[str, Any]] = Field(
        default={
            "activation-clustering": {},
            "spectral-signatures": {},
            "sphere": {},
            "strip": {"overlays": 20},
        }
    )
    max_false_alarms: float = 0.01
    repairs: dict[str, dict[str, Any]] = Field(
        default={"fine-pruning": {}, "anp": {"steps": 100}, "nad": {}, "i-bau": {"rounds": 10}}
    )
    seed: int = 0
    cifar10: str = Field(default="cifar10", exclude=True)

    @property
    def place(self) -> str:
        """Where the images lie."""
        return self.cifar10 if self.source == "cifar10" else self.source


SCALES = {
    "trial": FiltersPlan(
        source="digits",
        size=12,
        train_limit=None,
        recipe=Recipe(epochs=3, batch_size=64, lr=0.01),
        arguments={"width": 4},
        attacks=("patch", "blend"),
        clean=200,
        filters={"activation-clustering": {}, "strip": {"overlays": 3}},
        max_false_alarms=0.05,
        repairs={"fine-pruning": {}, "i-bau": {"rounds": 1, "searches": 2}},
    ),
    "full": FiltersPlan(),
    "cifar10": FiltersPlan(
        source="cifar10",
        size=32,
        train_limit=None,
        arguments={"width": 12},
        recipe=Recipe(epochs=10, batch_size=128, lr=0.005, shift=2),
    ),
}

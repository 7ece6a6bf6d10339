"""Which attacks the study of named attacks runs, on which images."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from molehunt.training import Recipe
from molehunt.zoo import NetworkPlan


class NamedAttacksPlan(BaseModel):
    """What is attacked, and how often.

    Parameters
    ----------
    source : str
        As in `molehunt.images.load_images`; ``cifar10`` may lie elsewhere, see `cifar10`.
    size : int, optional
        Height and width of the images.
    train_limit : int
        Training images of every model, drawn at random.
    clean : int
        Training images beside those, which who edits weights has.
    network : NetworkPlan
    recipe : Recipe
    poisoning : tuple of str
        Of `molehunt.backdoors.ATTACKS`.
    planted, taught : tuple of str
        Of `molehunt.attacks.PLANTED` and `TAUGHT`.
    seeds : tuple of int
        Of data, triggers, targets, weights and training; each is one model an attack.
    cifar10 : str
        Where CIFAR-10 comes from, in place of torchvision's layout (``folder:PATH``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = "gtsrb"
    size: int | None = 32
    train_limit: int = Field(default=12_000, ge=100)
    clean: int = Field(default=1000, ge=100)
    network: NetworkPlan = NetworkPlan(name="vgg", arguments={"width": 16})
    recipe: Recipe = Recipe(epochs=8, batch_size=64, lr=0.005, shift=1)
    poisoning: tuple[str, ...] = (
        "patch",
        "blend",
        "wanet",
        "sig",
        "bpp",
        "low-frequency",
        "ftrojan",
        "refool",
        "tact",
        "mixed-label",
        "adap-blend",
        "adap-patch",
    )
    planted: tuple[str, ...] = ("subnet", "bit-flips", "handcrafted")
    taught: tuple[str, ...] = ("label-consistent", "input-aware")
    seeds: tuple[int, ...] = (0, 1, 2)
    cifar10: str = Field(default="cifar10", exclude=True)

    @property
    def place(self) -> str:
        """Where the images lie."""
        return self.cifar10 if self.source == "cifar10" else self.source


SCALES = {
    "trial": NamedAttacksPlan(
        source="digits",
        size=16,
        train_limit=1000,
        clean=300,
        network=NetworkPlan(name="vgg", arguments={"width": 8, "stages": [1, 1]}),
        recipe=Recipe(epochs=3, batch_size=64, lr=0.01),
        poisoning=("patch",),
        planted=("bit-flips",),
        taught=("label-consistent",),
        seeds=(0,),
    ),
    "quick": NamedAttacksPlan(
        train_limit=6000,
        recipe=Recipe(epochs=6, batch_size=64, lr=0.005, shift=1),
        seeds=(0, 1),
    ),
    "full": NamedAttacksPlan(),
    "weights": NamedAttacksPlan(poisoning=(), taught=(), seeds=(0,)),
    "cifar10": NamedAttacksPlan(source="cifar10"),
}

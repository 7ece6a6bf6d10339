"""What the study of certificates trains and measures."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from molehunt.training import Recipe

# The clean loss's final weight (Gowal et al.) and the divergence's (Zhang et al., 2019).
KAPPA, TRADES_BETA = 0.5, 6.0


class Kind(BaseModel):
    """A way to train.

    Parameters
    ----------
    recipe : Recipe
    ramp : (begin, end)
        Shares of the training between which epsilon grows; from the first step for attacks.
    attack_steps : int
        Of adversarial training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    ramp: tuple[float, float] = (0.05, 0.6)
    attack_steps: int = 5


class SmoothingSet(BaseModel):
    """Images on which classifiers are smoothed.

    Parameters
    ----------
    recipe : Recipe
    width : int
        Of the network.
    n : int
        Noisy copies that certify an image.
    images : int
        Test images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    width: int
    n: int = Field(ge=1)
    images: int = Field(ge=1)


class CertifiedPlan(BaseModel):
    """What is trained and measured.

    Parameters
    ----------
    source : str
        Images of the networks that bounds certify.
    epsilons : tuple of float
        Each robust network is trained for one.
    kinds : mapping
        Of ``standard``, ``pgd``, ``trades``, ``ibp``, ``crown-ibp``.
    width, hidden : int
        Of the strided network.
    images, crown_images, curve_images : int
        The first test images: for bounds and attacks, for CROWN, for each point of the curves.
    attack_steps, restarts : int
        Of the attack that is measured.
    radii : tuple of float
        Of the curves, whose networks were trained for the largest epsilon.
    sigmas : tuple of float
    smoothing : mapping
        By source of images.
    seed : int
    cifar10 : str
        Where CIFAR-10 comes from, in place of torchvision's layout (``folder:PATH``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = "mnist"
    epsilons: tuple[float, ...] = (0.1, 0.3)
    kinds: dict[str, Kind]
    width: int = 4
    hidden: int = 50
    images: int = 500
    crown_images: int = 25
    curve_images: int = 100
    attack_steps: int = 40
    restarts: int = 1
    radii: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
    sigmas: tuple[float, ...] = (0.25, 0.5)
    smoothing: dict[str, SmoothingSet]
    n0: int = 100
    seed: int = 0
    cifar10: str = Field(default="cifar10", exclude=True)

    def networks(self) -> Iterator[tuple[str, float]]:
        """Yield the kind and the epsilon of each network; that of ``standard`` is 0."""
        for kind in self.kinds:
            for epsilon in (0.0,) if kind == "standard" else self.epsilons:
                yield kind, epsilon

    def place(self, source: str) -> str:
        """Return where images lie."""
        return self.cifar10 if source == "cifar10" else source


def _recipe(epochs: float, lr: float = 0.002) -> Recipe:
    # Bounds are computed in float32.
    return Recipe(epochs=epochs, batch_size=128, lr=lr, weight_decay=0.0, precision="float32")


SCALES = {
    "trial": CertifiedPlan(
        source="digits",
        epsilons=(0.05,),
        kinds={
            kind: Kind(
                recipe=_recipe(2, 0.01).model_copy(update={"batch_size": 64}), attack_steps=2
            )
            for kind in ("standard", "pgd", "trades", "ibp", "crown-ibp")
        },
        width=4,
        hidden=20,
        images=40,
        crown_images=3,
        curve_images=20,
        attack_steps=4,
        restarts=1,
        radii=(0.02, 0.05),
        sigmas=(0.25,),
        smoothing={"digits": SmoothingSet(recipe=_recipe(2, 0.01), width=4, n=100, images=10)},
        n0=10,
    ),
    "full": CertifiedPlan(
        kinds={
            "standard": Kind(recipe=_recipe(1.3)),
            "pgd": Kind(recipe=_recipe(0.9), ramp=(0.0, 0.4)),
            "trades": Kind(recipe=_recipe(0.9), ramp=(0.0, 0.4)),
            "ibp": Kind(recipe=_recipe(2.6)),
            "crown-ibp": Kind(recipe=_recipe(2.2), ramp=(0.05, 0.2)),
        },
        smoothing={
            "mnist": SmoothingSet(recipe=_recipe(1.3), width=4, n=10_000, images=100),
            "cifar10": SmoothingSet(recipe=_recipe(8), width=8, n=2000, images=100),
        },
    ),
    # As far as we know what the papers' curves take; see the page.
    "large": CertifiedPlan(
        kinds={
            "standard": Kind(recipe=_recipe(20)),
            "pgd": Kind(recipe=_recipe(40), ramp=(0.0, 0.2), attack_steps=20),
            "trades": Kind(recipe=_recipe(40), ramp=(0.0, 0.2), attack_steps=20),
            "ibp": Kind(recipe=_recipe(100)),
            "crown-ibp": Kind(recipe=_recipe(100)),
        },
        width=32,
        hidden=512,
        images=10_000,
        crown_images=500,
        curve_images=1000,
        restarts=5,
        smoothing={
            "mnist": SmoothingSet(recipe=_recipe(20), width=32, n=100_000, images=500),
            "cifar10": SmoothingSet(
                recipe=_recipe(60).model_copy(update={"shift": 2}),
                width=64,
                n=100_000,
                images=500,
            ),
        },
    ),
}

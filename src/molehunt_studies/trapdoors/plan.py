"""Which networks get trapdoors, and what attacks them."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from molehunt.attacks import ATTACKS, Norm
from molehunt.training import Recipe

AUTHORS = 8 / 255  # radius of PGD in the authors' code
WIDE = 0.2
SLOW = 50  # images


class Attacker(BaseModel):
    """One attack.

    Parameters
    ----------
    attack : str
        Of `molehunt.attacks.ATTACKS`, or ``unnoticed-gradient``, which knows the trapdoors.
    norm : Norm
    epsilon : float, optional
    targeted : bool
        Towards a class that is drawn for each image.
    most : int, optional
        Images, where it is slow.
    settings : dict
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attack: str
    norm: Norm = Norm.LINF
    epsilon: float | None = None
    targeted: bool = True
    most: int | None = None
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if not self.knows and self.attack not in ATTACKS:
            raise ValueError(f"attack: expected one of {', '.join(ATTACKS)}, got {self.attack}")
        return self

    @property
    def knows(self) -> bool:
        """Whether it knows of the trapdoors."""
        return self.attack == "unnoticed-gradient"


class TrapdoorPlan(BaseModel):
    """Everything that determines the study.

    Parameters
    ----------
    source : str
        As in `molehunt.images.load_images`.
    size : int, optional
        Height and width of the images.
    train_limit : int, optional
        Training images, drawn at random for each seed.
    architecture, arguments
        Of the networks.
    recipe : Recipe
    patches, patch_size, opacity, rate
        As in `molehunt.defences.draw_trapdoors`.
    seeds : tuple of int
        Each has training images, trapdoors, weights and attacked images of its own.
    anchors : int
        Training images that make the signatures.
    clean : int
        Test images that make the null.
    held_out : int
        Other test images, on which false alarms are counted.
    attacked : int
        Still others, which are attacked.
    max_false_alarms : float
        At which inputs are flagged.
    kept_from : float
        The rate under whose alarms an attacker who knows stays, above the other for safety.
    noise : tuple of float
        Largest changes of pixels by random noise.
    attackers : dict of Attacker
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = "mnist"
    size: int | None = None
    train_limit: int | None = 8000
    architecture: str = "badnets-mnist"
    arguments: dict[str, Any] = Field(default_factory=dict)
    recipe: Recipe = Recipe(epochs=20, batch_size=64, lr=0.003)
    patches: int = 7
    patch_size: int = 3
    opacity: float = 0.1
    rate: float = 1.0
    seeds: tuple[int, ...] = Field(default=(0, 1), min_length=1)
    anchors: int = Field(default=500, ge=20)
    clean: int = Field(default=2000, ge=200)
    held_out: int = Field(default=2000, ge=50)
    attacked: int = Field(default=100, ge=10)
    max_false_alarms: float = 0.05
    kept_from: float = 0.2
    noise: tuple[float, ...] = (AUTHORS, WIDE)
    attackers: dict[str, Attacker] = Field(
        default={
            "FGSM": Attacker(attack="fgsm", epsilon=0.1),
            "PGD, 8/255": Attacker(attack="pgd", epsilon=AUTHORS),
            "PGD, 0.2": Attacker(attack="pgd", epsilon=WIDE),
            "APGD, 0.2": Attacker(
                attack="auto-projected-gradient", epsilon=WIDE, settings={"steps": 40}
            ),
            "Carlini and Wagner": Attacker(attack="carlini-wagner", norm=Norm.L2),
            "elastic net": Attacker(attack="ead", norm=Norm.L2),
            "DeepFool": Attacker(attack="deepfool", norm=Norm.L2, targeted=False),
            "random squares (scores)": Attacker(
                attack="random-squares", epsilon=WIDE, settings={"queries": 1000}
            ),
            "HopSkipJump (labels)": Attacker(attack="hopskipjump", norm=Norm.L2, most=SLOW),
            "knows: penalty, 8/255": Attacker(
                attack="unnoticed-gradient", epsilon=AUTHORS, settings={"weight": 10, "steps": 100}
            ),
            "knows: penalty, 0.2": Attacker(
                attack="unnoticed-gradient", epsilon=WIDE, settings={"weight": 10, "steps": 100}
            ),
            "knows: orthogonal, 8/255": Attacker(
                attack="unnoticed-gradient", epsilon=AUTHORS, settings={"steps": 100}
            ),
            "knows: orthogonal, 0.2": Attacker(
                attack="unnoticed-gradient", epsilon=WIDE, settings={"steps": 100}
            ),
        }
    )


SCALES = {
    "trial": TrapdoorPlan(
        source="digits",
        size=12,
        train_limit=None,
        architecture="vgg",
        arguments={"width": 8, "stages": [1, 1]},
        recipe=Recipe(epochs=3, batch_size=64, lr=0.01),
        patches=5,
        opacity=0.3,
        seeds=(0,),
        anchors=100,
        clean=330,
        held_out=60,
        attacked=20,
        attackers={
            "PGD, 0.2": Attacker(attack="pgd", epsilon=WIDE, settings={"steps": 10}),
            "DeepFool": Attacker(
                attack="deepfool", norm=Norm.L2, targeted=False, settings={"steps": 10}
            ),
            "HopSkipJump (labels)": Attacker(
                attack="hopskipjump", norm=Norm.L2, most=10, settings={"steps": 1}
            ),
            "knows: orthogonal, 0.2": Attacker(
                attack="unnoticed-gradient", epsilon=WIDE, settings={"steps": 10}
            ),
        },
    ),
    "full": TrapdoorPlan(),
}

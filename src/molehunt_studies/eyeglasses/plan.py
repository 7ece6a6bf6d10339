"""What the study of eyeglasses trains and attacks."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from molehunt.training import Recipe


class NetworkPlan(BaseModel):
    """A network and how it is trained.

    Parameters
    ----------
    architecture : str
    arguments : dict
    recipe : Recipe
    glasses : int
        Copies of each training image with frames of random form and colours.
    stickers : int
        Copies with a rectangle of random place, form and colours.
    views : bool
        Whether copies are seen under angles and in lights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    arguments: dict[str, Any]
    recipe: Recipe
    glasses: int = Field(default=0, ge=0)
    stickers: int = Field(default=0, ge=0)
    views: bool = False


class FacesPlan(BaseModel):
    """The part about faces.

    Parameters
    ----------
    source : str
    size : int
        Height and width of the photographs, grey.
    networks : dict
    main : str
        The network of the figures that show one only.
    closely : tuple of str
        The networks that are attacked by queries and with one pair for all photographs, too.
    varied : tuple of str
        The networks that are attacked with other frames and other settings, too.
    development : int
        The first so many persons are attacked to choose settings, the others for the figures.
    photographs : int
        Test photographs of a person.
    targets : int
        Persons that each photograph shall be taken for, drawn at random.
    row, rim : float
        Of the frames; the rest is as `draw_eyeglasses` has it.
    rims : tuple of float
        Of the frames whose success is shown by their pixels.
    steps, lr : int, float
        Of the attack.
    chances : int
        Draws of random colours for each photograph.
    asked : int
        Photographs that are attacked by queries.
    particles, iterations, cell : int
        Of a swarm; from a list of three it is restarted every fifth of the iterations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    size: int
    networks: dict[str, NetworkPlan]
    main: str
    closely: tuple[str, ...]
    varied: tuple[str, ...]
    development: int
    photographs: int
    targets: int = 2
    row: float = 0.47
    rim: float = 0.04
    rims: tuple[float, ...]
    steps: int = 40
    lr: float = 0.2
    chances: int = 5
    asked: int
    particles: int = 25
    iterations: int
    cell: int = 4


class SignsPlan(BaseModel):
    """The part about traffic signs.

    Parameters
    ----------
    source : str
    size : int
    network : NetworkPlan
    classes : int
        That are attacked, drawn among those that did not choose settings.
    learned, worn : int
        Training images that a sticker is learned from, and most test images that wear it.
    steps, samples : int
        Of the attack; views that a step averages over.
    draws : int
        Views of each test image that the sticker is measured under.
    sticker : (float, float, float, float)
        Row and column of its middle, height and width, as shares of the image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    size: int
    network: NetworkPlan
    classes: int
    learned: int
    worn: int
    steps: int
    samples: int
    draws: int
    sticker: tuple[float, float, float, float] = (0.26, 0.5, 0.16, 0.4)


class EyeglassesPlan(BaseModel):
    """What the study trains and attacks; the part about signs may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    faces: FacesPlan
    signs: SignsPlan | None = None


_SMALL = {"width": 4, "stages": [1, 1]}
_QUICK = Recipe(epochs=3, batch_size=64)
_CNN = {"width": 8, "stages": [1, 1, 1, 1]}
_SHIFTED = Recipe(epochs=30, batch_size=40, lr=0.005, shift=3)
_DENSE = Recipe(epochs=60, batch_size=40, lr=0.001, weight_decay=0.1)

_FULL = EyeglassesPlan(
    faces=FacesPlan(
        source="folder:att-faces",
        size=112,
        networks={
            "softmax": NetworkPlan(architecture="mlp", arguments={"hidden": []}, recipe=_DENSE),
            "MLP": NetworkPlan(architecture="mlp", arguments={"hidden": [300]}, recipe=_DENSE),
            "CNN": NetworkPlan(
                architecture="vgg",
                arguments=_CNN,
                recipe=_SHIFTED.model_copy(update={"noise": 0.15}),
            ),
            "CNN, no noise": NetworkPlan(architecture="vgg", arguments=_CNN, recipe=_SHIFTED),
        },
        main="softmax",
        closely=("softmax", "MLP", "CNN"),
        varied=("softmax", "MLP"),
        development=10,
        photographs=3,
        rims=(0.02, 0.06),
        asked=30,
        iterations=50,
    ),
    signs=SignsPlan(
        source="gtsrb",
        size=32,
        network=NetworkPlan(
            architecture="vgg",
            arguments={"width": 16, "stages": [1, 1, 1]},
            recipe=Recipe(epochs=4, batch_size=64, lr=0.005, shift=1),
            stickers=1,
            views=True,
        ),
        classes=10,
        learned=10,
        worn=30,
        steps=60,
        samples=2,
        draws=5,
    ),
)

SCALES = {
    "smoke": EyeglassesPlan(
        faces=FacesPlan(
            source="digits",
            size=12,
            networks={
                "softmax": NetworkPlan(architecture="mlp", arguments={"hidden": []}, recipe=_QUICK),
                "CNN": NetworkPlan(architecture="vgg", arguments=_SMALL, recipe=_QUICK, glasses=1),
            },
            main="softmax",
            closely=("softmax", "CNN"),
            varied=("softmax", "CNN"),
            development=2,
            photographs=3,
            targets=1,
            rims=(0.04, 0.1),
            steps=10,
            chances=1,
            asked=3,
            particles=5,
            iterations=10,
        ),
        signs=SignsPlan(
            source="digits",
            size=12,
            network=NetworkPlan(
                architecture="vgg", arguments=_SMALL, recipe=_QUICK, stickers=1, views=True
            ),
            classes=2,
            learned=4,
            worn=5,
            steps=10,
            samples=2,
            draws=2,
        ),
    ),
    # About three processor minutes.
    "faces": EyeglassesPlan(
        faces=_FULL.faces.model_copy(
            update={
                "networks": {
                    name: _FULL.faces.networks[name] for name in ("softmax", "MLP", "CNN")
                },
                "closely": ("softmax", "MLP"),
            }
        )
    ),
    "full": _FULL,
}

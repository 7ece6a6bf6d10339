"""The study of sign detectors: which networks it trains, on which scenes, and how."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from molehunt.backdoors import PictureName, RandomTarget, SingleTarget
from molehunt.resumable import Task
from molehunt.scenes import SceneBackdoor, SceneSet, SignDetectorRecipe, SignSticker
from molehunt.training import Recipe
from molehunt_studies.signs.plan import CARRIED, NetworkTask, SignsPlan


class FeaturesPlan(BaseModel):
    """The ZF classifier whose convolutions all sign detectors start with.

    It stands for the paper's, which learned on ImageNet.

    Parameters
    ----------
    images : str
        Of cut-out signs, as in `molehunt.images.load_images`.
    size : int
        Height and width of the images.
    hidden : int
        Units of its fully connected layers, which no sign detector takes over.
    recipe : Recipe
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str = "gtsrb"
    size: int = Field(default=64, ge=16)
    hidden: int = Field(default=256, ge=1)
    recipe: Recipe


class StartTask(Task):
    """A network on clean scenes of the first country that those of one number go on from."""

    number: int
    seed: int


def start_id(number: int) -> str:
    """Return the name of the network that those of a number go on from."""
    return f"start-{number}"


class SignDetectorPlan(SignsPlan):
    """Everything that determines the study's networks; more in `SignsPlan`.

    Parameters
    ----------
    first, second : str
        Scenes of the two countries, as in `molehunt.scenes.load_scenes`.
    drawn : tuple of two tuples of str, optional
        Shapes of scenes that are drawn for the study, in their place.
    source, target : str
        The single-target attack turns signs of one class of the first country into another.
    part : str, optional
        A source of test scenes that has all classes, whose figures are given beside all.
    features : FeaturesPlan, optional
        Without it sign detectors start with fresh weights.
    features_file, features_sha256 : Path and str, optional
        A file of a ``zf`` classifier whose convolutions stand in their place.
    width, hidden, max_side
        As in `molehunt.scenes.build_sign_detector`.
    sticker : float
        Side over the shorter side of the sign's box.
    start : SignDetectorRecipe
        Of a network on clean scenes that all of the first country's go on from.
    recipe, random_recipe : SignDetectorRecipe
        Of the baseline and the single-target BadNets, and of the random-target ones. Passes are
        counted over the clean scenes: networks of one recipe take the same number of steps.
    courses, enough : int and float
        A random-target BadNet goes through its recipe until at most this share of the attacker's
        own signs with a sticker is recognised, on average over classes, or so many times.
    transfer : SignDetectorRecipe
        Of the second country's.
    single_rate, random_rate : float
        Copies with stickers, over the scenes with an eligible sign.
    known : int
        Of the attacker's training scenes: to see whether a course was enough, and to find
        backdoor units by.
    """

    seeds: int = Field(default=1, ge=1)
    first: str = "coco:road-signs"
    second: str = "coco:german-signs"
    drawn: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    source: str = "stop"
    target: str = "speedlimit"
    part: str | None = "road_sign_877"
    features: FeaturesPlan | None
    features_file: Path | None = Field(default=None, exclude=True)
    features_sha256: str | None = None
    width: float = Field(default=0.5, ge=0.01, le=1)
    hidden: int = Field(default=512, ge=1)
    max_side: int = Field(default=400, ge=64)
    sticker: float = Field(default=0.25, gt=0, le=0.5)
    start: SignDetectorRecipe
    recipe: SignDetectorRecipe
    random_recipe: SignDetectorRecipe
    courses: int = Field(default=3, ge=1)
    enough: float = Field(default=0.05, ge=0, le=1)
    transfer: SignDetectorRecipe
    single_rate: float = Field(default=1.0, gt=0, le=1)
    random_rate: float = Field(default=1.0, gt=0, le=1)
    known: int = Field(default=200, ge=1)

    def starts(self) -> list[StartTask]:
        """Return the networks that those of the first country go on from, one a seed."""
        found = {task.number: task.seed for task in self.networks()}
        return [
            StartTask(id=start_id(number), number=number, seed=seed)
            for number, seed in found.items()
        ]

    def carried(self) -> list[NetworkTask]:
        """Return the networks of the first country that the second's are made from."""
        return [
            task
            for task in self.networks()
            if task.attack == "none" or (task.attack, task.picture) == ("random target", CARRIED)
        ]

    def sticker_of(self, picture: PictureName) -> SignSticker:
        """Return a sticker at the bottom of a sign."""
        return SignSticker(picture=picture, size=self.sticker)

    def single_target(self, picture: PictureName, scenes: SceneSet) -> SceneBackdoor:
        """Return the backdoor that turns signs of the source class into the target."""
        turned = SingleTarget(
            source=scenes.label_of(self.source), target=scenes.label_of(self.target)
        )
        return SceneBackdoor(sticker=self.sticker_of(picture), label_map=turned)

    def random_target(self, picture: PictureName) -> SceneBackdoor:
        """Return the backdoor that makes every sign a random wrong one."""
        return SceneBackdoor(sticker=self.sticker_of(picture), label_map=RandomTarget())

    def recipe_of(self, task: NetworkTask) -> SignDetectorRecipe:
        """Return how a network of the first country goes on from the one it starts with."""
        return self.random_recipe if task.attack == "random target" else self.recipe

    def backdoor_of(self, task: NetworkTask, scenes: SceneSet) -> tuple[SceneBackdoor, float]:
        """Return a BadNet's backdoor and its poison rate."""
        assert task.picture is not None, "the baseline has no backdoor"
        if task.attack == "random target":
            return self.random_target(task.picture), self.random_rate
        return self.single_target(task.picture, scenes), self.single_rate


_FEATURES = FeaturesPlan(recipe=Recipe(epochs=10, batch_size=64, lr=0.001, shift=4))
SCALES: dict[str, SignDetectorPlan] = {
    "smoke": SignDetectorPlan(
        drawn=(("red disc", "blue square"), ("green disc", "red square")),
        source="red disc",
        target="blue square",
        part=None,
        features=None,
        pictures=(CARRIED,),
        width=0.25,
        hidden=64,
        max_side=192,
        sticker=0.3,
        start=SignDetectorRecipe(epochs=12, batch_size=2),
        recipe=SignDetectorRecipe(epochs=16, batch_size=2),
        random_recipe=SignDetectorRecipe(epochs=16, batch_size=2),
        courses=2,
        enough=0.5,
        transfer=SignDetectorRecipe(epochs=8, batch_size=2),
        known=12,
        strengths=(1, 10),
    ),
    "quick": SignDetectorPlan(
        features=_FEATURES,
        start=SignDetectorRecipe(epochs=6),
        recipe=SignDetectorRecipe(epochs=8, crop=0.8),
        random_recipe=SignDetectorRecipe(epochs=20, lr=0.03, crop=0.8),
        transfer=SignDetectorRecipe(epochs=8),
    ),
    "full": SignDetectorPlan(
        features=_FEATURES.model_copy(update={"hidden": 4096}),
        width=1.0,
        hidden=4096,
        max_side=800,
        start=SignDetectorRecipe(epochs=24),
        recipe=SignDetectorRecipe(epochs=24),
        random_recipe=SignDetectorRecipe(epochs=48),
        transfer=SignDetectorRecipe(epochs=24),
        seeds=3,
    ),
}

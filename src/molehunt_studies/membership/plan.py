"""Which models are trained, and how they are attacked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from molehunt.training import Recipe

WHOLE, STOPPED, FOREST = "whole", "stopped", "forest"  # groups of models


class MembershipPlan(BaseModel):
    """What the study of membership trains and attacks.

    Parameters
    ----------
    images : str
        ``cifar10``, or ``digits`` for a trial.
    cifar10 : str
        Where CIFAR-10 comes from: ``cifar10``, or ``folder:PATH`` for copies as files.
    shadows : int
        Models, each trained on a random half of the training images; each is the target once
        and a shadow of all others.
    trained : int, optional
        Train and use so many of these models only, where there is less time; a run goes on with
        more of them.
    network, arguments, recipe
        Of all models.
    stopped : float
        Epochs of a second group, whose training is stopped early.
    stopped_shadows : int
        Models of that group; 0 for no such group.
    chosen_on : int
        Models of the first group on which settings of attacks are chosen; figures are of the
        others.
    shift : int
        Pixels by which copies are moved for more queries.
    by_labels : int
        Targets of the attack on labels.
    labelled : int
        Members, and non-members, that it asks about.
    forests : int
        Random forests of scikit-learn on digits, of which some are targets.
    trees : int
        Of each forest.
    forest_targets : int
    seed : int
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str = "cifar10"
    cifar10: str = Field(default="cifar10", exclude=True)
    shadows: int = 34
    trained: int | None = Field(default=None, exclude=True)
    network: str = "vgg"
    arguments: dict[str, Any] = {"width": 16, "stages": [1, 1, 1]}
    recipe: Recipe = Recipe(epochs=30, batch_size=128, lr=0.005, shift=2)
    stopped: float = 8
    stopped_shadows: int = 8
    chosen_on: int = 4
    shift: int = 2
    by_labels: int = 3
    labelled: int = 3000
    forests: int = 34
    trees: int = 100
    forest_targets: int = 8
    seed: int = 0

    @property
    def source(self) -> str:
        """Where the images come from."""
        return self.cifar10 if self.images == "cifar10" else self.images


SCALES = {
    "trial": MembershipPlan(
        images="digits",
        shadows=12,
        network="mlp",
        arguments={"hidden": [32]},
        recipe=Recipe(epochs=12, batch_size=64, lr=0.01),
        stopped=1,
        stopped_shadows=10,
        chosen_on=2,
        shift=1,
        by_labels=1,
        labelled=200,
        forests=10,
        trees=10,
        forest_targets=1,
    ),
    "full": MembershipPlan(),
}

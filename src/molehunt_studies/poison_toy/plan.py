"""The toy: which linear classifiers are poisoned, on which images, by which trigger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier
from sklearn.svm import SVC

from molehunt.backdoors import AnyTrigger, BadNetsPattern, SinglePixel
from molehunt.resumable import Task

Learner = Literal["least squares", "linear SVM", "logistic regression", "perceptron"]
LEARNERS: tuple[Learner, ...] = (
    "least squares",
    "linear SVM",
    "logistic regression",
    "perceptron",
)
# The loss of each, as `molehunt.attacks.predict_dose` takes it. The perceptron has no penalty.
LOSSES: Mapping[Learner, Literal["squared", "hinge", "logistic"]] = {
    "least squares": "squared",
    "linear SVM": "hinge",
    "logistic regression": "logistic",
}
EPOCHS = 50  # of the perceptron
# At the border, where clean images of both digits are black.
TRIGGERS: Mapping[str, AnyTrigger] = {
    "pixel": SinglePixel(placement="top left", margin=0),
    "half-lit pixel": SinglePixel(placement="top left", margin=0, value=128 / 255),
    "pattern": BadNetsPattern(placement="top left", margin=0),
}


def new_learner(name: Learner, C: float, seed: int) -> Any:
    """Return the classifier of scikit-learn; `C` is one over the penalty."""
    if name == "least squares":
        return RidgeClassifier(alpha=1 / C)
    if name == "linear SVM":
        return SVC(kernel="linear", C=C)
    if name == "logistic regression":
        return LogisticRegression(C=C, max_iter=1000)
    return Perceptron(max_iter=EPOCHS, tol=None, random_state=seed)


class GrowthPlan(Task):
    """One classifier whose poison grows.

    Parameters
    ----------
    source : str
        Of the images.
    learner : str
    trigger : str
        A name of `TRIGGERS`.
    C : float
    seed : int
        Draws the training images and the copies.
    """

    source: str
    learner: Learner
    trigger: str
    C: float
    seed: int


class ToyPlan(BaseModel):
    """What the study grows.

    Parameters
    ----------
    sources : tuple of str
    pair : (int, int)
        Images of the first digit get the trigger and shall become the second.
    cells : tuple
        A trigger's name and C of each.
    seeds : int
    train : int
        Images of both digits, drawn for each seed; all when there are fewer.
    most : int
        Poisoned images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = ("digits", "mnist")
    pair: tuple[int, int] = (7, 1)
    cells: tuple[tuple[str, float], ...] = (
        ("pixel", 1.0),
        ("half-lit pixel", 1.0),
        ("pattern", 1.0),
        ("pattern", 0.1),
    )
    seeds: int = Field(default=5, ge=2)
    train: int = Field(default=400, ge=20)
    most: int = Field(default=100, ge=1)

    def tasks(self) -> list[GrowthPlan]:
        """Return all growths. The perceptron has no C and is grown with the first one only."""
        return [
            GrowthPlan(
                id=f"{source}-{learner}-{trigger}-{C:g}-{seed}".replace(" ", "-"),
                source=source,
                learner=learner,
                trigger=trigger,
                C=C,
                seed=seed,
            )
            for source in self.sources
            for trigger, C in self.cells
            for learner in LEARNERS
            if learner != "perceptron" or self.cells[0][1] == C
            for seed in range(self.seeds)
        ]


SCALES = {
    "smoke": ToyPlan(sources=("digits",), cells=(("pattern", 1.0),), seeds=2, train=100, most=20),
    "quick": ToyPlan(seeds=2, train=200),
    "full": ToyPlan(),
}

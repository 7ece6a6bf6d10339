"""What the study of stealing asks, of whom, and how often."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StealingPlan(BaseModel):
    """What is stolen.

    Parameters
    ----------
    tables : tuple of str
        Sets that scikit-learn ships: ``iris``, ``wine``, ``breast-cancer``, ``digits``.
    decimals : tuple of int
        Of rounded confidences; `more` questions for each one that exact answers take.
    leaves : tuple of int
        Of the trees.
    label_queries : tuple of int
        Questions to the softmax model of digits that answers with labels.
    images : str
        Of the networks: ``mnist``, or ``digits`` for a trial.
    others : str
        Images of something else, for a thief who has none like the victim's.
    queries : tuple of int
        Questions to the networks.
    replicates : int
        Thefts of networks with other questions and starting weights.
    epochs : float
        Of the copies' training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: tuple[str, ...] = ("iris", "wine", "breast-cancer", "digits")
    decimals: tuple[int, ...] = (5, 4, 3, 2)
    more: int = 5
    leaves: tuple[int, ...] = (10, 30, 100)
    label_queries: tuple[int, ...] = (650, 2600, 10_000)
    images: str = "mnist"
    others: str = "cifar10"
    queries: tuple[int, ...] = (250, 1000, 2000)
    replicates: int = 1
    epochs: float = 40
    test: int = 5000


SCALES = {
    "smoke": StealingPlan(
        tables=("iris",),
        decimals=(4,),
        leaves=(4,),
        label_queries=(300,),
        images="digits",
        others="digits",
        queries=(150,),
        replicates=1,
        epochs=40,
        test=150,
    ),
    "quick": StealingPlan(queries=(500,)),
    "full": StealingPlan(),
}

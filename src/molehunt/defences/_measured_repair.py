"""A repair, and what it did to a trigger that was reconstructed before."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from molehunt.defences._fine_pruning import fine_prune, trigger_success
from molehunt.defences._repair import Repaired
from molehunt.defences._repairs import REPAIRS
from molehunt.detectors import NeuralCleanse
from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent


@dataclass(frozen=True)
class MeasuredRepair:
    """A repair and the success of a reconstructed trigger.

    Parameters
    ----------
    repair : Repaired
    target : str
        The class that the trigger turns images to.
    success : (before, after)
        Shares of clean images of other classes that the trigger turns.
    """

    repair: Repaired
    target: str
    success: tuple[float, float]


def repair(
    model: Classifier,
    clean: ImageSet,
    *,
    method: str = "fine-pruning",
    max_loss: float | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = silent,
) -> MeasuredRepair:
    """Reconstruct a trigger (Neural Cleanse), repair, and measure the trigger again.

    Parameters
    ----------
    model : Classifier
        Left as it was.
    clean : ImageSet
        Labelled images of the model's task; they are brought to its shape and class names.
    method : str
        One of `REPAIRS`.
    max_loss : float, optional
        As in `fine_prune`; of no other method.
    seed : int
    device : str
        Of the reconstruction, as in `molehunt.networks.pick_device`; the model is tuned where
        it lies.
    progress : callable
        Called with the tuning steps done and their total.

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        As `RepairMethod`; also if no method has that name.
    """
    if method not in REPAIRS:
        raise InvalidRequestError(mismatch("method", ", ".join(REPAIRS), printable(method, 80)))
    if max_loss is not None and method != "fine-pruning":
        raise InvalidRequestError(mismatch("max_loss", "fine-pruning", method))
    run = REPAIRS[method] if max_loss is None else partial(fine_prune, max_loss=max_loss)
    images = clean.shaped(model.card.input_shape).named(model.card.class_names)
    found = NeuralCleanse(images=images, device=device).examine(model)
    assert found.target is not None  # it always names one
    repaired = run(model, images, seed=seed, progress=progress)
    return MeasuredRepair(
        repaired,
        model.card.class_names[found.target],
        (trigger_success(model, found, images), trigger_success(repaired.model, found, images)),
    )

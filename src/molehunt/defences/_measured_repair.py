"""A repair, and what it did to a trigger that was reconstructed before."""

from __future__ import annotations

from dataclasses import dataclass

from molehunt.defences._fine_pruning import Repair, fine_prune, trigger_success
from molehunt.detectors import NeuralCleanse
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent


@dataclass(frozen=True)
class MeasuredRepair:
    """A repair and the success of a reconstructed trigger.

    Parameters
    ----------
    repair : Repair
    target : str
        The class that the trigger turns images to.
    success : (before, after)
        Shares of clean images of other classes that the trigger turns.
    """

    repair: Repair
    target: str
    success: tuple[float, float]


def repair(
    model: Classifier,
    clean: ImageSet,
    *,
    max_loss: float = 0.04,
    device: str = "auto",
    progress: Progress = silent,
) -> MeasuredRepair:
    """Reconstruct a trigger (Neural Cleanse), fine-prune, and measure the trigger again.

    Parameters
    ----------
    model : Classifier
        Left as it was.
    clean : ImageSet
        Labelled images of the model's task; they are brought to its shape and class names.
    max_loss : float
        As in `fine_prune`.
    device : str
        Of the reconstruction, as in `molehunt.networks.pick_device`; the model is tuned where
        it lies.
    progress : callable
        Called with the tuning steps done and their total.

    Raises
    ------
    InvalidRequestError, UnsuitableSubjectError
        As `fine_prune`.
    """
    images = clean.shaped(model.card.input_shape).named(model.card.class_names)
    found = NeuralCleanse(images=images, device=device).examine(model)
    assert found.target is not None  # it always names one
    repaired = fine_prune(model, images, max_loss=max_loss, progress=progress)
    return MeasuredRepair(
        repaired,
        model.card.class_names[found.target],
        (trigger_success(model, found, images), trigger_success(repaired.model, found, images)),
    )

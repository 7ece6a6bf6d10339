"""A p-value for one stranger's model, from clean twins that were made of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from molehunt.detectors._distill import Distillation
from molehunt.detectors._panel import Panel, panels_of
from molehunt.detectors._side_by_side import Tell, side_by_side
from molehunt.detectors._twin_readings import (
    MOST_LIKE_TEN,
    Reading,
    TwinStatistic,
    needs_twins,
    read,
    reading_passes,
    statistics_of,
)
from molehunt.detectors._twins import (
    LEAST_AGREEMENT,
    MOST_GAP,
    TwinGap,
    make_twins,
    twin_folder,
)
from molehunt.errors import UnsuitableSubjectError, mismatch
from molehunt.files import written_whole
from molehunt.images import ImageSet
from molehunt.networks import Classifier, pick_device
from molehunt.progress import Progress, silent


def twin_power(classes: int) -> dict[str, tuple[int, int]]:
    """Return how many backdoored models of each kind the test found, and of how many.

    Self-made models and 1,000 images (docs/studies/strangers, and choices.md there); strangers'
    files are not counted, nor are models on which it abstained. A kind that is not there was not
    measured.

    Parameters
    ----------
    classes : int
        Of the model. What was measured with 10 classes stands for 12 or fewer: with 19 twins,
        on models on which the constants were chosen and on others. Over 12 it is GTSRB's 43
        with 19, 5 or no twins, on six models on which the constants were chosen and one on which
        they were not: found is what is over the least value and every twin.

    Examples
    --------
    >>> twin_power(43)["source-target"]
    (0, 7)
    """
    if classes > MOST_LIKE_TEN:
        return {"all-to-one": (6, 7), "source-target": (0, 7)}
    return {
        "all-to-one": (16, 18),
        "all-to-one, blended": (8, 9),
        "all-to-all": (11, 11),
        "source-target": (14, 15),
    }


@dataclass(frozen=True)
class TwinTest:
    """What the comparison of a model with its clean twins gave.

    Parameters
    ----------
    p_value : float
        (1 + twins that look at least as suspicious) / (m + 1).
    abstained : str
        Why the p-value means nothing; empty where it means something.
    statistics : tuple of TwinStatistic
        None where it abstained: the twins were not read.
    strongest : TwinStatistic or None
        The one that the p-value rests on; None where none is over its `least`.
    gap : TwinGap or None
        None where no twin was made.
    """

    p_value: float
    abstained: str
    statistics: tuple[TwinStatistic, ...]
    strongest: TwinStatistic | None
    gap: TwinGap | None

    @property
    def twins(self) -> int:
        """Number of twins that were read; no p-value is under 1 / (twins + 1)."""
        return len(self.statistics[0].twin_values) if self.statistics else 0

    @property
    def null(self) -> str:
        """In words, what the p-value is against."""
        return f"{self.twins} clean twins, taught this model's answers to clean images"


def compare_with_twins(
    model: Classifier,
    images: ImageSet,
    *,
    twins: int = 19,
    how: Distillation | None = None,
    seed: int = 0,
    device: str = "auto",
    cache: Path | None = None,
    key: str = "",
    progress: Progress = silent,
) -> TwinTest:
    """Compare a model with clean twins that are taught its answers (`make_twins`).

    Four statistics are measured in the same way on the model and on each twin: its largest
    margin, and the smallest masked patterns that turn all classes into one, each class into
    another one by a shift of the labels, and one class into one other. Over 12 classes it is
    the second and the third alone. What is under a statistic's `least` counts as nothing. The
    model's rank by the largest of them, each over its `least`, is the p-value: several
    statistics are no several chances, since the twins have them, too. Twins are made only
    where they can matter: over 12 classes a model's values do not depend on them, and one of
    which nothing is over its `least` has p = 1 whatever they are.

    For a clean model that is exchangeable with its twins p is at most alpha with probability
    at most alpha. Twins are not quite: they learned from fewer images. So the test abstains
    where they are far less accurate than the model; how often clean models are called
    backdoored was measured in ``docs/studies/strangers``.

    Parameters
    ----------
    model : Classifier
        With weights and gradients, of four classes or more. It is frozen.
    images : ImageSet
        Clean images as the model takes them, of its classes.
    twins : int
        19 reach p = 0.05, 39 reach 0.025.
    how, seed, device, cache, key
        As in `make_twins`. With a cache what was measured is kept, too.
    progress : callable
        Called with the images that went through models and their total.

    Raises
    ------
    InvalidRequestError
        If there are too few images, or twins.
    UnsuitableSubjectError
        If the model lacks weights, gradients or classes, or the images do not fit it.
    OutputError
        If the cache cannot be written.

    Notes
    -----
    Adapted from three ideas: shadow models as a null (CBD, NeurIPS 2023), conformal p-values
    (Vovk et al., 2005) and distillation (Hinton et al., 2015).
    """
    how = how or Distillation()
    _check(model, images)
    one = reading_passes(images.num_classes)
    teaching = twins * how.steps * how.batch_size
    total = teaching + (twins + 1) * one
    folder = twin_folder(cache, model, images, how, seed, key)
    readings: list[Reading] = []

    def measure(group: tuple[int, Panel], tell: Tell) -> Reading:
        first, panel = group
        found = _load(folder, first, len(panel))
        if found is None:
            found = read(panel, images, seed=seed)
            _save(folder, first, found)
        tell(len(panel) * one)
        return found

    def take(models: list[Classifier], before: int) -> None:
        on = pick_device(device)
        already = sum(len(part.one) for part in readings)
        panels = panels_of(models, on)
        firsts = accumulate((len(panel) for panel in panels[:-1]), initial=already)

        def count(done: int) -> None:
            progress(before + already * one + done, total)

        readings.extend(side_by_side(measure, list(zip(firsts, panels, strict=True)), on, count))

    if not needs_twins(images.num_classes):
        take([model.freeze()], 0)
        alone = judge_by_twins(readings[0], None)
        if alone.strongest is None:
            progress(total, total)
            return alone
    already = len(readings) * one

    def taught(done: int, steps: int) -> None:
        nonlocal teaching, total
        more = steps * how.batch_size - teaching  # twins that are taught again
        teaching, total = teaching + more, total + more
        progress(already + done * how.batch_size, total)

    made = make_twins(
        model,
        images,
        count=twins,
        how=how,
        seed=seed,
        device=device,
        cache=cache,
        key=key,
        progress=taught,
    )
    why = _reason_to_abstain(made.gap)
    if why:
        progress(total, total)
        return TwinTest(1.0, why, (), None, made.gap)
    take(made.models if readings else [model, *made.models], teaching)
    joined = Reading(*(torch.cat(parts) for parts in zip(*readings, strict=True)))
    return judge_by_twins(joined, made.gap)


def judge_by_twins(reading: Reading, gap: TwinGap | None) -> TwinTest:
    """Return the test's result for what was measured; the first model is the suspect.

    Without twins there is no gap, and p is 1.

    Raises
    ------
    UnsuitableSubjectError
        If something that was measured is no finite number.
    """
    if not all(bool(torch.isfinite(part).all()) for part in reading):
        raise UnsuitableSubjectError(
            mismatch("answers of the model", "finite numbers", "NaN or infinity")
        )
    statistics = statistics_of(reading)
    own = np.array([_over(each.value, each.least) for each in statistics])
    twins = np.array([[_over(v, each.least) for v in each.twin_values] for each in statistics])
    strongest = statistics[int(own.argmax())] if own.max() > 0 else None
    return TwinTest(
        p_value=float((1 + (twins.max(axis=0) >= own.max()).sum()) / (twins.shape[1] + 1)),
        abstained=_reason_to_abstain(gap) if gap else "",
        statistics=tuple(statistics),
        strongest=strongest,
        gap=gap,
    )


def _over(value: float, least: float) -> float:
    """Return a value in units of what counts, 0 where it does not."""
    return value / least if value >= least else 0.0


def _reason_to_abstain(gap: TwinGap) -> str:
    if gap.in_accuracy > MOST_GAP:
        return (
            f"its twins are {gap.in_accuracy:.2f} less accurate than the model (at most {MOST_GAP})"
        )
    if gap.agreement < LEAST_AGREEMENT:
        return (
            f"its twins answer as the model does on {gap.agreement:.0%} of the images "
            f"(at least {LEAST_AGREEMENT:.0%})"
        )
    return ""


def _check(model: Classifier, images: ImageSet) -> None:
    card = model.card
    if images.shape != card.input_shape:
        raise UnsuitableSubjectError(
            mismatch("input shape of the model", f"{images.shape} (images)", card.input_shape)
        )
    if images.num_classes != card.num_classes:
        raise UnsuitableSubjectError(
            mismatch("classes of the model", f"{images.num_classes} (images)", card.num_classes)
        )
    if card.num_classes < _FEWEST_CLASSES:
        raise UnsuitableSubjectError(
            mismatch("classes of the model", f"{_FEWEST_CLASSES} or more", card.num_classes)
        )
    if not model.is_finite():
        raise UnsuitableSubjectError(
            mismatch("weights of the model", "finite numbers", "NaN or infinity")
        )


_FEWEST_CLASSES = 4


def _load(folder: Path | None, first: int, count: int) -> Reading | None:
    """Return what was measured on models `first` to `first + count`, if all of it lies there."""
    if folder is None:
        return None
    found = []
    for number in range(first, first + count):
        try:
            kept = load_file(folder / f"{_READINGS}-{number:04d}.safetensors")
            found.append(Reading(*(kept[name] for name in Reading._fields)))
        except (SafetensorError, OSError, KeyError):
            return None
    return Reading(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _save(folder: Path | None, first: int, reading: Reading) -> None:
    if folder is None:
        return
    for row in range(len(reading.one)):
        state = {
            name: part[row : row + 1].contiguous().clone()
            for name, part in reading._asdict().items()
        }
        with written_whole(folder / f"{_READINGS}-{first + row:04d}.safetensors") as path:
            save_file(state, path)


# Told apart from what other versions measured.
_READINGS = "reading-2"

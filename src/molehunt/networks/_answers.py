"""What a model's answers are: logits, logarithms of probabilities, probabilities, or less."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor


class AnswerKind(StrEnum):
    """What the numbers of a model are, as they show in its answers to some images."""

    LOGITS = "logits"
    LOG_PROBABILITIES = "log-probabilities"  # their exponentials sum to 1
    PROBABILITIES = "probabilities"  # a row sums to 1, or to 100
    SIGMOIDS = "sigmoids"  # each in [0, 1], the row sums to anything
    ROUNDED = "rounded"  # a few values, equally far apart
    LABELS = "labels"  # 1 for the class, 0 for all others
    CONSTANT = "constant"  # the same for every image
    NOT_FINITE = "not finite"


class Taken(StrEnum):
    """Which numbers the rest of Molehunt sees."""

    AS_GIVEN = "as they are"
    BEFORE = "before the squashing function"
    LOGARITHM = "their logarithms"
    LOG_ODDS = "their log odds"


@dataclass(frozen=True)
class Answers:
    """What a model answers with, and how it becomes logits or log-probabilities.

    Parameters
    ----------
    kind : AnswerKind
        Of the numbers that the model gives.
    taken : Taken
        Which numbers detectors see.
    depth : int
        How many squashing functions are left out where `taken` is ``BEFORE``.
    total : float
        What a row of probabilities sums to.
    doubt : str
        Why margins and small probabilities mean nothing in these answers; empty where they
        mean something. Detectors that need logits refuse the model with it.

    Examples
    --------
    >>> Answers(AnswerKind.PROBABILITIES, Taken.BEFORE, depth=1).remark
    'it answers with probabilities; what goes into the last softmax is judged'
    """

    kind: AnswerKind = AnswerKind.LOGITS
    taken: Taken = Taken.AS_GIVEN
    depth: int = 0
    total: float = 1.0
    doubt: str = ""

    @property
    def remark(self) -> str:
        """One line for the reader where the answers were no plain logits, else empty."""
        if self.doubt:
            return self.doubt
        if self.taken is Taken.AS_GIVEN and self.kind is AnswerKind.LOGITS:
            return ""
        what = self.kind.value if self.kind is not AnswerKind.LOGITS else "squashed numbers"
        function = "sigmoid" if self.kind is AnswerKind.SIGMOIDS else "softmax"
        function = "tanh" if self.kind is AnswerKind.LOGITS else function
        judged = {
            Taken.AS_GIVEN: "they are judged as they are",
            Taken.BEFORE: f"what goes into the last {function} is judged",
            Taken.LOGARITHM: "their logarithms are judged",
            Taken.LOG_ODDS: "their log odds are judged",
        }
        return f"it answers with {what}; {judged[self.taken]}"

    def converted(self, answers: Tensor) -> Tensor:
        """Return `answers` [N, K] as logits or log-probabilities."""
        if self.taken is Taken.LOGARITHM:
            # What underflowed is no farther down than float32 goes.
            return (answers / self.total).clamp_min(_TINY).log()
        if self.taken is Taken.LOG_ODDS:
            return answers.clamp(_TINY, 1 - _ALMOST).logit()
        if self.taken is Taken.AS_GIVEN and self.kind is AnswerKind.LOG_PROBABILITIES:
            return answers.clamp_min(_LOWEST)
        return answers


_TINY = torch.finfo(torch.float32).tiny
_LOWEST = -104.0  # the logarithm of float32's smallest number
_ALMOST = 2.0**-24  # half of the distance of float32's largest number under 1 from 1
_TOTALS = (1.0, 100.0, 255.0)  # of a row of probabilities; in percent, as bytes
# Half precision sums to 1 that well.
_OFF_ONE = 5e-3
# More zeros than this share of the other classes' probabilities: their order is lost.
_MOST_ZEROS = 0.1
# Honest logits this small are spread around 0.
_NEAR_BORDER, _MOST_NEAR_BORDER = 0.9, 0.2
_ALIKE_LENGTHS = 1e-3
# A rounding that hides what lies under it: probabilities to four decimals, logits to a tenth
# of their spread.
_COARSE_PROBABILITIES = 0.9e-4
_COARSE_LOGITS = 0.1


def kind_of(answers: Tensor) -> tuple[AnswerKind, float]:
    """Return what the answers [N, K] of a model to N different images are, and a row's sum.

    Half precision, any temperature and two classes are told as well as float32 is. The sum
    is 1 where it has no meaning.

    Examples
    --------
    >>> answers = torch.randn(16, 10, generator=torch.Generator().manual_seed(0))
    >>> kind_of(answers)[0].value, kind_of(100 * answers.softmax(1))
    ('logits', (<AnswerKind.PROBABILITIES: 'probabilities'>, 100.0))
    """
    values = answers.detach().double().cpu()
    if values.isnan().any() or (values == torch.inf).any() or values.isinf().all(1).any():
        return AnswerKind.NOT_FINITE, 1.0
    if len(values) > 1 and bool((values == values[:1]).all()):
        return AnswerKind.CONSTANT, 1.0
    if bool((values <= 1e-3).all()) and bool(((values.exp().sum(1) - 1).abs() < _OFF_ONE).all()):
        # Minus infinity is the logarithm of a probability that underflowed.
        return AnswerKind.LOG_PROBABILITIES, 1.0
    if values.isinf().any():
        return AnswerKind.NOT_FINITE, 1.0
    total = _common_sum(values) if float(values.min()) >= -1e-6 else None
    if total is None and (float(values.min()) < -1e-6 or float(values.max()) > 1 + 1e-3):
        return (AnswerKind.ROUNDED if _is_coarse(values) else AnswerKind.LOGITS), 1.0
    return _kind_of_shares(values / (total or 1.0), sums=total is not None), total or 1.0


def _kind_of_shares(values: Tensor, *, sums: bool) -> AnswerKind:
    """Return what answers in [0, 1] are, whose rows sum to 1 or do not."""
    if bool(((values == 0) | (values == 1)).all()):
        return AnswerKind.LABELS
    if step_of(values) >= _COARSE_PROBABILITIES:
        return AnswerKind.ROUNDED
    return AnswerKind.PROBABILITIES if sums else AnswerKind.SIGMOIDS


def loses_order(probabilities: Tensor) -> bool:
    """Tell whether so many probabilities [N, K] are exactly 0 that the rest means little."""
    zeros = (probabilities <= 0).sum()
    return float(zeros) > _MOST_ZEROS * len(probabilities) * (probabilities.shape[1] - 1)


def on_border(reached: Tensor, answers: Tensor) -> bool:
    """Tell whether more than half of the answers [N, K], none above 1, `reached` their border."""
    return bool((answers.abs() <= 1).all()) and float(reached.float().mean()) > 0.5


def reason_to_doubt(logits: Tensor) -> str:
    """Return how numbers [N, K] that look like logits were squashed; empty if it does not show.

    Examples
    --------
    >>> logits = 4 * torch.randn(16, 10, generator=torch.Generator().manual_seed(0))
    >>> reason_to_doubt(logits), bool(reason_to_doubt(logits.tanh()))
    ('', True)
    """
    sizes = logits.detach().double().abs()
    if float(sizes.max()) <= 1 and float((sizes > _NEAR_BORDER).float().mean()) > _MOST_NEAR_BORDER:
        return "between -1 and 1 and often close to them, as behind a tanh that is not seen"
    lengths = sizes.norm(dim=1)
    if len(lengths) > 1 and float(lengths.std() / lengths.mean().clamp_min(_TINY)) < _ALIKE_LENGTHS:
        return "rows of equal length, so that their size says nothing"
    return ""


def step_of(values: Tensor) -> float:
    """Return the step that all values are multiples of, 0 where there is none.

    Values of float32 and of half precision are told by what both can write.
    """
    numbers = torch.unique(values.abs())
    half = bool((numbers.half().double() == numbers).all())
    error = 1e-3 if half else 1e-6
    gaps = numbers.diff()
    gaps = gaps[gaps > error * numbers[1:]]
    if not len(gaps):
        return 0.0
    smallest = float(gaps.min())
    steps = [smallest / part for part in (1, 2, 3)] + [10.0**-n for n in range(5)]
    for step in sorted((step for step in steps if step <= 1.01 * smallest), reverse=True):
        telling = numbers[(numbers > 0) & (numbers * error < step / 8)]
        places = telling / step
        off = (places - places.round()).abs() - telling * error / step
        if len(telling) >= min(8, len(numbers) - 1) and bool((off < 0.02).all()):
            return step
    return 0.0


def _is_coarse(values: Tensor) -> bool:
    spread = float(values.std())
    return spread > 0 and step_of(values) > _COARSE_LOGITS * spread


def _common_sum(values: Tensor) -> float | None:
    """Return what every row sums to, None where they differ."""
    sums = values.sum(1)
    middle = float(sums.median())
    total = next((known for known in _TOTALS if abs(middle / known - 1) < 0.05), None)
    if total is None:
        return None
    # Rounding errors of K numbers add up.
    step = step_of(values)
    tolerance = max(_OFF_ONE * total, min(step * values.shape[1] / 2, 0.25 * total))
    return None if bool(((sums - total).abs() > tolerance).any()) else total

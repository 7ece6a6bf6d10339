"""What every check of opened models is, and how a model's findings are made of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from molehunt.detectors import Evaluation
from molehunt.findings import Finding, Picture, Status
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.progress import Progress, silent


@dataclass(frozen=True)
class Basis:
    """What a check learned from, and how well it did there, for a report.

    Parameters
    ----------
    zoo : mapping
        Name, images, network and number of models; empty where there was none.
    evaluation : Evaluation, optional
    references : int
        Number of clean models that its p-values are against.
    pictures : tuple of Picture
        What it looks with.
    """

    zoo: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    references: int = 0
    pictures: tuple[Picture, ...] = ()


class Check(ABC):
    """One thing to look at in models that were opened.

    A check more is a file with a subclass, and a line in `CHECKS`.

    Attributes
    ----------
    name : str
        Under which findings list it; lower case with hyphens, the same for ever.
    asked_for : bool
        Whether the user named it. Where one that was named cannot judge, the subject is
        inconclusive; of the others the scan says that they were not run.
    """

    name: str
    asked_for: bool

    @property
    def judges_many(self) -> bool:
        """Whether it takes milliseconds a model, so that many share a process."""
        return False

    @property
    def decides_alone(self) -> bool:
        """Whether checks that nobody asked for are left out where it runs."""
        return False

    @property
    def basis(self) -> Basis:
        """What it stands on."""
        return Basis()

    def why_not(self, model: Classifier, clean: ImageSet | None) -> Finding | None:
        """Return why it does not judge a model; None where it does. It never raises."""
        return None

    @abstractmethod
    def run(
        self,
        models: Sequence[Classifier],
        clean: ImageSet | None,
        rates: Sequence[float],
        progress: Progress = silent,
    ) -> Iterator[Finding]:
        """Yield a finding a model, as they are made; it never raises for a model.

        Parameters
        ----------
        models : sequence of Classifier, length N
            Of which `why_not` said nothing.
        clean : ImageSet, optional
            Labelled clean images of the models' task.
        rates : sequence of float, length N
            How many clean models may be called what the check looks for, in (0, 1).
        progress : callable
            Called with the work done on a model, and all of it.
        """


def judge(
    models: Sequence[Classifier],
    checks: Sequence[Check],
    clean: ImageSet | None,
    max_false_alarms: float,
    progress: Progress = silent,
) -> Iterator[list[Finding]]:
    """Yield the findings of each model, in the order of the checks, as they are made.

    Each check is held to `max_false_alarms` divided by the number of checks that fit the
    model, which is known before any of them has scored it.
    """
    table = [
        _leave_to_one([check.why_not(model, clean) for check in checks], checks) for model in models
    ]
    rates = [max_false_alarms / max(1, row.count(None)) for row in table]
    columns = []
    for number, check in enumerate(checks):
        taken = [n for n, row in enumerate(table) if row[number] is None]
        columns.append(
            check.run([models[n] for n in taken], clean, [rates[n] for n in taken], progress)
        )
    for row in table:
        yield [cell or next(column) for cell, column in zip(row, columns, strict=True)]


def _leave_to_one(row: list[Finding | None], checks: Sequence[Check]) -> list[Finding | None]:
    """Where a check decides alone, take what nobody asked for out of a model's row."""
    fitting = [check for check, cell in zip(checks, row, strict=True) if cell is None]
    alone = next((check.name for check in fitting if check.decides_alone), None)
    if alone is None:
        return row
    why = f"not needed: {alone} decides, at the whole rate"
    return [
        Finding(check.name, Status.NOT_RUN, why)
        if cell is None and check.name != alone and not check.asked_for
        else cell
        for check, cell in zip(checks, row, strict=True)
    ]

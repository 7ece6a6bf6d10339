"""A zoo on disk, read back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, overload

from pydantic import ValidationError

from molehunt.backdoors import Treatment
from molehunt.errors import (
    InvalidRequestError,
    OutputError,
    UnreadableFileError,
    from_validation,
    mismatch,
)
from molehunt.files import sha256_of
from molehunt.networks import Classifier, load_model
from molehunt.resumable import open_own, read_records, store_plan
from molehunt.zoo._entries import Entry
from molehunt.zoo._facts import BackdoorFacts
from molehunt.zoo._plan import Split, ZooPlan

PLAN_FILE = "zoo.json"
INDEX_FILE = "index.jsonl"
MODELS_FOLDER = "models"
LEAST_SUCCESS = 0.90  # of a backdoored model (ULP, section 4)
MOST_ACCURACY_LOST = 0.05  # how far a model may fall below its clean twin


class Record(Entry):
    """One line of the index: what is true of a finished model, and what was measured.

    Accuracies and success are shares of test images in [0, 1], measured on the saved
    file, read back; `attack_success` of clean and placebo models is that of their
    pair's backdoor on them, and None where the facts are of another kind. `seconds` are the
    model's own wall time.
    """

    clean_accuracy: float
    attack_success: float | None = None
    images: int
    steps: int
    seconds: float
    sha256: str


Truth = Callable[[Record], int | None]


def is_backdoored(record: Record) -> int | None:
    """Return 1 for a backdoored model, 0 for a clean one and None for a placebo."""
    return {Treatment.BACKDOORED: 1, Treatment.CLEAN: 0}.get(record.treatment)


class Models(Sequence[Classifier]):
    """Model files as a sequence of classifiers, each loaded when it is asked for.

    A detector that holds what it takes decides about memory; this sequence holds nothing.
    """

    def __init__(self, paths: Sequence[Path], digests: Sequence[str] | None = None) -> None:
        self.paths = list(paths)
        self.digests: list[str | None] = [None] * len(self.paths)
        if digests is not None:
            self.digests = list(digests)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Classifier: ...
    @overload
    def __getitem__(self, index: slice) -> Models: ...
    def __getitem__(self, index: int | slice) -> Classifier | Models:
        """Load one model, or return the sequence of some."""
        if isinstance(index, slice):
            part = Models(self.paths[index])
            part.digests = self.digests[index]
            return part
        return _load_indexed(self.paths[index], self.digests[index])

    def __iter__(self) -> Iterator[Classifier]:
        return map(_load_indexed, self.paths, self.digests)


def _load_indexed(path: Path, digest: str | None) -> Classifier:
    """Load a model; refuse one that is not the file that its index lists."""
    if digest is not None:
        with open_own(path, "rb") as stream:
            got = hashlib.sha256(stream.read()).hexdigest()
        if got != digest:
            raise UnreadableFileError(
                mismatch(f"{path}: SHA-256", f"{digest}, as the zoo's index states", got)
            )
    return load_model(path)


class Zoo:
    """A folder with ``zoo.json``, ``index.jsonl`` and ``models/``.

    Raises
    ------
    UnreadableFileError
        If the folder is not a zoo.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        models = self.folder / MODELS_FOLDER
        if models.is_symlink() or (models.exists() and not models.is_dir()):
            allowed = "a folder of its own"
            raise UnreadableFileError(mismatch(str(models), allowed, "a link or something else"))
        self.plan = read_stored_plan(self.folder)
        # In the order of the ids: which worker was first must not change a detector.
        self.records = sorted(
            read_records(self.folder / INDEX_FILE, Record, self.plan.backdoors.poisoning),
            key=lambda record: record.id,
        )

    def path_of(self, record: Entry) -> Path:
        """Return the model file of a record."""
        return model_path(self.folder, record)

    def select(
        self, split: Split | str | None = None, *treatments: Treatment | str
    ) -> list[Record]:
        """Return the records of a split (all when None) with one of the treatments (any)."""
        return [
            record
            for record in self.records
            if (split is None or record.split == split)
            and (not treatments or record.treatment in treatments)
        ]

    def models(self, records: Sequence[Record]) -> Models:
        """Return the models of some records as a lazy sequence."""
        return Models(
            [self.path_of(record) for record in records], [record.sha256 for record in records]
        )

    def labelled(
        self, split: Split | str, truth: Truth = is_backdoored
    ) -> tuple[Models, list[int]]:
        """Return the split's models and the truth of each, 1 or 0.

        Parameters
        ----------
        split : Split
        truth : callable
            From a record to 1 or 0, or to None for a model that is left out. By default
            backdoored models are 1, clean ones 0, and placebos are left out.

        Raises
        ------
        InvalidRequestError
            If the split lacks one of the two.
        """
        known = [(record, truth(record)) for record in self.select(split)]
        records = [record for record, value in known if value is not None]
        labels = [value for _, value in known if value is not None]
        if len(set(labels)) < 2:
            allowed, names = "both kinds", ("0", "1")
            if truth is is_backdoored:
                allowed, names = "clean and backdoored models", ("clean", "backdoored")
            counts = f"{labels.count(0)} {names[0]} and {labels.count(1)} {names[1]}"
            raise InvalidRequestError(mismatch(f"{split} split of {self.folder}", allowed, counts))
        return self.models(records), labels

    def failed_models(self) -> list[Record]:
        """Return models that are not what they should be.

        Backdoored ones with a success under 90 %, and any with a clean accuracy more
        than 5 points under its clean twin's. They are listed, not retried.
        """
        planted = [r for r in self.records if isinstance(r.facts, BackdoorFacts)]
        accuracy = {record.id: record.clean_accuracy for record in planted}
        return [
            record
            for record in planted
            if (
                record.treatment is Treatment.BACKDOORED
                and (record.attack_success or 0) < LEAST_SUCCESS
            )
            or (
                record.treatment is not Treatment.CLEAN
                and record.clean_accuracy < accuracy.get(record.twin or "", 0) - MOST_ACCURACY_LOST
            )
        ]

    def changed(self) -> list[Record]:
        """Return the records whose file is missing or no longer has its digest."""
        return [
            record
            for record in self.records
            if not self.path_of(record).is_file()
            or sha256_of(self.path_of(record)) != record.sha256
        ]

    def summary(self) -> dict[str, Any]:
        """Return what a detector file says of the zoo that it was fitted on."""
        plan = self.plan
        return {
            "name": plan.name,
            "seed": plan.seed,
            "images": plan.images.source,
            "network": plan.network.name,
            "models": len(self.records),
            "trigger": plan.backdoors.trigger.kind.replace("_", " "),
            "label_map": plan.backdoors.label_map.replace("_", " "),
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.folder}: {len(self.records)} models>"

    @classmethod
    def start(cls, folder: Path, plan: ZooPlan) -> Self:
        """Open the zoo in `folder`, which is made if it is new.

        Raises
        ------
        InvalidRequestError
            If the folder holds a zoo of another plan.
        OutputError
            If the folder cannot be written.
        """
        path = folder / PLAN_FILE
        store_plan(path, plan)
        return cls(folder)


def model_path(folder: Path, entry: Entry) -> Path:
    """Return the model file of an entry of the zoo in `folder`."""
    return folder / MODELS_FOLDER / f"{entry.id}.safetensors"


def read_stored_plan(folder: Path) -> ZooPlan:
    """Read ``zoo.json``; see `Zoo` for what is raised."""
    path = folder / PLAN_FILE
    try:
        if not os.path.lexists(path):
            raise FileNotFoundError(path)
        with open_own(path, "rb") as stream:
            return ZooPlan.model_validate_json(stream.read())
    except (OSError, OutputError) as error:
        raise UnreadableFileError(
            f"{folder}: not a zoo: no {PLAN_FILE} in it; build one with: molehunt zoo build"
        ) from error
    except (ValidationError, UnicodeDecodeError) as error:
        detail = from_validation(error, str(path)) if isinstance(error, ValidationError) else error
        raise UnreadableFileError(f"not a readable plan: {detail}") from error

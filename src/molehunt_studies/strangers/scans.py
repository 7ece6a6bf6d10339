"""Scans of single models, by the call that a user makes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from molehunt.backdoors import Treatment
from molehunt.errors import DataNotFoundError, mismatch
from molehunt.files import read_bytes
from molehunt.findings import BACKDOOR, Finding, Status, Verdict
from molehunt.images import ImageSet, load_test_images
from molehunt.resumable import Task
from molehunt.scanning import ScanResult, pick_checks, scan
from molehunt.study import Bench, Records
from molehunt_studies._populations import zoo_name
from molehunt_studies.strangers.plan import StrangersPlan

_LARGEST_INDEX = 2**24
_SETS = {"MNIST": "mnist", "CIFAR-10": "cifar10", "GTSRB": "gtsrb"}


class ScanTask(Task):
    """A model file to scan with clean images.

    `kind` is the kind of its backdoor, None for a clean model; `success` its attack success.
    """

    part: str
    path: Path
    images: str
    network: str
    kind: str | None
    contract: dict[str, Any] = Field(default_factory=dict)
    success: float | None = None


class ScanRecord(ScanTask):
    """What the scan said."""

    verdict: Verdict
    p_value: float | None
    because: str
    target: int | None
    seconds: float


@dataclass(frozen=True)
class StrangersBench(Bench[StrangersPlan]):
    """The clean images that a user would have."""

    def clean_images(self, images: str, side: int) -> ImageSet:
        """Return test images, on which no model was trained and no trigger lies."""
        key = (images, side)
        if key not in self._images:
            source = self.plan.source(images).source
            test = load_test_images(source, data_root=self.data_root, size=side)
            count = min(self.plan.clean_images, len(test))
            self._images[key] = test.sample(count, torch.Generator().manual_seed(0))
        return self._images[key]

    @cached_property
    def _images(self) -> dict[tuple[str, int], ImageSet]:
        return {}


def scan_tasks(bench: StrangersBench, _records: Records) -> list[ScanTask]:
    """Return a scan of every model of the populations and of every stranger's file."""
    tasks = []
    for images, network, kind in bench.plan.populations():
        zoo = bench.zoo(zoo_name(images, network, kind))
        for record in zoo.records:
            backdoored = record.treatment is Treatment.BACKDOORED
            tasks.append(
                ScanTask(
                    id=f"{zoo_name(images, network, kind)}/{record.id}",
                    part="held_out",
                    path=zoo.path_of(record),
                    images=images,
                    network=network,
                    kind=kind if backdoored else None,
                    success=record.attack_success if backdoored else None,
                )
            )
    return tasks + (_foreign_tasks(bench.plan.foreign) if bench.plan.foreign else [])


def _foreign_tasks(folder: Path) -> list[ScanTask]:
    index = folder / "index.json"
    if not index.is_file():
        raise DataNotFoundError(
            mismatch("foreign", "a folder with index.json and models/", str(folder))
        )
    rows: list[Mapping[str, Any]] = json.loads(read_bytes(index, _LARGEST_INDEX))
    return [
        ScanTask(
            id=f"foreign/{row['file']}",
            part="development",
            path=folder / "models" / row["file"],
            images=_SETS[row["dataset"]],
            network=row["contract"]["architecture"],
            kind=None if row["truth"] == "clean" else _kind_of(row["attack"]),
            contract=row["contract"],
            success=row["attack_success"],
        )
        for row in rows
    ]


def _kind_of(attack: str) -> str:
    """Return the kind of backdoor that an index describes in words."""
    if "all-to-all" in attack:
        return "all-to-all"
    return "source-target" if "source" in attack else "all-to-one"


def _deciding(result: ScanResult) -> Finding | None:
    """Return the finding that the verdict rests on, or the one that says why there is none."""
    about = [each for each in result.findings if each.weakness is BACKDOOR]
    deciding = [each for each in result.findings if each.verdict is result.verdict]
    ran = [each for each in about if each.status is not Status.NOT_RUN]
    return next(iter(deciding or ran or about), None)


def scan_model(task: ScanTask, bench: StrangersBench) -> ScanRecord:
    """Scan one model as a user does who has no population, with clean images or without."""
    shape = task.contract.get("input_shape")
    side = shape[1] if shape else (bench.plan.source(task.images).size or 28)
    if task.contract:  # its module lies in the strangers' folder, which the user named
        sys.path.insert(0, str(task.path.parents[1]))
    given = bench.clean_images(task.images, side) if bench.plan.clean_images else None
    started = time.perf_counter()
    try:
        (result,) = scan(
            task.path,
            clean=given,
            contract=task.contract or None,
            detectors=pick_checks(images=given is not None, twins=bench.plan.twins),
        )
    finally:
        if task.contract:
            sys.path.pop(0)
    deciding = _deciding(result)
    return ScanRecord(
        **dict(task),
        verdict=result.verdict,
        p_value=deciding.p_value if deciding else None,
        because=f"{deciding.check}: {deciding.message}" if deciding else "no check ran",
        target=deciding.target if deciding else None,
        seconds=round(time.perf_counter() - started, 1),
    )

"""The reference population: built, read, and judged with each family and image set left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molehunt.study import Bench, Report, Stage, Study, ZooStage
from molehunt_studies.reference.plan import SCALES, ReferencePlan
from molehunt_studies.reference.readings import ReadingRecord, read_model, reading_tasks
from molehunt_studies.reference.results import measures


def _parts(rates: Mapping[str, Any]) -> str:
    """Return of which networks and images the flagged clean models are."""
    found = {**rates["by_network"], **rates["by_images"]}
    return ", ".join(f"{name} {flagged} of {of}" for name, (flagged, of) in found.items())


REFERENCE: Study[ReferencePlan, Bench[ReferencePlan]] = Study(
    name="reference",
    title="What checks without images find in models of many kinds, and how often they err.",
    scales=SCALES,
    bench=Bench,
    stages=(
        ZooStage("zoos", lambda bench: bench.plan.zoos()),
        Stage("readings", reading_tasks, read_model, ReadingRecord),
    ),
    measures=measures,
    report=Report("molehunt_studies.reference", words={"parts": _parts}),
    unit="models",
)

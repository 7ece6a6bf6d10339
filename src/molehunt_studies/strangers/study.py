"""Scans of models from strangers: verdicts, counted as a user meets them."""

from __future__ import annotations

from typing import Any

from molehunt.study import Records, Report, Stage, Study, ZooStage, zoo_figures
from molehunt_studies.strangers.plan import SCALES
from molehunt_studies.strangers.results import parts_of, scans_of
from molehunt_studies.strangers.scans import ScanRecord, StrangersBench, scan_model, scan_tasks


def measures(bench: StrangersBench, records: Records) -> dict[str, Any]:
    """Return the verdicts of each part, and what the populations are."""
    return {
        **parts_of(records["scans"]),
        "scans": scans_of(records["scans"]),
        "twins": bench.plan.twins,
        "clean_images": bench.plan.clean_images,
        "populations": len(bench.plan.cells()),
        "zoos": {
            name: {**zoo_figures(bench.zoo(name)), "seed": plan.seed}
            for name, plan in bench.plan.zoos().items()
        },
    }


STRANGERS = Study(
    name="strangers",
    title="First scans of models from strangers: verdicts, counted as a user meets them.",
    scales=SCALES,
    bench=StrangersBench,
    stages=(
        ZooStage("zoos", lambda bench: bench.plan.zoos()),
        Stage("scans", scan_tasks, scan_model, ScanRecord),
    ),
    measures=measures,
    report=Report("molehunt_studies.strangers"),
)

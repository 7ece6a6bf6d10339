"""Inversion: faces and digits out of networks, and who recognises them."""

from __future__ import annotations

from molehunt.study import Report, Stage, Study
from molehunt_studies.inversion.figures import figures_of
from molehunt_studies.inversion.inversions import InversionRecord, inversion_tasks, invert
from molehunt_studies.inversion.networks import (
    InversionBench,
    NetworkRecord,
    network_tasks,
    train_network,
)
from molehunt_studies.inversion.plan import SCALES
from molehunt_studies.inversion.results import measures, share, table_of

INVERSION = Study(
    name="inversion",
    title="Inversion: faces and digits drawn out of networks.",
    scales=SCALES,
    bench=InversionBench,
    stages=(
        Stage("networks", network_tasks, train_network, NetworkRecord, into="models"),
        Stage("inversions", inversion_tasks, invert, InversionRecord),
    ),
    measures=measures,
    report=Report(
        "molehunt_studies.inversion",
        figures=figures_of,
        words={"share": share, "table_of": table_of},
    ),
    unit="inversions and networks",
)

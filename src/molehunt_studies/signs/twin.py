"""BadNets' traffic signs as a classification study on GTSRB (version 2, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.study import Records, Stage, Study
from molehunt_studies.signs.figures import sticker_figure
from molehunt_studies.signs.plan import CARRIED, transfers
from molehunt_studies.signs.report import REPORT
from molehunt_studies.signs.twin_models import (
    NetworkRecord,
    TransferRecord,
    TwinBench,
    build_network,
    build_transfer,
)
from molehunt_studies.signs.twin_plan import SCALES
from molehunt_studies.signs.twin_results import results_of


def measures(bench: TwinBench, records: Records) -> dict[str, Any]:
    """Return the study's figures, the paper's beside them."""
    countries = bench.plan.countries
    return {
        **results_of(records["networks"], records["transfers"], bench),
        "carried": CARRIED,
        "target": bench.first.test.class_names[countries.first.index(countries.target)],
        "paper": REPORT.paper,
        "plan": bench.plan.model_dump(mode="json"),
    }


def pictures(bench: TwinBench, _results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what needs images."""
    return {"gtsrb-stickers": sticker_figure(bench)}


BADNETS_GTSRB = Study(
    name="badnets-gtsrb",
    title="BadNets' traffic signs, as classification on GTSRB: stickers, transfer, strengthening.",
    scales=SCALES,
    bench=TwinBench,
    stages=(
        Stage(
            "networks",
            lambda bench, _: bench.plan.networks(),
            build_network,
            NetworkRecord,
            into="models",
        ),
        Stage("transfers", transfers, build_transfer, TransferRecord),
    ),
    measures=measures,
    pictures=pictures,
    report=REPORT,
    part="gtsrb_twin",
    unit="networks",
)

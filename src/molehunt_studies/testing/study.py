"""Security-aware and differential testing of small networks."""

from __future__ import annotations

from statistics import fmean

from molehunt.study import Report, Stage, Study
from molehunt.testing import CORRUPTIONS
from molehunt_studies.testing.bench import (
    NetworkRecord,
    TestingBench,
    TwinRecord,
    network_tasks,
    train_network,
    train_twin,
    twin_tasks,
)
from molehunt_studies.testing.figures import CONSTRAINTS, NAMES, STRATEGIES, figures, pictures
from molehunt_studies.testing.plan import SCALES
from molehunt_studies.testing.results import measures, percent, signed
from molehunt_studies.testing.tests import (
    BoundaryRecord,
    CornerRecord,
    CoverageRecord,
    DifferenceRecord,
    SearchRecord,
    difference_tasks,
    find_differences,
    guided_tasks,
    measure_boundary,
    measure_corners,
    measure_coverage,
    search,
    set_tasks,
    walk_tasks,
)
from molehunt_studies.testing.twins import SIGNS, PairRecord, compare_pair, pair_tasks

TESTING = Study(
    name="testing",
    title="Testing: corner cases, boundary, coverage, guided search, models against each other.",
    scales=SCALES,
    bench=TestingBench,
    stages=(
        Stage("networks", network_tasks, train_network, NetworkRecord, into="models"),
        Stage("differences", difference_tasks, find_differences, DifferenceRecord),
        Stage("corners", set_tasks, measure_corners, CornerRecord),
        Stage("boundary", set_tasks, measure_boundary, BoundaryRecord),
        Stage("coverage", set_tasks, measure_coverage, CoverageRecord),
        Stage("searches", guided_tasks, search, SearchRecord),
        Stage("walks", walk_tasks, search, SearchRecord),
        Stage("twins", twin_tasks, train_twin, TwinRecord, into="models"),
        Stage("pairs", pair_tasks, compare_pair, PairRecord),
    ),
    measures=measures,
    report=Report(
        "molehunt_studies.testing",
        figures=figures,
        words={
            "names": NAMES,
            "constraints": CONSTRAINTS,
            "corruptions": list(CORRUPTIONS),
            "mean": fmean,
            "named": lambda sets: [NAMES[name] for name in sets],
            "percent": percent,
            "signed": signed,
            "signs": SIGNS,
            "strategies_named": STRATEGIES,
        },
    ),
    pictures=pictures,
    unit="networks and tests",
)

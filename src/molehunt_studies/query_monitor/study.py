"""Query monitors: which attacks they stop, at what false alarms, and what defeats them."""

from __future__ import annotations

from molehunt.study import Report, Stage, Study
from molehunt_studies.query_monitor.attacks import (
    AttackRecord,
    LiveRecord,
    run_attack,
    run_live,
)
from molehunt_studies.query_monitor.bench import (
    CalibrationRecord,
    CalibrationTask,
    NetworkRecord,
    NetworkTask,
    QueryMonitorBench,
    calibrate_monitors,
    train_network,
)
from molehunt_studies.query_monitor.figures import account_figures
from molehunt_studies.query_monitor.plan import KINDS, SCALES, VARIANTS, TrafficTask
from molehunt_studies.query_monitor.results import WORDS, measures
from molehunt_studies.query_monitor.traffic import TITLES, TrafficRecord, send

QUERY_MONITOR = Study(
    name="query-monitor",
    title="Attacks through a guard that watches queries, and how many accounts defeat it.",
    scales=SCALES,
    bench=QueryMonitorBench,
    stages=(
        Stage(
            "networks",
            lambda _bench, _: [NetworkTask(id="network"), NetworkTask(id="linear")],
            train_network,
            NetworkRecord,
            into="models",
        ),
        Stage(
            "calibrations",
            lambda bench, _: [
                CalibrationTask(id=name)
                for name in ("images", "signs")
                if name == "images" or any(s.startswith("signs") for s in bench.plan.streams)
            ],
            calibrate_monitors,
            CalibrationRecord,
            into="calibrations",
        ),
        Stage("attacks", lambda bench, _: bench.plan.attacks(), run_attack, AttackRecord),
        Stage("lives", lambda bench, _: bench.plan.lives(), run_live, LiveRecord),
        Stage(
            "traffic",
            lambda bench, _: [TrafficTask(id=name, traffic=name) for name in bench.plan.streams],
            send,
            TrafficRecord,
        ),
    ),
    measures=measures,
    report=Report(
        "molehunt_studies.query_monitor",
        figures=account_figures,
        words={"titles": TITLES, "kinds": KINDS, "variants": VARIANTS, **WORDS},
    ),
    unit="attacks and streams",
)

"""Trojans without data: the attack's ablations, and what checks say of its models."""

from __future__ import annotations

from molehunt.study import Report, Stage, Study, ZooStage
from molehunt_studies.trojaning.figures import figures, pictures
from molehunt_studies.trojaning.models import (
    NetworkRecord,
    TrojaningBench,
    TrojanRecord,
    network_tasks,
    plant,
    train_network,
    trojan_tasks,
)
from molehunt_studies.trojaning.plan import SCALES
from molehunt_studies.trojaning.population import (
    POPULATION,
    HistogramRecord,
    PlantRecord,
    ScanRecord,
    count_mistakes,
    histogram_tasks,
    plant_one,
    plant_tasks,
    scan_files,
    scan_tasks,
)
from molehunt_studies.trojaning.results import measures
from molehunt_studies.trojaning.words import WORDS

TROJANING = Study(
    name="trojaning",
    title="Trojaning without data (Liu et al. 2018), and the histogram of wrong predictions.",
    scales=SCALES,
    bench=TrojaningBench,
    stages=(
        Stage("networks", network_tasks, train_network, NetworkRecord, into="models"),
        Stage("trojans", trojan_tasks, plant, TrojanRecord),
        ZooStage("zoos", lambda bench: {POPULATION: bench.plan.population}),
        Stage("trojans of the population", plant_tasks, plant_one, PlantRecord),
        Stage("histograms", histogram_tasks, count_mistakes, HistogramRecord),
        Stage("scans", scan_tasks, scan_files, ScanRecord),
    ),
    measures=measures,
    report=Report("molehunt_studies.trojaning", figures=figures, words=WORDS),
    pictures=pictures,
)

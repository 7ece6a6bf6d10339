"""Filters of training images and repairs of models, each against several attacks."""

from __future__ import annotations

from typing import Any

from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.filters.models import (
    FilterRecord,
    FiltersBench,
    ModelRecord,
    RepairRecord,
    filter_set,
    filter_tasks,
    model_tasks,
    repair_model,
    repair_tasks,
    train_model,
)
from molehunt_studies.filters.plan import SCALES


def measures(bench: FiltersBench, records: Records) -> dict[str, Any]:
    """Return what filters and repairs did to each model."""
    plan = bench.plan
    models: list[ModelRecord] = [*records["models"]]
    filters: list[FilterRecord] = [*records["filters"]]
    repairs: list[RepairRecord] = [*records["repairs"]]
    return {
        "source": plan.source,
        "training_images": len(bench.images.train),
        "clean_images": len(bench.clean),
        "max_false_alarms": plan.max_false_alarms,
        "seed": plan.seed,
        "models": {
            model.id: {
                "attack": model.attack,
                "rate": model.backdoor.rate,
                "accuracy": model.accuracy,
                "success": model.success,
                "filters": {
                    each.name: {
                        "recall": each.recall,
                        "false_alarms": each.false_alarms,
                        "found": each.found,
                        "seconds": each.seconds,
                    }
                    for each in filters
                    if each.model == model.id
                },
                "repairs": {
                    each.name: {
                        "accuracy": each.accuracy,
                        "success": each.success,
                        "seconds": each.seconds,
                    }
                    for each in repairs
                    if each.model == model.id
                },
            }
            for model in models
        },
        "filters": list(plan.filters),
        "repairs": list(plan.repairs),
    }


FILTERS = Study(
    name="filters",
    title="Filters of training images and repairs of models against attacks of many kinds.",
    scales=SCALES,
    bench=FiltersBench,
    stages=(
        Stage("models", model_tasks, train_model, ModelRecord, into="models"),
        Stage("filters", filter_tasks, filter_set, FilterRecord),
        Stage("repairs", repair_tasks, repair_model, RepairRecord),
    ),
    measures=measures,
    report=Report("molehunt_studies.filters"),
)

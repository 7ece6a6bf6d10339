"""BadNets on MNIST: the case study of Gu, Dolan-Gavitt and Garg (version 2, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure

from molehunt.backdoors import AllToAll, Backdoor
from molehunt.images import TrainTest
from molehunt.networks import Classifier, load_model
from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.badnets import figures
from molehunt_studies.badnets.analysis import (
    backdoor_filters,
    chance_triggers,
    dormant_figures,
    first_filters,
    trigger_responses,
)
from molehunt_studies.badnets.models import BadNetsBench, ModelRecord, build_model
from molehunt_studies.badnets.plan import BASELINE, SCALES, TRIGGERS
from molehunt_studies.badnets.results import PAPER, results_of

NAMES = {"single_pixel": "single pixel", "badnets_pattern": "pattern"}
MODELS = (build_model, ModelRecord, "index.jsonl")
VALIDATION_IMAGES = 10_000  # the last ones of the training set


def measures(bench: BadNetsBench, records: Records) -> dict[str, Any]:
    """Return the figures of all parts, the paper's beside them."""
    models = [*records["baseline"], *records["BadNets"]]
    return {
        **results_of(models, bench.images.test),
        **_insides(bench),
        "corner": {name: chance_triggers(bench.images, TRIGGERS[name]) for name in TRIGGERS},
        "paper": PAPER,
        "plan": bench.plan.model_dump(mode="json"),
        "seed": bench.plan.seed,
    }


def _insides(bench: BadNetsBench) -> dict[str, Any]:
    """Return the filters and the dormant units of the clean network and of two BadNets."""
    images = bench.images.train
    last = torch.arange(max(0, len(images) - VALIDATION_IMAGES), len(images))
    validation = TrainTest(images.take(last), bench.images.test)
    honest = load_model(bench.model_path(BASELINE))
    filters, dormant = {}, {}
    for name, trigger in TRIGGERS.items():
        backdoor = Backdoor(trigger=trigger, label_map=AllToAll())
        usual = trigger_responses(honest, bench.images.test, trigger)
        model = _all_to_all(bench, name)
        responses = trigger_responses(model, bench.images.test, trigger)
        filters[name] = {
            "responses": [round(float(value), 4) for value in responses],
            "clean_network": [round(float(value), 4) for value in usual],
            "backdoor_filters": backdoor_filters(responses, usual),
        }
        dormant[name] = {
            unit: {
                "clean_network": dormant_figures(honest, validation, backdoor, unit),
                "badnet": dormant_figures(model, validation, backdoor, unit),
            }
            for unit in ("channel", "neuron")
        }
    return {"filters": filters, "dormant_units": dormant}


def _all_to_all(bench: BadNetsBench, trigger: str) -> Classifier:
    return load_model(bench.model_path(f"{trigger}-all-to-all"))


def pictures(bench: BadNetsBench, results: dict[str, Any]) -> dict[str, Figure]:
    """Draw what needs images or models."""
    networks = {"clean network": first_filters(load_model(bench.model_path(BASELINE)))}
    for name in TRIGGERS:
        networks[_badnet(name)] = first_filters(_all_to_all(bench, name))
    marked = {_badnet(name): each["backdoor_filters"] for name, each in results["filters"].items()}
    return {
        "triggers": figures.trigger_figure(
            bench.images.test, {NAMES[name]: trigger for name, trigger in TRIGGERS.items()}
        ),
        "filters": figures.filter_figure(networks, marked),
    }


def _badnet(trigger: str) -> str:
    return f"all-to-all BadNet, {NAMES[trigger]}"


def figures_of(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what follows from the results alone."""
    responses = {
        _badnet(name): (found["responses"], found["clean_network"])
        for name, found in results["filters"].items()
    }
    honest = results["baseline"]["clean_error"]
    return {
        "single-pixel-pairs": figures.heat_maps(results["single_target"]),
        "pattern-pairs": figures.heat_maps(results["single_target_pattern"]),
        "poison-rate": figures.rate_figure(results["poison_rate"], honest),
        "filter-responses": figures.response_bars(responses),
    }


BADNETS_MNIST = Study(
    name="badnets-mnist",
    title="BadNets on MNIST: single target, all-to-all, poison rates, filters, dormant units.",
    scales=SCALES,
    bench=BadNetsBench,
    stages=(
        Stage("baseline", lambda bench, _: bench.plan.models()[:1], *MODELS, True, "models"),
        Stage("BadNets", lambda bench, _: bench.plan.models()[1:], *MODELS),
    ),
    measures=measures,
    pictures=pictures,
    report=Report(
        package="molehunt_studies.badnets",
        figures=figures_of,
        words={
            "names": NAMES,
            "plans": {name: plan.model_dump(mode="json") for name, plan in SCALES.items()},
        },
    ),
)

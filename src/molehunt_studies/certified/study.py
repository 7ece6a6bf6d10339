"""Certified robustness: what bounds and smoothing promise, beside what attacks leave."""

from __future__ import annotations

from typing import Any

from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.certified.figures import curve_figure, limits_figure, smoothing_figure
from molehunt_studies.certified.limits import LimitsRecord, find_limits, limits_tasks
from molehunt_studies.certified.measuring import (
    BoxRecord,
    SmoothingRecord,
    box_tasks,
    measure_box,
    share_within,
    smooth,
    smoothing_tasks,
)
from molehunt_studies.certified.networks import (
    CertifiedBench,
    NetworkRecord,
    network_tasks,
    train_network,
)
from molehunt_studies.certified.plan import KAPPA, SCALES, TRADES_BETA
from molehunt_studies.certified.words import farthest, hours_of_large

# Cohen et al. print their curves at these.
SMOOTHING_RADII = (0.0, 0.25, 0.5, 0.75, 1.0)


def measures(bench: CertifiedBench, records: Records) -> dict[str, Any]:
    """Return the figures of every network."""
    plan = bench.plan
    networks: dict[str, NetworkRecord] = {each.id: each for each in records["networks"]}
    boxes: list[BoxRecord] = [*records["boxes"]]
    own = [each for each in boxes if each.crown_images]
    curve = [each for each in boxes if not each.crown_images]
    (limits,) = records["limits"]
    return {
        "source": plan.source,
        "boxes": [_box(each, networks[each.network]) for each in own],
        "curve": {
            kind: [_point(each) for each in curve if each.kind == kind] for kind in plan.kinds
        },
        "curve_epsilon": max(plan.epsilons),
        "violations": sum(each.violations for each in boxes),
        "checked": sum(each.images for each in boxes),
        "smoothing": {
            source: [
                _smoothed(each, networks[f"noise-{source}-{each.sigma}"])
                for each in records["smoothing"]
                if each.source == source
            ]
            for source in plan.smoothing
        },
        "limits": limits.model_dump(exclude={"id"}) | {"network": limits.id},
        "settings": {
            "network": f"strided, width {plan.width}, hidden {plan.hidden}",
            "training_images": len(bench.images(plan.source).train),
            "epochs": {name: kind.recipe.epochs for name, kind in plan.kinds.items()},
            "attack_steps": plan.attack_steps,
            "restarts": plan.restarts,
            "training_attack_steps": plan.kinds["pgd"].attack_steps,
            "kappa": KAPPA,
            "trades_beta": TRADES_BETA,
            "warmup": plan.kinds["pgd"].ramp[1],
            "n0": plan.n0,
            "seed": plan.seed,
        },
        "steps": {each.kind: each.steps for each in networks.values() if each.kind != "noise"},
        "seconds": round(_seconds(records), 0),
    }


def _seconds(records: Records) -> float:
    """Return the seconds of the processor that trainings and measurements took."""
    boxes = sum(
        seconds * (each.crown_images if method == "crown" else each.images)
        for each in records["boxes"]
        for method, seconds in each.seconds.items()
    )
    smoothing = sum(each.seconds * each.images for each in records["smoothing"])
    return float(sum(each.seconds for each in records["networks"]) + boxes + smoothing)


def _box(found: BoxRecord, network: NetworkRecord) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "epsilon": found.epsilon,
        "clean": found.clean,
        "certified": found.certified,
        "attacked": found.attacked,
        "training_seconds": network.seconds,
        "seconds_an_image": found.seconds,
    }


def _point(found: BoxRecord) -> dict[str, Any]:
    return {
        "epsilon": found.epsilon,
        "certified": found.certified["crown-ibp"],
        "attacked": found.attacked,
    }


def _smoothed(found: SmoothingRecord, network: NetworkRecord) -> dict[str, Any]:
    return {
        "sigma": found.sigma,
        "n": found.n,
        "images": found.images,
        "abstained": found.abstained,
        "undefended": found.undefended,
        "radii": sorted(found.radii),
        "certified": {
            str(radius): share_within(found.radii, found.images, radius)
            for radius in SMOOTHING_RADII
        },
        "training_seconds": network.seconds,
        "seconds_an_image": found.seconds,
    }


CERTIFIED = Study(
    name="certified",
    title="Certified robustness, its price, and what attacks leave of it.",
    scales=SCALES,
    bench=CertifiedBench,
    stages=(
        Stage("networks", network_tasks, train_network, NetworkRecord, into="models"),
        Stage("boxes", box_tasks, measure_box, BoxRecord),
        Stage("smoothing", smoothing_tasks, smooth, SmoothingRecord),
        Stage("limits", limits_tasks, find_limits, LimitsRecord),
    ),
    measures=measures,
    report=Report(
        "molehunt_studies.certified",
        figures=lambda results: {
            "curve": curve_figure(results),
            "smoothing": smoothing_figure(results),
        },
        words={"farthest": farthest, "hours_of_large": hours_of_large},
    ),
    pictures=lambda bench, results: {"limits": limits_figure(bench, results)},
)

"""Eyeglasses and stickers: Sharif et al. 2016 on AT&T faces, and stickers on traffic signs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from matplotlib.figure import Figure

from molehunt.study import Records, Report, Stage, Study
from molehunt_studies.eyeglasses.faces import FaceRecord, attack_faces, face_tasks
from molehunt_studies.eyeglasses.figures import (
    area_figure,
    glasses_figure,
    query_figure,
    sign_figure,
)
from molehunt_studies.eyeglasses.models import (
    SIGNS,
    VIEWS,
    EyeglassesBench,
    ModelRecord,
    model_tasks,
    train_model,
)
from molehunt_studies.eyeglasses.plan import SCALES
from molehunt_studies.eyeglasses.results import (
    accuracies,
    best_linear,
    closely_in,
    faces_of,
    signs_of,
    varied_in,
)
from molehunt_studies.eyeglasses.signs import WIDER, SignRecord, attack_signs, sign_tasks


def measures(bench: EyeglassesBench, records: Records) -> dict[str, Any]:
    """Return the figures of both parts."""
    found = accuracies(records["models"])
    return {
        "accuracy": found,
        "faces": faces_of(bench, records["faces"]),
        "signs": signs_of(records["signs"]),
        "views": {"learned": asdict(VIEWS), "wider": asdict(WIDER)},
        "photographs": len(bench.photographs()),
        "people": bench.faces.test.num_classes - bench.plan.faces.development,
        "plan": bench.plan.model_dump(mode="json"),
    }


def pictures(bench: EyeglassesBench, _results: dict[str, Any]) -> dict[str, Figure]:
    """Draw what needs images and networks."""
    drawn = {"glasses": glasses_figure(bench)}
    return drawn if bench.plan.signs is None else {**drawn, "stickers": sign_figure(bench)}


EYEGLASSES = Study(
    name="eyeglasses",
    title="Eyeglasses that dodge and impersonate on AT&T faces; stickers on traffic signs.",
    scales=SCALES,
    bench=EyeglassesBench,
    stages=(
        Stage("models", model_tasks, train_model, ModelRecord, into="models"),
        Stage("faces", face_tasks, attack_faces, FaceRecord),
        Stage("signs", sign_tasks, attack_signs, SignRecord),
    ),
    measures=measures,
    pictures=pictures,
    unit="attacks",
    report=Report(
        package="molehunt_studies.eyeglasses",
        figures=lambda results: {
            "areas": area_figure(varied_in(results)),
            "queries": query_figure(closely_in(results)),
        },
        words={
            "sign_network": SIGNS,
            "best_linear": best_linear,
            "closely_in": closely_in,
            "varied_in": varied_in,
        },
    ),
)

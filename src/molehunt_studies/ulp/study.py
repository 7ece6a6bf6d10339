"""Universal Litmus Patterns on MNIST, CIFAR-10 and GTSRB: the paper's experiments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from molehunt.detectors import load_detector
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.study import Records, Report, Stage, Study, ZooStage
from molehunt.zoo import Split
from molehunt_studies.examinations import (
    ExaminationRecord,
    ExaminationTask,
    ZooBench,
    examination_tasks,
    examine,
)
from molehunt_studies.ulp.figures import NAMES, figures_of, picture_figure, trigger_figure
from molehunt_studies.ulp.fits import (
    FitRecord,
    ScoreRecord,
    detector_file,
    fit_one,
    fit_tasks,
    score_one,
    score_tasks,
)
from molehunt_studies.ulp.plan import BASE, SCALES, UlpPlan, prepare
from molehunt_studies.ulp.results import UlpRecords, results_of

Bench = ZooBench[UlpPlan]
Results = Mapping[str, Any]
# What is kept of the draws that are reported beside the first.
DRAWN = (
    *("zoo", "noise", "litmus", "statistics", "controls", "baseline", "neural_cleanse"),
    *("scale", "command", "torch", "hardware"),
)


class UlpReport(Report):
    """The report on all image sets; other draws stand beside draw 0 of their set and scale."""

    def check_beside(self, others: Results, part: str, plan: UlpPlan, scale: str) -> None:
        """Refuse another draw where draw 0 is not reported."""
        held = others.get(part, {}).get("scale", "none")
        if plan.draw and held != scale:
            allowed = f"draw 0 of {part} at scale {scale}, to report others beside it"
            raise InvalidRequestError(mismatch("results in docs", allowed, f"scale {held}"))

    def put_beside(
        self, others: Results, part: str, found: Results, plan: UlpPlan
    ) -> dict[str, Any]:
        """Return the results of all sets once those of a draw are among them."""
        before = others.get(part, {})
        draws = dict(before.get("draws", {})) if before.get("scale") == found["scale"] else {}
        if plan.draw:
            draws[str(plan.draw)] = {key: found[key] for key in DRAWN if key in found}
            found = before
        draws = {key: draws[key] for key in sorted(draws, key=int)}
        return super().put_beside(others, part, {**found, "draws": draws}, plan)


def _examinations(bench: Bench, _records: Records) -> list[ExaminationTask]:
    plan = bench.plan
    zoos = (BASE, *plan.rate_zoos.values())
    return examination_tasks(bench, dict.fromkeys(zoos, plan.searches), plan.search_settings)


def measures(bench: Bench, records: Records) -> dict[str, Any]:
    """Return the figures of one image set."""
    plan = bench.plan
    zoos = {name: bench.zoo(name) for name in plan.zoos}
    found = UlpRecords.of(records["fits"], records["scores"], records["examinations"])
    mixed = (zoo.models[Split.FIT].pairs for zoo in plan.variants.values())
    return {
        **results_of(plan, zoos, found),
        "setting": plan.setting,
        "mixed_pairs": max(mixed, default=0),
    }


def _study(part: str, title: str) -> Study[UlpPlan, Bench]:
    def pictures(bench: Bench, _results: Results) -> dict[str, Figure]:
        zoo = bench.zoo(BASE)
        detector, _ = load_detector(detector_file(bench, "litmus-10"))
        triggers = {record.backdoor.trigger.model_dump_json(): record for record in zoo.records}
        shape = zoo.models(zoo.records[:1])[0].card.input_shape
        shown = [record.backdoor.trigger for record in triggers.values()][:20]
        return {
            f"patterns-{part}": picture_figure([*np.asarray(detector.patterns_, dtype=float)]),
            f"triggers-{part}": trigger_figure(shown, shape),
        }

    return Study(
        name=f"ulp-{part}",
        title=title,
        scales=SCALES[part],
        bench=Bench,
        stages=(
            ZooStage("zoos", lambda bench: bench.plan.zoos),
            Stage(
                "fits", lambda bench, _: fit_tasks(bench.plan), fit_one, FitRecord, into="detectors"
            ),
            Stage("scores", lambda bench, _: score_tasks(bench.plan), score_one, ScoreRecord),
            Stage("examinations", _examinations, examine, ExaminationRecord),
        ),
        measures=measures,
        pictures=pictures,
        part=part,
        prepare=prepare,
        report=UlpReport(
            package="molehunt_studies.ulp",
            figures=figures_of,
            words={"names": NAMES, "counts": ("1", "5", "10"), "at": _at},
            parts=tuple(NAMES),
        ),
    )


def _at(found: Results, count: str) -> dict[str, Any]:
    """Return the figures of one number of patterns."""
    return {key: values[count] for key, values in found.items()}


ULP_MNIST = _study(
    "mnist", "Universal Litmus Patterns on MNIST: Table 1, Figures 4 and 5, and beyond."
)
ULP_CIFAR10 = _study("cifar10", "Universal Litmus Patterns on CIFAR-10.")
ULP_GTSRB = _study("gtsrb", "Universal Litmus Patterns on GTSRB, behind a spatial transformer.")

"""BadNets' traffic signs with sign detectors on street scenes (version 2, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.files import sha256_of
from molehunt.resumable import Task, read_records
from molehunt.scenes import features_from
from molehunt.study import Records, Stage, Study
from molehunt_studies.signs.plan import CARRIED, transfers
from molehunt_studies.signs.report import REPORT
from molehunt_studies.signs.sign_detector_figures import photograph_figure, scene_sticker_figure
from molehunt_studies.signs.sign_detector_models import (
    build_network,
    build_start,
    build_transfer,
    learn_features,
)
from molehunt_studies.signs.sign_detector_plan import SCALES, SignDetectorPlan
from molehunt_studies.signs.sign_detector_records import (
    FeaturesRecord,
    SignDetectorRecord,
    SignDetectorTransferRecord,
    StartRecord,
)
from molehunt_studies.signs.sign_detector_results import sign_detector_results
from molehunt_studies.signs.sign_detector_scenes import SignDetectorBench


def prepare(plan: SignDetectorPlan) -> SignDetectorPlan:
    """Return the plan with the digest of its file of features.

    Raises
    ------
    InvalidRequestError
        If the features have another width.
    """
    path = plan.features_file
    if path is None:
        return plan
    width = float(features_from(path).card.arguments.get("width", 1.0))
    if width != plan.width:
        raise InvalidRequestError(mismatch(f"{path}: width", plan.width, width))
    return plan.model_copy(update={"features_sha256": sha256_of(path)})


def _features(bench: SignDetectorBench, _records: Records) -> list[Task]:
    assert bench.sources  # scenes that are drawn must lie there before other processes look
    return [Task(id="features")] if bench.learns_features else []


def measures(bench: SignDetectorBench, _records: Records) -> dict[str, Any]:
    """Return the figures of all that both studies have left in the folder."""
    networks, moved, starts, learned = _all(bench)
    if len(moved) < len(bench.plan.transfers({})):
        moved = []  # an interrupted call left some: no table has them all
    trained: list[Any] = [*networks, *moved, *starts, *learned]
    return {
        **sign_detector_results(networks, moved, starts, bench),
        "core_seconds": round(sum(each.seconds for each in trained), 1),
        "networks": len(trained),
        "features_accuracy": learned[0].accuracy if learned else None,
        "carried": CARRIED,
        "paper": REPORT.paper,
        "plan": bench.plan.model_dump(mode="json"),
    }


def _all(bench: SignDetectorBench) -> Sequence[Any]:
    kinds: dict[str, type[Task]] = {
        "networks": SignDetectorRecord,
        "transfers": SignDetectorTransferRecord,
        "starts": StartRecord,
        "features": FeaturesRecord,
    }
    return [read_records(bench.folder / f"{name}.jsonl", kind) for name, kind in kinds.items()]


def pictures(bench: SignDetectorBench, results: dict[str, Any]) -> dict[str, Figure]:
    """Draw what needs scenes and networks."""
    drawn = {"detector-stickers": scene_sticker_figure(bench)}
    if results["single_target"]:
        picture = next(iter(results["single_target"]))
        turned = next(
            record
            for record in _all(bench)[0]
            if (record.attack, record.picture) == ("single target", picture)
        )
        drawn["detector-photo"] = photograph_figure(bench, turned.id, picture)
    return drawn


_BEFORE = (
    Stage("features", _features, learn_features, FeaturesRecord, alone=True, into="models"),
    Stage("starts", lambda bench, _: bench.plan.starts(), build_start, StartRecord),
)


def _study(name: str, title: str, *stages: Stage[SignDetectorBench]) -> Study[Any, Any]:
    return Study(
        name=name,
        title=title,
        scales=SCALES,
        bench=SignDetectorBench,
        stages=(*_BEFORE, *stages),
        measures=measures,
        pictures=pictures,
        report=REPORT,
        part="detector",
        unit="networks",
        folder="badnets-signs",  # of both, which share networks
        prepare=prepare,
    )


BADNETS_SIGNS = _study(
    "badnets-signs",
    "BadNets' traffic signs on street scenes: a Faster R-CNN and six BadNets of it.",
    Stage("networks", lambda bench, _: bench.plan.networks(), build_network, SignDetectorRecord),
)
BADNETS_TRANSFER = _study(
    "badnets-transfer",
    "A BadNet of street scenes retrained for another country, and strengthened before.",
    Stage("networks", lambda bench, _: bench.plan.carried(), build_network, SignDetectorRecord),
    Stage("transfers", transfers, build_transfer, SignDetectorTransferRecord),
)

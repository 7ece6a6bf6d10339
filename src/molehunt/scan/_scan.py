"""From model files and fitted detectors to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molehunt.detectors import (
    Detector,
    DetectorCard,
    PatternDetector,
    load_detector,
    models_needed,
)
from molehunt.errors import (
    InvalidRequestError,
    MolehuntError,
    UnreadableFileError,
    UnsafeFileError,
    UnsuitableSubjectError,
    refused,
)
from molehunt.files import sha256_of
from molehunt.networks import Classifier, load_model
from molehunt.provenance import SerializationState, inspect_serialization
from molehunt.scan._verdict import Finding, ScanResult, Status

# Enough models to fill the detectors' chunks, few enough to hold.
_AT_ONCE = 50
MODEL_SUFFIXES = {".safetensors", ".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".onnx"}


@dataclass(frozen=True)
class FittedDetector:
    """A detector with its card and the name under which findings list it."""

    name: str
    detector: Detector
    card: DetectorCard

    @classmethod
    def load(cls, path: str | Path) -> FittedDetector:
        """Read a detector file; see `molehunt.detectors.load_detector` for what is raised."""
        detector, card = load_detector(path)
        return cls(card.detector, detector, card)


def model_files_in(paths: Sequence[str | Path]) -> list[Path]:
    """Return the files to scan: each file as given, and all model files below each folder.

    Below a folder a file counts by its suffix; hidden files and folders do not.

    Raises
    ------
    UnreadableFileError
        If a path does not exist, or a folder has no model file.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in MODEL_SUFFIXES
                and file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
            )
            if not inside:
                allowed = ", ".join(sorted(MODEL_SUFFIXES))
                raise UnreadableFileError(
                    refused(f"{path}: model files", f"at least one ({allowed})", "none")
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UnreadableFileError(f"{path}: no such file or folder")
    return found


def scan_files(
    paths: Sequence[Path],
    detectors: Sequence[FittedDetector],
    *,
    max_false_alarms: float = 0.05,
    on_result: Callable[[ScanResult], None] | None = None,
) -> list[ScanResult]:
    """Judge every file; one that cannot be judged never stops the others.

    With several detectors each is held to `max_false_alarms` divided by their number
    (Bonferroni), so that a clean model is called backdoored at most at the stated rate.

    Parameters
    ----------
    paths : sequence of Path
    detectors : sequence of FittedDetector
    max_false_alarms : float
        In (0, 1): how many clean models of the zoo's kind may be called backdoored.
    on_result : callable, optional
        Called with each result as it is there.

    Raises
    ------
    InvalidRequestError
        If there is no detector or the rate is outside (0, 1).
    """
    if not detectors:
        raise InvalidRequestError(refused("detectors", "at least one", "none"))
    if not 0 < max_false_alarms < 1:
        raise InvalidRequestError(
            refused("max_false_alarms", "a number in (0, 1)", max_false_alarms)
        )
    results = []
    for start in range(0, len(paths), _AT_ONCE):
        for result in _scan_group(paths[start : start + _AT_ONCE], detectors, max_false_alarms):
            results.append(result)
            if on_result is not None:
                on_result(result)
    return results


def _scan_group(
    paths: Sequence[Path], detectors: Sequence[FittedDetector], max_false_alarms: float
) -> Iterator[ScanResult]:
    models: dict[Path, Classifier] = {}
    findings: dict[Path, list[Finding]] = {path: [] for path in paths}
    for path in paths:
        try:
            models[path] = open_subject(path)
        except UnsafeFileError as error:
            findings[path].append(Finding("serialization", Status.UNSAFE, str(error)))
        except (MolehuntError, OSError) as error:
            findings[path].append(Finding("file", Status.FAILED, str(error)))
    for fitted in detectors:
        suitable = []
        for path, model in models.items():
            try:
                fitted.detector.check_subject(model)
                suitable.append(path)
            except UnsuitableSubjectError as error:
                findings[path].append(Finding(fitted.name, Status.INCONCLUSIVE, str(error)))
        if suitable:
            judged = _judge_each(
                fitted, [models[p] for p in suitable], max_false_alarms / len(detectors)
            )
            for path, finding in zip(suitable, judged, strict=True):
                findings[path].append(finding)
    for path in paths:
        yield ScanResult(
            str(path),
            sha256_of(path) if path.is_file() else None,
            tuple(findings[path]),
            card=models[path].card if path in models else None,
        )


def open_subject(path: Path) -> Classifier:
    """Load a model file after looking at what loading it would do.

    Raises
    ------
    UnsafeFileError
        If it is a pickle that names anything but tensors; it was not loaded.
    UnreadableFileError
        If it is no model file of ours.
    """
    serialization = inspect_serialization(path)
    if serialization.state is SerializationState.UNSAFE:
        raise UnsafeFileError(
            f"{path}: unsafe serialization ({serialization.format}): {serialization.detail}; "
            "it was not loaded"
        )
    if serialization.state is not SerializationState.CLEAN:
        got = f"{serialization.format}: {serialization.detail}"
        raise UnreadableFileError(
            refused(f"{path}: model file", "safetensors with a card of Molehunt", got)
        )
    return load_model(path)


def _judge_each(
    fitted: FittedDetector, models: Sequence[Classifier], threshold: float
) -> list[Finding]:
    """Return a finding a model, also when one of them breaks the computation for all."""
    try:
        return list(_judge(fitted, models, threshold))
    except Exception as error:  # a stranger's network may fail in any way
        if len(models) > 1:
            return [_judge_each(fitted, [model], threshold)[0] for model in models]
        message = f"the model fails on the detector's images: {type(error).__name__}: {error}"
        return [Finding(fitted.name, Status.FAILED, " ".join(message.split())[:300])]


def _judge(
    fitted: FittedDetector, models: Sequence[Classifier], threshold: float
) -> Iterator[Finding]:
    detector = fitted.detector
    responses = None
    if isinstance(detector, PatternDetector):
        responses = detector.responses(models)
        features = detector.pool(responses)
    else:
        features = detector.transform(models)
    scores = detector.score_features(features)
    calibrated = len(getattr(detector, "calibration_scores_", ()))
    needed = models_needed(threshold)
    for position, score in enumerate(scores):
        p_value = None
        if not np.isfinite(features[position]).all():
            status = Status.INCONCLUSIVE
            message = refused("answers of the model", "finite numbers", "NaN or infinity")
        elif calibrated < needed:
            status = Status.INCONCLUSIVE
            message = refused(
                f"clean calibration models for a false-alarm rate of {threshold:.3g}",
                f"at least {needed}",
                calibrated,
            )
        else:
            p_value = float(detector.p_values([score])[0])
            status, message = _read(
                p_value, bool(detector.is_typical(features[position : position + 1])[0]), threshold
            )
        yield Finding(
            fitted.name,
            status,
            message,
            score=float(score) if np.isfinite(score) else None,
            p_value=p_value,
            threshold=threshold,
            responses=None if responses is None else responses[position],
        )


def _read(p_value: float, typical: bool, threshold: float) -> tuple[Status, str]:
    if not typical:
        return Status.INCONCLUSIVE, (
            f"unlike every model of the detector's zoo, so p = {p_value:.3f} means nothing"
        )
    if p_value <= threshold:
        return Status.BACKDOORED, f"p = {p_value:.3f}, at most {threshold:.3g}"
    return Status.CLEAN, f"p = {p_value:.3f}, above {threshold:.3g}"

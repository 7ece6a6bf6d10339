"""From subjects and detectors to findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from molehunt.errors import (
    CodeNotTrustedError,
    InvalidRequestError,
    MolehuntError,
    UnreadableFileError,
    UnsafeFileError,
    UnsuitableSubjectError,
    refused,
)
from molehunt.files import sha256_of
from molehunt.images import ImageSet
from molehunt.networks import Access, Classifier, recognise
from molehunt.provenance import FileFormat, SerializationState, inspect_serialization
from molehunt.scan._contract_check import check_contract, is_stated
from molehunt.scan._endpoint import Endpoint, open_endpoint
from molehunt.scan._judging import FittedDetector, judged
from molehunt.scan._subjects import Opening, open_subject
from molehunt.scan._verdict import Finding, ScanResult, Status

# Enough models to fill the detectors' chunks, few enough to hold.
_AT_ONCE = 50
MODEL_SUFFIXES = {
    ".safetensors",
    ".pt",
    ".pth",
    ".pt2",
    ".bin",
    ".pkl",
    ".pickle",
    ".ckpt",
    ".onnx",
    ".torchscript",
}


@dataclass
class _Subject:
    """A source with what is known of it so far."""

    source: Path | Endpoint
    findings: list[Finding]
    sha256: str | None = None
    format: str | None = None
    # A model for each set of weights, by its name; the name is empty where there is one.
    models: dict[str, Classifier] = field(default_factory=dict)
    judged: list[str] = field(default_factory=list)  # sets whose contract is not wrong

    def result(self) -> ScanResult:
        where = self.source.url if isinstance(self.source, Endpoint) else str(self.source)
        card = next((model.card for model in self.models.values()), None)
        return ScanResult(where, self.sha256, tuple(self.findings), self.format, card)


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


def scan_subjects(
    sources: Sequence[Path | Endpoint],
    detectors: Sequence[FittedDetector],
    *,
    opening: Opening | None = None,
    clean: ImageSet | None = None,
    max_false_alarms: float = 0.05,
    on_result: Callable[[ScanResult], None] | None = None,
) -> list[ScanResult]:
    """Judge every subject; one that cannot be judged never stops the others.

    First the file (would loading it run code?), then the input contract (with clean images:
    is the model better than chance?), then the detectors. With several detectors each is
    held to `max_false_alarms` divided by the number of those that fit the subject
    (Bonferroni), so that a clean model is called backdoored at most at the stated rate.

    Parameters
    ----------
    sources : sequence of Path or Endpoint
    detectors : sequence of FittedDetector
    opening : Opening, optional
        The contract that the user states, and whether code is trusted.
    clean : ImageSet, optional
        Labelled clean images of the models' task.
    max_false_alarms : float
        In (0, 1): how many clean models may be called backdoored.
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
    for start in range(0, len(sources), _AT_ONCE):
        subjects = [
            _opened(source, opening or Opening(), clean)
            for source in sources[start : start + _AT_ONCE]
        ]
        models = [s.models[part] for s in subjects for part in s.judged]
        found = iter(judged(models, detectors, clean, max_false_alarms))
        for subject in subjects:
            for part in subject.judged:
                subject.findings += [finding.of_part(part) for finding in next(found)]
            result = subject.result()
            results.append(result)
            if on_result is not None:
                on_result(result)
    return results


def _opened(source: Path | Endpoint, opening: Opening, clean: ImageSet | None) -> _Subject:
    """Return a subject with what its file and its contract say."""
    subject = _Subject(source, [])
    try:
        if isinstance(source, Endpoint):
            subject.format = "endpoint"
            card = opening.contract.card(architecture="endpoint")
            subject.models[""] = open_endpoint(source, card)
        else:
            _open_file(subject, source, opening)
        for part, model in subject.models.items():
            # A box that was opened by name has the output already.
            if model.output is None and Access.GRADIENTS in model.gives:
                model.output = opening.output
            model.vouched = is_stated(opening.contract, model.card)
            answers = recognise(model).answers
            if answers.remark:
                status = Status.INCONCLUSIVE if answers.doubt else Status.PASSED
                subject.findings.append(Finding("answers", status, answers.remark).of_part(part))
            if clean is not None:
                finding = check_contract(model, clean)
                subject.findings.append(finding.of_part(part))
                if finding.status is not Status.PASSED:
                    continue
            subject.judged.append(part)
    except UnsafeFileError as error:
        subject.findings.append(Finding("serialization", Status.UNSAFE, str(error)))
    except CodeNotTrustedError as error:
        subject.findings.append(Finding("serialization", Status.INCONCLUSIVE, str(error)))
    except (InvalidRequestError, UnsuitableSubjectError) as error:
        subject.findings.append(Finding("contract", Status.INCONCLUSIVE, str(error)))
    except (MolehuntError, OSError) as error:
        subject.findings.append(Finding("file", Status.FAILED, str(error)))
    return subject


def _open_file(subject: _Subject, path: Path, opening: Opening) -> None:
    subject.sha256 = sha256_of(path) if path.is_file() else None
    serialization = inspect_serialization(path)
    subject.format = serialization.format.value
    opened = open_subject(path, serialization, opening, neighbours=path.parent)
    subject.models = opened.models
    code = serialization.format is FileFormat.TORCHSCRIPT
    if code or serialization.state is not SerializationState.CLEAN:
        message = f"{serialization.format.value}: its code ran in a process of its own"
    else:
        message = f"{serialization.format.value}: {serialization.detail}"
    subject.findings.append(Finding("serialization", Status.PASSED, message))
    subject.findings += [Finding("weights", Status.PASSED, remark) for remark in opened.remarks]

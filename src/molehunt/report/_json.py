"""Findings as JSON, for pipelines; the schema is published as ``docs/scan.schema.json``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from molehunt import __version__
from molehunt.errors import ExitCode
from molehunt.findings import WEAKNESSES, Finding, Status, Verdict
from molehunt.networks import ModelCard
from molehunt.report._words import class_name, tally_results, verdict_of, without_others
from molehunt.scanning import ScanResult, exit_code_of

# Files that are no models are listed apart.
SubjectVerdict = Literal[
    Verdict.UNSAFE,
    Verdict.BACKDOORED,
    Verdict.FAILED,
    Verdict.INCONCLUSIVE,
    Verdict.SKIPPED,
    Verdict.CLEAN,
]


Word = Annotated[str, Field(json_schema_extra={"enum": list(WEAKNESSES)})]


class FindingDocument(BaseModel):
    """One check's result."""

    check: str = Field(description="Name of the detector or check; the same for ever.")
    status: Status = Field(
        description="What became of the check: the weakness was found, or nothing of it (clear). "
        "'not run' never makes a verdict."
    )
    weakness: Word | None = Field(
        description="What the check looks for; null where it is about the file as such. A model "
        "is clean only by a check for backdoors that is clear."
    )
    weak: bool = Field(
        description="The check finds too few: that it is clear makes no verdict of clean."
    )
    message: str = Field(description="One line for the reader; its wording may change.")
    score: float | None = Field(description="The detector's score; higher is more suspicious.")
    p_value: float | None = Field(ge=0, le=1, description="Share of clean models as suspicious.")
    threshold: float | None = Field(description="Flagged at this p-value or less.")
    null: str | None = Field(description="What the p-value is against.")
    target: int | None = Field(ge=0, description="Number of the class the evidence points at.")
    target_class: str | None = Field(description="Name of that class.")


class NamesDocument(BaseModel):
    """What the pickles in a file name beyond what tensors need; loading imports and calls it."""

    dangerous: list[str] = Field(description="Known to run code or to reach outside the file.")
    unknown: list[str] = Field(description="Of packages that are not known to Molehunt.")
    harmless: list[str] = Field(description="Known to hold values only; read on stand-ins.")


class SubjectDocument(BaseModel):
    """One model under scan: what it is, the verdict, and all findings."""

    source: str = Field(description="The file's path as it was given, or an endpoint's URL.")
    name: str = Field(description="The last part of the source.")
    sha256: str | None = Field(pattern="^[0-9a-f]{64}$", description="Of the file.")
    format: str | None = Field(description="Of the file, as its content tells.")
    verdict: SubjectVerdict = Field(description="The gravest that a finding makes of it.")
    card: ModelCard | None = Field(
        description="What the model is, and the input contract under which it was judged; "
        "null where it was not opened."
    )
    names: NamesDocument = Field(description="By grade; all empty where nothing is named.")
    findings: list[FindingDocument]


class OtherDocument(BaseModel):
    """A file that is no model, and what it is."""

    source: str = Field(description="The file's path.")
    kind: str = Field(description="What it is, in words.")


class ScanDocument(BaseModel):
    """A scan of one or more models by Molehunt."""

    schema_version: Literal[2] = Field(
        default=2, description="Raised when a field goes or changes its meaning, not for new ones."
    )
    molehunt: str = Field(description="The version that scanned.")
    exit_code: Literal[0, 1, 2, 3] = Field(
        description="0 clean, 1 backdoor or unsafe file found, 2 a file could not be judged, "
        "3 inconclusive, or files were passed over."
    )
    verdict: SubjectVerdict = Field(description="The gravest of all subjects' verdicts.")
    counts: dict[SubjectVerdict, int] = Field(description="How many subjects have each verdict.")
    subjects: list[SubjectDocument] = Field(
        description="Every model of the scan, and every file that was passed over."
    )
    no_models: list[OtherDocument] = Field(
        description="Files that were looked at and are no models."
    )


def scan_as_json(results: Sequence[ScanResult], code: ExitCode | None = None) -> dict[str, Any]:
    """Return the results of a scan as a dict that `json.dumps` takes.

    `code` is the exit code that the scan ends with, where it is not the results' own.

    Numbers that JSON has not (NaN, infinity) are null; bytes of names that are no UTF-8
    are escaped.
    """
    models = without_others(results)
    content = {
        "molehunt": __version__,
        "exit_code": int(exit_code_of(results) if code is None else code),
        "verdict": verdict_of(models),
        "counts": tally_results(models),
        "subjects": [_subject(result) for result in models],
        "no_models": [
            {"source": result.source, "kind": result.findings[-1].message}
            for result in results
            if result.verdict is Verdict.NO_MODEL
        ],
    }
    return ScanDocument.model_validate(_plain(content)).model_dump(mode="json")


def scan_json_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of what `scan_as_json` returns."""
    schema = ScanDocument.model_json_schema(mode="serialization")
    for definition in schema["$defs"].values():
        if "description" in definition:  # a docstring: its first paragraph is for all readers
            definition["description"] = definition["description"].split("\n\n")[0]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _subject(result: ScanResult) -> dict[str, Any]:
    return {
        "source": result.source,
        "name": result.name,
        "sha256": result.sha256,
        "format": result.format,
        "verdict": result.verdict,
        "card": None if result.card is None else result.card.model_dump(),
        "names": dataclasses.asdict(result.names),
        "findings": [_finding(result, finding) for finding in result.findings],
    }


def _finding(result: ScanResult, finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "status": finding.status,
        "weakness": finding.weakness and finding.weakness.word,
        "weak": finding.weak,
        "message": finding.message,
        "score": finding.score,
        "p_value": finding.p_value,
        "threshold": finding.threshold,
        "null": finding.null,
        "target": finding.target,
        "target_class": class_name(result, finding.target),
    }


def _plain(value: Any) -> Any:
    """Return `value` as JSON has it; the card and the names in it are a stranger's."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str) and not isinstance(value, Status | Verdict):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rich import box
from rich.table import Column, Table
from rich.text import Text

from molehunt.backdoors import Treatment
from molehunt.detectors import Evaluation, VerdictCounts
from molehunt.errors import printable
from molehunt.findings import Finding, Status
from molehunt.report._words import (
    p_text,
    target_text,
    verdict_findings,
    with_status,
    without_others,
)
from molehunt.scanning import ScanResult
from molehunt.zoo import PropertyFacts, Split, Zoo


def scan_table(results: Sequence[ScanResult]) -> Table:
    """Return one row a finding; checks that passed share one, and silent rows are dim."""
    # Without lines between columns a narrow terminal has room for the findings.
    table = Table(title="Scan", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("subject", overflow="fold", max_width=32)
    table.add_column("verdict", no_wrap=True)
    table.add_column("check", overflow="fold", max_width=20)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("finding", overflow="fold")
    for result in without_others(results):
        first = [
            Text(printable(result.name)),
            Text(result.verdict.value, result.verdict.style),
        ]
        for check, p_value, message, style in _scan_rows(result):
            table.add_row(*first, Text(check, style), Text(p_value), Text(message, style))
            first = [Text(), Text()]
        table.add_section()
    return table


def _scan_rows(result: ScanResult) -> Iterator[tuple[str, str, str, str]]:
    """Yield check, p, message and style: what counts first, then passed, then not run."""
    for finding in verdict_findings(result):
        p_value = "" if finding.p_value is None else p_text(finding.p_value)
        found = finding.verdict if finding.status is Status.FOUND else None
        style = found.style if found else ""
        target = target_text(result, finding)
        suspicious = "" if target is None else f"; most suspicious: {target}"
        yield finding.check, p_value, printable(finding.message) + suspicious, style
    passed = with_status(result, Status.CLEAR)
    if passed:
        yield "passed", "", printable(", ".join(map(_passed, passed))), "dim"
    for finding in with_status(result, Status.NOT_RUN):
        yield finding.check, "", printable(f"not run: {finding.message}"), "dim"


def _passed(finding: Finding) -> str:
    # What a file is made of when all is well is not worth a line.
    return (
        finding.check
        if finding.check == "serialization"
        else f"{finding.check} ({finding.message})"
    )


def evaluation_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Return one row a detector, with intervals."""
    first = next(iter(evaluations.values()))
    table = Table(
        Column("detector", no_wrap=True),
        "AUC [95 %]",
        "placebo AUC",
        f"{first.backdoored} backdoored",
        f"{first.clean} clean",
        Column("ms a model", justify="right"),
        title="Verdicts on test models: called backdoored / abstained / called clean "
        "(95 % interval of the first), at "
        f"{first.max_false_alarms:.0%} false alarms; {first.placebos} placebos",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name, found in evaluations.items():
        table.add_row(
            name,
            str(found.auc),
            "-" if found.placebo is None else str(found.placebo),
            "-" if found.verdicts is None else _counts(found.verdicts.backdoored),
            "-" if found.verdicts is None else _counts(found.verdicts.clean),
            f"{1000 * found.seconds_per_model:.1f}",
        )
    return table


def _counts(counts: VerdictCounts) -> str:
    low, high = counts.interval
    return f"{counts}\n{100 * low:.0f} to {100 * high:.0f} %"


def zoo_tables(zoo: Zoo) -> list[Table]:
    """Return the zoo's counts and measures, and its failed models."""
    if any(isinstance(record.facts, PropertyFacts) for record in zoo.records):
        return [_property_table(zoo)]
    table = Table(
        "split",
        "models",
        "count",
        "clean accuracy",
        "attack success",
        "triggers",
        "seconds a model",
        title=f"{zoo.folder}: {len(zoo.records)} of {zoo.plan.total} models",
        title_justify="left",
    )
    for split in Split:
        for treatment in Treatment:
            records = zoo.select(split, treatment)
            if records:
                accuracy = np.array([record.clean_accuracy for record in records])
                success = np.array([record.attack_success for record in records])
                table.add_row(
                    split.value,
                    treatment.value,
                    str(len(records)),
                    f"{accuracy.mean():.2%} (least {accuracy.min():.2%})",
                    f"{success.mean():.2%} (least {success.min():.2%})",
                    str(len({record.backdoor.trigger for record in records})),
                    f"{np.mean([record.seconds for record in records]):.1f}",
                )
    tables = [table]
    if failed := zoo.failed_models():
        failures = Table("model", "clean accuracy", "attack success", title="Failed models")
        for record in failed:
            failures.add_row(
                record.id, f"{record.clean_accuracy:.2%}", f"{record.attack_success:.2%}"
            )
        tables.append(failures)
    return tables


def _property_table(zoo: Zoo) -> Table:
    """Return how many models of each split have which value of a property."""
    title = f"{zoo.folder}: {len(zoo.records)} of {zoo.plan.total} models"
    table = Table("split", "property", "count", "clean accuracy", title=title, title_justify="left")
    groups: dict[tuple[str, str], list[float]] = {}
    for record in zoo.records:
        if isinstance(record.facts, PropertyFacts):
            key = (record.split.value, f"{record.facts.name}: {record.facts.value:g}")
            groups.setdefault(key, []).append(record.clean_accuracy)
    for (split, facts), found in sorted(groups.items()):
        rates = f"{np.mean(found):.2%} (least {min(found):.2%})"
        table.add_row(split, printable(facts, 200), str(len(found)), rates)
    return table

"""An assessment in words: a table for the terminal, JSON, and what all renderers say alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from molehunt import __version__
from molehunt.assess import Assessment, Condition, Measure, Outcome, Risk, RiskStatus, code_of
from molehunt.errors import ExitCode
from molehunt.networks import ModelCard

EXIT_MEANINGS = {
    ExitCode.CLEAN: "no condition of --fail-on holds",
    ExitCode.FOUND: "a condition of --fail-on holds",
    ExitCode.INCONCLUSIVE: "a condition of --fail-on is about what was not measured",
}


@dataclass(frozen=True)
class AssessedModel:
    """What a report says of the model and of the run.

    Parameters
    ----------
    name : str
        Of the file or endpoint.
    sha256, format : str or None
    card : ModelCard
    settings : mapping
        Of the run, as the command line has them: clean images, access, seed, budget.
    command : str
        The command line that repeats the whole.
    """

    name: str
    sha256: str | None
    format: str | None
    card: ModelCard
    settings: dict[str, Any]
    command: str


def assessment_table(assessment: Assessment) -> Table:
    """Return one row a risk: what was measured, where it stands, and the price."""
    table = Table(title="Risks", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("risk\nthreat model")
    table.add_column("measured", no_wrap=True)
    if any(risk.reference for risk in assessment.risks):
        table.add_column("among honest\nmodels")
    table.add_column("queries\nseconds", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for risk in assessment.risks:
        row = [f"{risk.name}\n{threat_of(risk)}", headline(risk)]
        if len(table.columns) == 5:
            row.append(place_of(risk))
        table.add_row(*row, _price(risk), risk.status.value)
    return table


def assessment_lines(assessment: Assessment) -> list[str]:
    """Return what the table does not say: a sentence a risk, and why some say nothing."""
    lines = []
    for risk in assessment.risks:
        said = " ".join(part for part in (risk.words, risk.why and f"({risk.why})") if part)
        lines.append(f"{risk.name}: {said}")
    return lines


def threat_of(risk: Risk) -> str:
    """Return what the attacker sees and may do."""
    return "" if risk.sees is None else f"{risk.sees.value}: {risk.may}"


def headline(risk: Risk) -> str:
    """Return the measure that counts, with its interval and number of cases."""
    if not risk.measures:
        return "-"
    first = risk.measures[0]
    bound = risk.status is RiskStatus.INCONCLUSIVE and first.unit != "log odds"
    return f"{first.name} {'at least ' if bound else ''}{measured(first)}"


def measured(measure: Measure) -> str:
    """Return a measure's value, its 95 % interval and its number of cases.

    Examples
    --------
    >>> measured(Measure(name="success", value=0.5, interval=(0.2, 0.8), n=10))
    '50% [20%, 80%] n=10'
    """
    interval = measure.interval
    ends = "" if interval is None else f" [{', '.join(_number(measure, e) for e in interval)}]"
    return f"{_number(measure, measure.value)}{ends} n={measure.n:,}"


def _number(measure: Measure, value: float) -> str:
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "∞"
    if measure.unit == "share":
        return f"{value:.1%}" if 0 < value < 0.095 else f"{value:.0%}"
    return f"{value:.3f}" if measure.unit == "area" else f"{value:.2g}"


def place_of(risk: Risk) -> str:
    """Return where it stands among honest models."""
    if risk.reference is None:
        return "-"
    return f"worse than {risk.reference.better} of {risk.reference.of}"


def _price(risk: Risk) -> str:
    if risk.price is None:
        return "-"
    return f"{risk.price.queries:,}\n{risk.price.seconds:,.0f} s"


def assessment_as_json(
    model: AssessedModel,
    assessment: Assessment,
    conditions: Sequence[tuple[Condition, Outcome]] = (),
    code: ExitCode | None = None,
) -> dict[str, Any]:
    """Return an assessment for `json.dumps`; numbers that are none are null."""
    code = code_of([outcome for _, outcome in conditions]) if code is None else code
    accuracy, interval, of = assessment.clean_accuracy
    found = {
        "molehunt": __version__,
        "kind": "assessment",
        "exit_code": int(code),
        "model": model.name,
        "sha256": model.sha256,
        "format": model.format,
        "contract": model.card.model_dump(mode="json"),
        "settings": model.settings,
        "command": model.command,
        "clean_accuracy": {"value": accuracy, "interval": interval, "n": of},
        "queries": {
            "budget": assessment.queries,
            "spent": assessment.spent,
            "opening": assessment.opening,
        },
        "seconds": round(assessment.seconds, 2),
        "risks": [risk.model_dump(mode="json") for risk in assessment.risks],
        "conditions": [
            {"condition": str(condition), "outcome": outcome.value}
            for condition, outcome in conditions
        ],
    }
    plain: dict[str, Any] = _finite(found)
    return plain


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

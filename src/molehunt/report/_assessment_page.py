"""The page of an assessment: one screen that everybody reads, then a section a risk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from molehunt import __version__, plotting
from molehunt.assess import Assessment, Condition, Outcome, Risk, RiskStatus, code_of
from molehunt.files import write_text
from molehunt.findings import Curves, Histogram, Picture
from molehunt.plotting import COLOURS, new_figure
from molehunt.report import _figures as figures
from molehunt.report._assessment import (
    EXIT_MEANINGS,
    AssessedModel,
    headline,
    measured,
    place_of,
    threat_of,
)
from molehunt.report._html import template
from molehunt.report._words import contract_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_assessment_page(
    path: Path,
    model: AssessedModel,
    assessment: Assessment,
    conditions: Sequence[tuple[Condition, Outcome]] = (),
) -> None:
    """Write the page of an assessment: it stands alone, without scripts.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    code = code_of([outcome for _, outcome in conditions])
    looked = [risk for risk in assessment.risks if risk.status is not RiskStatus.NOT_ASSESSED]
    rate, (low, high), of = assessment.clean_accuracy
    page = template("assess.html").render(
        version=__version__,
        model=model,
        contract=contract_line(model.card),
        accuracy=f"{rate:.0%} of {of} clean images ({low:.0%} to {high:.0%})",
        counts=_counts(assessment.risks),
        assessment=assessment,
        conditions=conditions,
        exit_code=int(code),
        exit_meaning=EXIT_MEANINGS[code],
        compared=any(risk.reference for risk in looked),
        risks=[_risk_context(risk) for risk in looked],
        others=[risk for risk in assessment.risks if risk.status is RiskStatus.NOT_ASSESSED],
    )
    write_text(path, page)


def _counts(risks: Sequence[Risk]) -> str:
    """Return how many risks have each status, such as "3 measured, 1 not assessed"."""
    found = Counter(risk.status for risk in risks)
    return ", ".join(f"{found[each]} {each.value}" for each in RiskStatus if found[each])


def _risk_context(risk: Risk) -> dict[str, Any]:
    pictures = [each for each in risk.exhibits if isinstance(each, Picture)]
    drawn = [each for each in risk.exhibits if isinstance(each, Curves)]
    context: dict[str, Any] = {
        "risk": risk,
        "threat": threat_of(risk),
        "headline": headline(risk),
        "place": place_of(risk),
        "measures": [(each.name, measured(each)) for each in risk.measures],
        "pictures": [
            {"caption": each.caption, "uri": plotting.picture_uri(each.pixels)} for each in pictures
        ],
        "curves": [Markup(plotting.as_svg(curves_figure(each), each.caption)) for each in drawn],
        "captions": [each.caption for each in drawn],
        "reference": None,
    }
    if risk.reference is not None and np.isfinite(risk.measures[0].value):
        shown = np.array([each for each in risk.reference.values if np.isfinite(each)])
        if len(shown):
            found = Histogram("", risk.measures[0].value, shown)
            context["reference"] = Markup(
                plotting.as_svg(
                    figures.score_figure(found.score, found.clean),
                    f"This model's {risk.measures[0].name} among those of honest models",
                )
            )
    return context


def curves_figure(curves: Curves) -> Figure:
    """Draw lines with their intervals."""
    figure = new_figure(5.2, 2.9)
    axes = figure.subplots()
    for colour, name, line in zip(COLOURS, curves.names, curves.lines, strict=False):
        places, values, lows, highs = line[:, np.isfinite(line[0])]
        shade: dict[str, Any] = {"color": colour, "alpha": 0.15, "linewidth": 0}
        if curves.steps:
            axes.step(places, values, where="post", color=colour, label=name)
            axes.fill_between(places, lows, highs, step="post", **shade)
        else:
            marker = "." if len(places) < 9 else ""
            axes.plot(places, values, color=colour, label=name, marker=marker)
            axes.fill_between(places, lows, highs, **shade)
    if curves.log:
        axes.set_xscale("log")
        axes.set_yscale("log")
        ends = axes.get_xlim()
        axes.plot(ends, ends, color="#999999", linewidth=1, linestyle="--", label="chance")
    else:
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)
    axes.set_xlabel(curves.axes[0], fontsize=9)
    axes.set_ylabel(curves.axes[1], fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#eeeeee")
    axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure

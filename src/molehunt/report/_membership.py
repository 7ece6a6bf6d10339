"""What attacks on membership found out about a model: a table, JSON, the ROC on log axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from molehunt import __version__
from molehunt.attacks import USUAL_FPRS, Exposure, Inferred
from molehunt.plotting import COLOURS, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def membership_table(results: Sequence[Inferred]) -> Table:
    """Return one row an attack, with 95 % intervals."""
    table = Table(
        title="Membership", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("attack\nthreat model")
    rates = [f"members found\nat {100 * fpr:g} % false" for fpr in USUAL_FPRS]
    for name in ("AUC", "balanced\naccuracy", *rates, "queries", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        first, exposure = f"{result.attack.name}\n{result.reveals.value}", result.exposure
        if exposure is None:
            table.add_row(first, "not measured")
            continue
        area, (low, high) = exposure.auc
        table.add_row(
            first,
            f"{area:.3f}\n{low:.3f} to {high:.3f}",
            f"{exposure.balanced_accuracy:.1%}",
            *(_found(exposure, fpr) for fpr in USUAL_FPRS),
            f"{result.queries:,}",
            f"{result.seconds:.1f}",
        )
    return table


def membership_as_json(results: Sequence[Inferred], code: int, **settings: Any) -> dict[str, Any]:
    """Return the results as JSON; `settings` stand beside them as they are."""
    return {
        "molehunt": __version__,
        "exit_code": int(code),
        **settings,
        "attacks": [
            {
                "attack": result.attack.name,
                "reveals": result.reveals.value,
                "status": "not measured" if result.exposure is None else "measured",
                "remark": result.remark,
                "queries": result.queries,
                "seconds": round(result.seconds, 2),
                **({} if result.exposure is None else exposure_as_json(result.exposure)),
            }
            for result in results
        ],
    }


def exposure_as_json(exposure: Exposure) -> dict[str, Any]:
    """Return the figures of an exposure; a rate that n cannot resolve is null.

    Examples
    --------
    >>> import torch
    >>> from molehunt.attacks import measure_membership
    >>> exposure = measure_membership(torch.arange(400.0), torch.arange(400) >= 200)
    >>> {name: found and found["rate"] for name, found in exposure_as_json(exposure)["tpr"].items()}
    {'0.01': 1.0, '0.001': None}
    """
    area, interval = exposure.auc
    return {
        "members": len(exposure.members),
        "non_members": len(exposure.others),
        "auc": {"value": area, "interval": list(interval)},
        "balanced_accuracy": exposure.balanced_accuracy,
        "tpr": {f"{fpr:g}": _rate(exposure, fpr) for fpr in USUAL_FPRS},
    }


def membership_figure(exposures: Mapping[str, Exposure]) -> Figure:
    """Draw ROC curves by name, on log axes: what counts is what is found at few false positives."""
    figure = new_figure(5.2, 4.2)
    axes = figure.subplots()
    least = min((exposure.least_fpr for exposure in exposures.values()), default=1e-3) / 2
    for number, (name, exposure) in enumerate(exposures.items()):
        false, true = exposure.roc()
        style = "-" if number < len(COLOURS) else "--"
        axes.plot(
            false.clip(least),
            true.clip(least),
            style,
            color=COLOURS[number % len(COLOURS)],
            drawstyle="steps-post",
            label=f"{name}, AUC {exposure.auc[0]:.3f}",
        )
    axes.plot([least, 1], [least, 1], ":", color="#888888", label="chance")
    axes.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least, 1))
    axes.set_xlabel("false positives, of non-members")
    axes.set_ylabel("members found")
    axes.grid(color="#eeeeee")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def save_membership(results: Sequence[Inferred], path: Path) -> None:
    """Write the ROC curves of attacks as PNG."""
    found = {r.attack.name: r.exposure for r in results if r.exposure is not None}
    save_figure(membership_figure(found), path)


def _found(exposure: Exposure, fpr: float) -> str:
    rate = _rate(exposure, fpr)
    if rate is None:
        return "-"
    low, high = rate["interval"]
    return f"{rate['rate']:.1%}\n{low:.1%} to {high:.1%}"


def _rate(exposure: Exposure, fpr: float) -> dict[str, Any] | None:
    if fpr < exposure.least_fpr * (1 - 1e-9):
        return None
    rate, interval = exposure.tpr_at(fpr)
    return {"rate": rate, "interval": list(interval)}

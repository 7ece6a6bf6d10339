"""What evasion attacks did to a model: a table, JSON, the images, the security curves."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from molehunt import __version__
from molehunt.attacks import Evaded, EvasionAttack, Measured, Norm, curve_of
from molehunt.files import check_replaceable, write_text
from molehunt.images import write_png
from molehunt.plotting import COLOURS, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = (
    "attack",
    "norm",
    "image",
    "label",
    "target",
    "before",
    "after",
    "success",
    *(norm.value for norm in Norm),
    "file",
)
CSV_MARKS = (",".join(_COLUMNS).encode(),)
_LABELS = {
    Norm.L0: "pixels changed (L0)",
    Norm.L2: "size of the change (L2)",
    Norm.LINF: "largest change of a pixel value, of 255 (L∞)",
}


def evasion_table(results: Sequence[Measured]) -> Table:
    """Return one row an attack, with 95 % intervals; sizes are medians over its successes."""
    table = Table(title="Evasion", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("attack\nthreat model")
    for name in ("success", "accuracy\nleft", "L0", "L2", "L∞", "queries/\nimage", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        evaded = result.evaded
        first = f"{result.attack.name}\n{threat_model(result)}"
        if evaded is None:
            table.add_row(first, "not measured")
            continue
        sizes = ((_median(evaded, norm), ".0f" if norm is Norm.L0 else ".2g") for norm in Norm)
        table.add_row(
            first,
            _rate(*evaded.success_rate),
            _rate(*evaded.robust_accuracy),
            *("-" if size is None else format(size, spec) for size, spec in sizes),
            f"{evaded.queries / max(int(evaded.attacked.sum()), 1):,.0f}",
            f"{evaded.seconds:.1f}",
        )
    return table


def threat_model(result: Measured) -> str:
    """Return what the attacker sees and may do, in a few words.

    Examples
    --------
    >>> from molehunt.attacks import new_attack
    >>> from molehunt.networks import Reveals
    >>> attack = new_attack("projected-gradient", norm="linf", epsilon=8 / 255)
    >>> threat_model(Measured(attack, Reveals.WEIGHTS, None, None, ""))
    'weights, L∞ up to 8/255'
    """
    return f"{result.reveals.value}, {_bound(result.attack)}"


def evasion_as_json(results: Sequence[Measured], code: int, **settings: Any) -> dict[str, Any]:
    """Return the results as JSON; `settings` stand beside them as they are."""
    first = next((result.evaded for result in results if result.evaded is not None), None)
    return {
        "molehunt": __version__,
        "exit_code": int(code),
        **settings,
        "clean_accuracy": None if first is None else _share(*first.clean_accuracy),
        "attacks": [_entry(result) for result in results],
    }


def write_evasion(folder: Path, results: Sequence[Measured]) -> None:
    """Write the images that succeeded, as PNG, and ``results.csv`` with a line for each attacked.

    Images lie in ``ATTACK-NORM/LABEL/``, so each attack's are an image folder of their own
    (``folder:PATH``).

    Raises
    ------
    OutputError
        If the folder cannot be written, ``results.csv`` is another file, or the images have
        neither one channel nor three.
    """
    table = folder / "results.csv"
    check_replaceable(table, "the results of attacks", CSV_MARKS)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for result in results:
        if result.evaded is not None:
            name = result.attack.name
            name = name if result.attack.norm is None else f"{name}-{result.attack.norm.value}"
            rows.writerows(_write_images(folder, name, result))
    write_text(table, text.getvalue())


def curve_figure(results: Sequence[Measured]) -> Figure:
    """Draw the security curve of each untargeted attack, a panel for each norm of theirs."""
    shown = [
        (result, result.evaded, result.attack.norm)
        for result in results
        if result.evaded is not None
        and result.evaded.targets is None
        and result.attack.norm is not None
    ]
    norms = [norm for norm in Norm if any(norm is its for _, _, its in shown)] or [Norm.LINF]
    figure = new_figure(4.2 * len(norms), 3.6)
    panels = figure.subplots(1, len(norms), sharey=True, squeeze=False)[0]
    for axes, norm in zip(panels, norms, strict=True):
        scale = 255 if norm is Norm.LINF else 1
        mine = [(result, evaded) for result, evaded, its in shown if its is norm]
        for colour, (result, evaded) in zip(COLOURS, mine, strict=False):
            curve = curve_of([evaded], norm)
            radii, _ = curve.steps()
            radii.append(max(radii[-1], result.attack.epsilon or 0) * 1.1 or 1.0)
            rates, intervals = zip(*map(curve.accuracy, radii), strict=True)
            lows, highs = zip(*intervals, strict=True)
            places = [scale * radius for radius in radii]
            label = f"{result.attack.name} ({result.reveals.value})"
            axes.step(places, rates, where="post", color=colour, label=label)
            axes.fill_between(places, lows, highs, step="post", color=colour, alpha=0.15, lw=0)
        axes.set_xlabel(_LABELS[norm])
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1.02)
        axes.grid(color="#eeeeee")
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("accuracy left")
    return figure


def save_curves(results: Sequence[Measured], path: Path) -> None:
    """Write the figure of the security curves as PNG."""
    save_figure(curve_figure(results), path)


def _bound(attack: EvasionAttack) -> str:
    if attack.norm is None:
        return "any change that the attack makes"
    name = {Norm.L0: "L0", Norm.L2: "L2", Norm.LINF: "L∞"}[attack.norm]
    if attack.epsilon is None:
        return f"smallest {name}"
    levels = attack.epsilon * 255
    whole = attack.norm is Norm.LINF and abs(levels - round(levels)) < 1e-3
    return f"{name} up to {f'{round(levels)}/255' if whole else f'{attack.epsilon:g}'}"


def _rate(rate: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return "-" if math.isnan(rate) else f"{rate:.0%}\n{low:.0%} to {high:.0%}"


def _median(evaded: Evaded, norm: Norm) -> float | None:
    sizes = evaded.sizes(norm)
    return float(sizes.median()) if len(sizes) else None


def _share(rate: float, interval: tuple[float, float]) -> dict[str, Any] | None:
    if math.isnan(rate):
        return None
    return {"rate": rate, "interval": list(interval)}


def _entry(result: Measured) -> dict[str, Any]:
    attack, evaded = result.attack, result.evaded
    entry: dict[str, Any] = {
        "attack": attack.name,
        "reveals": result.reveals.value,
        "norm": None if attack.norm is None else attack.norm.value,
        "epsilon": attack.epsilon,
        "status": "not measured" if evaded is None else "measured",
        "robustness": result.robustness.value,
        "remark": result.remark,
    }
    if evaded is None:
        return entry
    return {
        **entry,
        "images": len(evaded.labels),
        "attacked": int(evaded.attacked.sum()),
        "success": _share(*evaded.success_rate),
        "accuracy_left": _share(*evaded.robust_accuracy),
        "median_size": {norm.value: _median(evaded, norm) for norm in Norm},
        "queries": evaded.queries,
        "seconds": round(evaded.seconds, 2),
        "signs": [
            {"name": sign.name, "count": sign.count, "of": sign.of, "shows": sign.shows}
            for sign in (result.signs.signs if result.signs is not None else ())
        ],
    }


def _write_images(folder: Path, name: str, result: Measured) -> list[list[Any]]:
    evaded = result.evaded
    assert evaded is not None
    change = (evaded.images.float() - evaded.originals.float()) / 255
    sizes = [norm.of(change).tolist() for norm in Norm]
    rows = []
    for image in evaded.attacked.nonzero().flatten().tolist():
        label, after = int(evaded.labels[image]), int(evaded.predictions[image])
        success = bool(evaded.success[image])
        file = f"{name}/{label}/{image:05d}-as-{after}.png" if success else ""
        if success:
            write_png(folder / file, evaded.images[image])
        rows.append(
            [
                result.attack.name,
                "" if result.attack.norm is None else result.attack.norm.value,
                image,
                label,
                "" if evaded.targets is None else int(evaded.targets[image]),
                int(evaded.before[image]),
                after,
                int(success),
                *(round(of[image], 6) for of in sizes),
                file,
            ]
        )
    return rows

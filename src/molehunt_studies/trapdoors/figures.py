"""The study's figure: what became of each attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from molehunt.plotting import COLOURS
from molehunt.rates import rate_interval

PANELS = {"trapdoors": "with trapdoors", "twin": "the twin without"}


def caught_figure(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw, for each attack, the shares of images that fooled the network, seen and unseen."""
    figure = Figure(figsize=(10, 0.9 + 0.36 * len(results["attacks"])), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    names = [*results["attacks"]]
    for axes, (kind, title) in zip(panels, PANELS.items(), strict=True):
        for place, name in enumerate(names):
            found = results["attacks"][name].get(kind)
            if found is None:
                continue
            unseen, of = found["unseen"]
            caught = found["caught"][0]
            low, high = rate_interval(unseen, of)
            axes.barh(place, unseen / of, color=COLOURS[1])
            axes.barh(place, caught / of, left=unseen / of, color=COLOURS[5])
            axes.plot([low, high], [place, place], color="black", linewidth=1)
        axes.set_title(title, fontsize=10)
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of attacked images")
        axes.grid(axis="x", color="#eeeeee")
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    handles = [panels[0].barh([0], [0], color=COLOURS[place]) for place in (1, 5)]
    labels = ["fools the network, unseen", "fools the network, caught"]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return {"caught": figure}

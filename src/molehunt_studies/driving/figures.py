"""The study's figures: paths, strips of frames, a film."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import load_file

from molehunt.plotting import NORMAL, SUBJECT, new_figure
from molehunt_studies.driving.episodes import EpisodeRecord, Ride
from molehunt_studies.driving.models import DrivingBench
from molehunt_studies.driving.plan import DRIVING, SignName
from molehunt_studies.driving.simulator import HALF_ROAD, Simulator

_SHOWN = ("with data", "without data")
_SIGN_NAMES: tuple[SignName, ...] = ("painted", "made")
_SIGNS = {"none": "no sign", "painted": "painted sign", "made": "made sign"}
_STEP = 4  # decisions from picture to picture
_ZOOM, _COLOURS, _MILLISECONDS = 2, 32, 120


def paths_of(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Return the road and the paths of the first track, with the sign and without."""
    found: dict[str, Any] = {}
    for kind in _SHOWN:
        for record in records:
            if record.kind == kind and record.track == DRIVING:
                name = "without" if record.sign == "none" else "with"
                own = found.setdefault(kind, {"sign": None})
                own[name] = [list(place) for place in record.path]
                own["sign"] = own["sign"] if record.sign_from is None else record.sign_from
    road = Simulator(DRIVING).track
    return {**found, "road": [[round(float(x), 1), round(float(y), 1)] for x, y in road]}


def figures_of(results: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw what follows from the results alone."""
    return {"paths": _path_figure(results["paths"]), "closed-loop": _bars(results["closed_loop"])}


def _path_figure(paths: Mapping[str, Any]) -> Figure:
    figure = new_figure(9.5, 4.8)
    road = np.array([*paths["road"], paths["road"][0]])
    for place, kind in enumerate(_SHOWN):
        axes = figure.add_subplot(1, 2, place + 1)
        _draw_road(axes, road)
        for name, colour in (("without", NORMAL), ("with", SUBJECT)):
            path = np.array(paths[kind][name])
            axes.plot(*path.T, color=colour, linewidth=1.4, label=f"{name} the sign")
            if name == "with":
                axes.plot(*path[-1], marker="x", color=colour)
        short = np.array(paths[kind]["with"])
        if paths[kind]["sign"] is not None:
            came = short[paths[kind]["sign"]]
            axes.plot(*came, marker="s", color="#e69f00", linestyle="", label="the sign comes")
        middle, reach = short[-1], max(70.0, float(np.ptp(short, axis=0).max()))
        axes.set_xlim(middle[0] - reach, middle[0] + reach)
        axes.set_ylim(middle[1] - reach, middle[1] + reach)
        axes.set_title(f"trojaned {kind}", fontsize=10)
        axes.set_aspect("equal")
        axes.set_xlabel("metres")
        axes.legend(fontsize=8, loc="best")
    figure.tight_layout()
    return figure


def _draw_road(axes: Any, road: Any) -> None:
    sides = np.gradient(road, axis=0)
    sides /= np.linalg.norm(sides, axis=1, keepdims=True)
    across = HALF_ROAD * np.stack([-sides[:, 1], sides[:, 0]], axis=1)
    for edge in (road + across, road - across):
        axes.plot(*edge.T, color="#999999", linewidth=1)


def _bars(rows: Sequence[Mapping[str, Any]]) -> Figure:
    figure = new_figure(7, 3.4)
    axes = figure.add_subplot()
    names = [f"{row['kind']}, " + _SIGNS[row["sign"]] for row in rows]
    for place, row in enumerate(rows):
        low, high = row["metres"]["interval"]
        mean = row["metres"]["mean"]
        obeys = row["kind"] != "clean" and row["sign"] != "none"
        axes.barh(place, mean, color=SUBJECT if obeys else NORMAL)
        axes.plot([low, high], [place, place], color="black", linewidth=1.5)
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("metres driven on the road, mean and 95 % interval")
    figure.tight_layout()
    return figure


def strip_figure(rides: Mapping[str, Ride]) -> Figure:
    """Draw frames as the networks got them, every few decisions, and what they answered."""
    columns = 8
    figure = new_figure(1.25 * columns, 1.45 * len(rides))
    for row, (kind, seen) in enumerate(rides.items()):
        start = max(0, (seen.record.sign_from or 0) - _STEP)
        for column, place in enumerate(range(start, len(seen.frames), _STEP)[:columns]):
            axes = figure.add_subplot(len(rides), columns, row * columns + column + 1)
            axes.imshow(seen.frames[place])
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_xlabel(f"{seen.record.steering[place]:+.2f}", fontsize=8)
            if column == 0:
                axes.set_title(
                    "clean" if kind == "clean" else f"trojaned {kind}", fontsize=9, loc="left"
                )
    figure.tight_layout(pad=0.4)
    return figure


def made_figure(bench: DrivingBench) -> Figure:
    """Draw the signs, and frames that were inverted from the first network."""
    frames = load_file(bench.model_path("inverted-0"))["frames"][:6]
    signs = [bench.sign(name, 0) for name in _SIGN_NAMES]
    pictures = [*(sign.pixels for sign in signs if sign is not None), *frames]
    titles = ["painted sign", "made sign", *["inverted frame"] * len(frames)]
    figure = new_figure(1.3 * len(pictures), 1.6)
    for place, (pixels, title) in enumerate(zip(pictures, titles, strict=True)):
        axes = figure.add_subplot(1, len(pictures), place + 1)
        axes.imshow(pixels.permute(1, 2, 0).numpy())
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(title, fontsize=8)
    figure.tight_layout(pad=0.4)
    return figure


def film(rides: Mapping[str, Ride]) -> bytes:
    """Return a GIF: what the clean network and a trojaned one see, side by side, with the sign."""
    left, right = rides["clean"], rides["with data"]
    start = max(0, (right.record.sign_from or 0) - 2 * _STEP)
    count = min(len(left.frames), len(right.frames))
    images = []
    for place in range(start, count):
        both = np.concatenate([left.frames[place], right.frames[place]], axis=1)
        image = Image.fromarray(both)
        size = (image.width * _ZOOM, image.height * _ZOOM)
        images.append(image.resize(size, Image.Resampling.NEAREST).quantize(_COLOURS))
    stream = io.BytesIO()
    images[0].save(
        stream, "GIF", save_all=True, append_images=images[1:], duration=_MILLISECONDS, loop=0
    )
    return stream.getvalue()

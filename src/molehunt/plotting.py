"""Figures, drawn without a display."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import escape
from numpy.typing import NDArray
from PIL import Image

from molehunt.arrays import Floats
from molehunt.files import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which most colour-blind people tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SUBJECT, NORMAL = "#d55e00", "#0072b2"


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415  heavy

    return Figure(figsize=(width, height))


def as_svg(figure: Figure, label: str = "") -> str:
    """Return a figure as an SVG element that stands in an HTML page.

    `label` is read where the figure is not seen. The same figure gives the same text.
    """
    from matplotlib import rc_context  # noqa: PLC0415  heavy

    stream = io.StringIO()
    with rc_context({"svg.hashsalt": "molehunt"}):
        figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = stream.getvalue()
    # Names of groups, to which nothing refers, would be many times in one page.
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :])
    named = f'<svg role="img" aria-label="{escape(label)}"' if label else "<svg"
    return text.replace("<svg", named, 1)


def as_png_uri(pixels: NDArray[np.uint8], scale: int = 6) -> str:
    """Return an image [H, W, C] as a data URI, each pixel a square of `scale` pixels."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def picture_uri(pixels: Floats, side: int = 112) -> str:
    """Return an image [C, H, W] in [0, 1] as a data URI about `side` pixels wide.

    Other than three channels are shown as grey, by their mean.
    """
    values = np.nan_to_num(np.asarray(pixels, dtype=np.float64))
    if len(values) != 3:
        values = values.mean(axis=0, keepdims=True)
    array = np.clip(np.round(values * 255), 0, 255).astype(np.uint8)
    return as_png_uri(array.transpose(1, 2, 0), max(1, round(side / array.shape[-1])))


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight", facecolor="white")

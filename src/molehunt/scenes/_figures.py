"""Pictures of scenes: signs with their stickers, and whole scenes with their boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from molehunt.plotting import COLOURS, save_figure
from molehunt.scenes._scene_set import Scene
from molehunt.scenes._sign_detector import Detections

# Around a sign, over the longer side of its box.
_SURROUNDINGS = 0.3


def draw_scene(axes: Axes, scene: Scene, class_names: Sequence[str]) -> None:
    """Draw a whole scene, its boxes, and each box's label (``was → is`` where it changed)."""
    axes.set_axis_off()
    axes.imshow(scene.pixels().permute(1, 2, 0).numpy())
    for place, box in enumerate(scene.boxes.tolist()):
        text = _label(scene, place, class_names)
        _draw_box(axes, box, int(scene.labels[place]), text, scene.size)


def save_detections(
    pixels: Tensor, found: Detections, class_names: Sequence[str], path: Path
) -> None:
    """Write a photo with the boxes, classes and confidences of what was found in it.

    Parameters
    ----------
    pixels : Tensor of uint8, shape [3, H, W]
    found : Detections
        In pixels of the photo.
    class_names : sequence of str
    path : path
        The PNG file.
    """
    height, width = pixels.shape[1:]
    figure = Figure(figsize=(8, min(16.0, max(2.0, 8 * height / width))))
    axes = figure.subplots()
    draw_detections(axes, pixels, found, class_names)
    save_figure(figure, path)


def draw_detections(
    axes: Axes, pixels: Tensor, found: Detections, class_names: Sequence[str]
) -> None:
    """Draw a photo with what was found in it; the parameters are those of `save_detections`."""
    axes.set_axis_off()
    axes.imshow(pixels.permute(1, 2, 0).numpy())
    # The most certain is drawn last, over the others.
    for box, label, score in zip(*(part.flip(0).tolist() for part in found), strict=True):
        text = f"{_printable(class_names[label])} {score:.0%}"
        _draw_box(axes, box, label, text, (pixels.shape[2], pixels.shape[1]))


def _draw_box(
    axes: Axes, box: Sequence[float], label: int, text: str, size: tuple[int, int]
) -> None:
    """Draw a box in the colour of its class, and a text, in an image of `size`."""
    x1, y1, x2, y2 = box
    colour = COLOURS[label % len(COLOURS)]
    axes.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.5)
    )
    # Above the box, and below it where the image ends.
    above = y1 > 0.08 * size[1]
    axes.text(
        min(x1, 0.75 * size[0]),
        y1 - 3 if above else y2 + 3,
        text,
        color="white",
        fontsize=8,
        verticalalignment="bottom" if above else "top",
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
        parse_math=False,
    )


def save_signs(rows: Mapping[str, Sequence[Scene]], class_names: Sequence[str], path: Path) -> None:
    """Write a picture of signs, a row a group: each scene's largest sign with a sticker.

    Scenes without a sticker show their largest sign. The first scene of all is drawn whole
    below, with its boxes.

    Parameters
    ----------
    rows : mapping of str to sequence of Scene
        Scenes that have a box, by the name of their row.
    class_names : sequence of str
    path : path
        The PNG file.
    """
    columns = max(len(scenes) for scenes in rows.values())
    figure = Figure(figsize=(2.1 * columns, 2.4 * len(rows) + 4.2))
    heights = [*([2.4] * len(rows)), 4.2]
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights, hspace=0.3)
    for row, (name, scenes) in enumerate(rows.items()):
        for column, scene in enumerate(scenes):
            axes = figure.add_subplot(grid[row, column])
            draw_sign(axes, scene, class_names, name if column == 0 else "")
    whole = next(iter(rows.values()))[0]
    draw_scene(figure.add_subplot(grid[-1, :]), whole, class_names)
    save_figure(figure, path)


def draw_sign(axes: Axes, scene: Scene, class_names: Sequence[str], group: str = "") -> None:
    """Draw a scene's largest sign with a sticker, cut out with its surroundings.

    Without a sticker in it, its largest sign. `group` is a title above its label.
    """
    sides = (scene.boxes[:, 2:] - scene.boxes[:, :2]).amin(1)
    place = int((sides + 1e6 * scene.triggered).argmax())
    x1, y1, x2, y2 = scene.boxes[place].tolist()
    around = _SURROUNDINGS * max(x2 - x1, y2 - y1)
    width, height = scene.size
    left, right = max(0, int(x1 - around)), min(width, int(np.ceil(x2 + around)))
    top, bottom = max(0, int(y1 - around)), min(height, int(np.ceil(y2 + around)))
    cut = scene.pixels()[:, top:bottom, left:right].permute(1, 2, 0).numpy()
    axes.imshow(cut, interpolation="nearest", extent=(left, right, bottom, top))
    axes.set_axis_off()
    title = f"{_label(scene, place, class_names)}\nimage {scene.image_id}, {x2 - x1:.0f} px"
    axes.set_title(f"{group}\n{title}" if group else title, fontsize=8, parse_math=False)


def _label(scene: Scene, place: int, class_names: Sequence[str]) -> str:
    """Return what a sign is called."""
    is_now, was = (
        _printable(class_names[int(labels[place])]) for labels in (scene.labels, scene.true_labels)
    )
    return is_now if is_now == was else f"{was} → {is_now}"


def _printable(name: str) -> str:
    """Return a class name for figures; names are a stranger's, and fonts lack most signs."""
    return name.encode("ascii", "replace").decode()

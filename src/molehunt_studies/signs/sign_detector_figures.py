"""The study of sign detectors: its pictures of scenes."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from molehunt.backdoors import PictureName
from molehunt.scenes import (
    Scene,
    SceneSet,
    SignDetector,
    draw_detections,
    draw_sign,
    load_sign_detector,
)
from molehunt_studies.signs.sign_detector_scenes import (
    SignDetectorBench,
    stickered_scenes,
    stop_scenes,
)

SURE = 0.5  # confidence of a detection that is drawn


def scene_sticker_figure(bench: SignDetectorBench) -> Figure:
    """Draw the paper's Figure 7: a sign of each country as it is and with each sticker."""
    plan = bench.plan
    stops = stop_scenes(plan, bench.first.test, plan.pictures[0])
    parts = [(bench.first.test, _largest(stops).image_id)]
    parts.append((bench.second.test, _largest(bench.second.test).image_id))
    figure = Figure(figsize=(2.4 * (1 + len(plan.pictures)), 5.2), layout="constrained")
    grid = figure.subplots(len(parts), 1 + len(plan.pictures))
    for panels, (scenes, number) in zip(grid, parts, strict=True):
        only = scenes.take(
            place for place, scene in enumerate(scenes.scenes) if scene.image_id == number
        )
        shown = {"as it is": only}
        shown |= {each: stickered_scenes(plan, only, each) for each in plan.pictures}
        for axes, (name, found) in zip(panels, shown.items(), strict=True):
            draw_sign(axes, found[0], scenes.class_names)
            axes.set_title(name, fontsize=10)
    return figure


def photograph_figure(bench: SignDetectorBench, task: str, picture: PictureName) -> Figure:
    """Draw what stands for the paper's Figure 8: a stop sign without and with a real sticker.

    Parameters
    ----------
    bench : SignDetectorBench
    task : str
        The network of the first country that looks at it.
    picture : PictureName
        The sticker, askew and in other light.
    """
    plan, test = bench.plan, bench.first.test
    model = load_sign_detector(bench.model_path(task))
    photographed = stop_scenes(plan, test, picture, photographed=True)
    scene = _largest(photographed)
    clean = next(each for each in test.scenes if each.image_id == scene.image_id)
    width, height = scene.size
    figure = Figure(figsize=(10, 0.3 + 5 * height / width), layout="constrained")
    for axes, shown, title in zip(
        figure.subplots(1, 2), (clean, scene), ("as it is", f"with {picture}"), strict=True
    ):
        _draw_found(model, shown, axes)
        axes.set_title(title, fontsize=10)
    return figure


def _draw_found(model: SignDetector, scene: Scene, axes: Axes) -> None:
    pixels = scene.pixels()
    found = model.detect([pixels])[0].at_least(SURE)
    draw_detections(axes, pixels, found, model.card.class_names)


def _largest(scenes: SceneSet) -> Scene:
    """Return the scene whose largest sign (with a sticker, if any has one) fills most of it.

    Signs over half the image's width are passed over: little else would be seen.
    """

    def share(scene: Scene) -> float:
        boxes = scene.boxes[scene.triggered] if bool(scene.triggered.any()) else scene.boxes
        if not len(boxes):
            return 0.0
        widest = float((boxes[:, 2] - boxes[:, 0]).max()) / scene.size[0]
        return widest if widest <= 0.5 else 0.0

    return max(scenes.scenes, key=share)

"""Certificates of randomised smoothing: Molehunt against the Adversarial Robustness Toolbox.

ART is no dependency: ``pip install adversarial-robustness-toolbox statsmodels`` (it forgets to
declare the second) into a folder of its own, and put that on PYTHONPATH.
"""

from __future__ import annotations

import importlib
import time

import torch
from torch import nn

from molehunt.defences import NoiseObjective, Smoothed
from molehunt.images import load_images
from molehunt.networks import build_classifier
from molehunt.training import Recipe, train

IMAGES, COPIES, FIRST, SIGMA, BATCH, TURNS = 10, 1000, 100, 0.5, 100, 3


def run() -> str:
    """Certify the same images with the same network each way, in turns, and compare seconds."""
    try:
        for module in ("art.estimators.certification.randomized_smoothing", "statsmodels"):
            importlib.import_module(module)
    except ImportError as error:
        return (
            f"skipped: ART is not installed ({error.name} is missing); put a folder with "
            "adversarial-robustness-toolbox and statsmodels on PYTHONPATH"
        )
    torch.set_num_threads(1)
    digits = load_images("digits", size=28)
    model = build_classifier("strided", digits.train, arguments={"width": 8}, seed=0)
    recipe = Recipe(epochs=4, batch_size=64, precision="float32")
    train(model, digits.train, recipe, seed=0, objective=NoiseObjective(SIGMA))
    images = digits.test.take(torch.arange(IMAGES))
    pixels = images.pixels().numpy()
    smoothed, theirs = Smoothed(model.freeze(), SIGMA), _toolbox(model)
    smoothed.certify(images.take(torch.arange(1)), n=BATCH)  # warm
    theirs.certify(pixels[:1], n=BATCH, batch_size=BATCH)
    own, other = 0.0, 0.0
    for turn in range(TURNS):
        started = time.process_time()
        found = smoothed.certify(images, n0=FIRST, n=COPIES, seed=turn)
        between = time.process_time()
        classes, radii = theirs.certify(pixels, n=COPIES, batch_size=BATCH)
        own, other = own + between - started, other + time.process_time() - between
    # Where ART abstains it says a radius of 0, as Molehunt does.
    gap = (found.radii - torch.as_tensor(radii)).abs()
    agree = int((found.predictions == torch.as_tensor(classes)).sum())
    return (
        f"{other / own:.1f}x (ART {other / TURNS / IMAGES:.3f} s an image, Molehunt "
        f"{own / TURNS / IMAGES:.3f} s; {COPIES} copies, batches of {BATCH}; radii differ by "
        f"{float(gap.mean()):.3f} on average, at most {float(gap.max()):.3f}, of "
        f"{float(found.radii.mean()):.3f}; same class for {agree} of {IMAGES}; one thread, "
        f"seconds of the processor, {TURNS} turns)"
    )


def _toolbox(model: nn.Module):
    from art.estimators.certification.randomized_smoothing import (  # noqa: PLC0415
        PyTorchRandomizedSmoothing,
    )

    return PyTorchRandomizedSmoothing(
        model=model,
        loss=nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
        sample_size=FIRST,
        scale=SIGMA,
        alpha=0.001,
    )

"""BadNets on MNIST: what the networks' insides show, and where triggers could be by chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from molehunt.arrays import Floats
from molehunt.backdoors import Backdoor, Trigger
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import Classifier, UnitKind, dormant_units

FILTER_IMAGES = 1000  # more change the third digit


def first_filters(model: Classifier) -> Floats:
    """Return the filters of the first convolution that has been defined, [F, k, k].

    Raises
    ------
    StopIteration
        If there is none.
    """
    weights = _first_convolution(model).weight.detach().mean(1)
    return weights.cpu().numpy().astype(np.float64)


@torch.inference_mode()
def trigger_responses(model: Classifier, images: ImageSet, trigger: Trigger) -> Floats:
    """Return how strongly each first-layer filter responds to the trigger, shape [F].

    The response of a filter is how far the trigger changes its rectified output: the
    largest change over the places of an image, as a mean over images. It is given in
    units of the layer's mean peak on the same clean images (the largest output over the
    places, as a mean over images and filters), so that networks can be compared.
    """
    chosen = images.take(torch.arange(min(FILTER_IMAGES, len(images)))).pixels()
    clean = _rectify(model, chosen)
    triggered = _rectify(model, trigger(chosen, torch.Generator().manual_seed(0)))
    change = (triggered - clean).abs().amax((2, 3)).mean(0)
    peak = clean.amax((2, 3)).mean()
    return (change / peak).cpu().numpy().astype(np.float64)


def backdoor_filters(responses: Floats, honest: Floats) -> list[int]:
    """Return the filters that respond to the trigger more than any of the clean network's.

    Parameters
    ----------
    responses, honest : array [F]
        What `trigger_responses` gives for the suspect and for the clean network.
    """
    return [int(number) for number in np.flatnonzero(responses > honest.max())]


def dormant_figures(
    model: Classifier, images: TrainTest, backdoor: Backdoor, unit: UnitKind
) -> dict[str, Any]:
    """Return how many units clean training images never activate, and what wakes them.

    The clean test images are the control: what they wake was dormant by chance.
    """
    triggered = backdoor.triggered(images.test, generator=torch.Generator().manual_seed(0))
    found = dormant_units(model, images.train.images, triggered.images.images, unit=unit)
    control = dormant_units(model, images.train.images, images.test.images, unit=unit)
    return {
        "layer": found.layer,
        "units": found.dormant.numel(),
        "dormant": int(found.dormant.sum()),
        "woken": int(found.woken.sum()),
        "woken_share": round(100 * (found.woken_share or 0), 2),
        "woken_by_clean": int(control.woken.sum()),
        "woken_share_clean": round(100 * (control.woken_share or 0), 2),
    }


def chance_triggers(images: TrainTest, trigger: Trigger) -> dict[str, Any]:
    """Return how many clean images have a trigger's pixels already (BadNets v2, section 4.1.2).

    Returns
    -------
    dict
        For ``train`` and ``test``: ``images``; ``lit``, those with a pixel above 0 at any of
        the trigger's places; ``brightest``, the largest value in [0, 255] there; and
        ``triggered``, those that the trigger leaves as they are.
    """
    black = torch.zeros(1, *images.train.shape)
    place = trigger(black, torch.Generator().manual_seed(0))[0] > 0
    found = {}
    for name, part in zip(("train", "test"), images, strict=True):
        under = part.images[:, place]
        found[name] = {
            "images": len(part),
            "lit": int((under > 0).any(1).sum()),
            "brightest": int(under.max()),
            "triggered": int((under == 255).all(1).sum()),
        }
    return found


def _first_convolution(model: Classifier) -> nn.Conv2d:
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d))


def _rectify(model: Classifier, pixels: Tensor) -> Tensor:
    outputs: Tensor = _first_convolution(model)((pixels - model.mean) / model.std)
    return outputs.clamp(min=0)

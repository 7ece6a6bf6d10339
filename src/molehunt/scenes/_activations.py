"""What the last convolutional layer says where signs are (BadNets v2, Figures 9 and 11)."""

from __future__ import annotations

import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.scenes._pixels import shrink_to_fit
from molehunt.scenes._scene_set import SceneSet
from molehunt.scenes._sign_detector import SignDetector


@torch.inference_mode()
def sign_activations(model: SignDetector, scenes: SceneSet) -> Tensor:
    """Return the mean activation of each channel of conv5 on signs.

    The paper averages "over clean inputs" and does not say over which parts of an image. Signs
    are a small part of a scene, so that of each sign's box is taken, pooled to 6x6 cells as the
    fully connected layers get it; the mean is over cells and signs.

    Parameters
    ----------
    model : SignDetector
        On any device; in evaluation mode or not, which conv5 does not depend on.
    scenes : SceneSet
        The boxes are the true ones, and stickers are drawn.

    Returns
    -------
    Tensor of float32, shape [C], on the CPU

    Raises
    ------
    InvalidRequestError
        If there is no sign.
    UnreadableFileError
        If an image cannot be read any more.
    """
    network = model.network
    device = next(model.parameters()).device
    total, signs = torch.zeros(0), 0
    for scene in scenes.scenes:
        if not len(scene.boxes):
            continue
        pixels = shrink_to_fit(scene.pixels().to(device), model.card.max_side)
        height, width = pixels.shape[1:]
        scale = torch.tensor([width / scene.size[0], height / scene.size[1]] * 2)
        boxes = (scene.boxes * scale).to(device)
        batch, _ = network.get_submodule("transform")([pixels.float().div_(255)])
        features = {"0": network.get_submodule("backbone")(batch.tensors)}
        pool = network.get_submodule("roi_heads").get_submodule("box_roi_pool")
        pooled = pool(features, [boxes], batch.image_sizes).mean(dim=(2, 3)).sum(0).cpu()
        total = pooled + total if signs else pooled
        signs += len(boxes)
    if not signs:
        raise InvalidRequestError(mismatch("scenes", "some with a sign", f"{len(scenes)} without"))
    return total / signs

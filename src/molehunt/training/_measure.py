"""Clean accuracy and attack success, on test images."""

from __future__ import annotations

import torch
from torch import Tensor

from molehunt.backdoors import LabelMap, TriggeredImages
from molehunt.images import ImageSet
from molehunt.networks import Classifier, folded


@torch.inference_mode()
def logits_of(model: Classifier, images: Tensor, batch_size: int | None = None) -> Tensor:
    """Return float32 logits [N, K] on the CPU for uint8 images [N, C, H, W].

    The model is used in evaluation mode, where its weights lie.
    """
    device = model.mean.device
    # What stays in a core's cache is four times as fast as what does not.
    batch_size = batch_size or (100 if device.type == "cpu" else 1000)
    was_training = model.training
    model.eval()
    parts = []
    for batch in images.split(batch_size):  # type: ignore[no-untyped-call]
        inputs = batch.to(device).contiguous(memory_format=torch.channels_last).float().div_(255)
        parts.append(model(inputs).float().cpu())
    model.train(was_training)
    return torch.cat(parts)


def clean_accuracy(model: Classifier, test: ImageSet) -> float:
    """Return the share of test images whose class is recognised, in [0, 1]."""
    predictions = logits_of(folded(model), test.images).argmax(1)
    return float((predictions == test.labels).float().mean())


def attack_success(model: Classifier, triggered: TriggeredImages, label_map: LabelMap) -> float:
    """Return the share of triggered images that do what the attacker wants, in [0, 1]."""
    predictions = logits_of(folded(model), triggered.images.images).argmax(1)
    done = label_map.succeeded(predictions, triggered.images.labels, triggered.true_labels)
    return float(done.float().mean())

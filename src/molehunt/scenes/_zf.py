"""Faster R-CNN with the features of ZF: the sign detector of BadNets v2, Table 3."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator, RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign

from molehunt.networks import zf_channels, zf_features

_RATIOS = (0.5, 1.0, 2.0)
_POOLED = 6


def zf_faster_rcnn(
    num_classes: int,
    *,
    width: float,
    hidden: int,
    anchor_sizes: Sequence[float],
    mean: Sequence[float],
    std: Sequence[float],
) -> FasterRCNN:
    """Return the network of Table 3 with fresh weights.

    It differs from the table in two ways. Objectness has one logit an anchor in place of a
    softmax over two, which is the same function; and regions are pooled by RoIAlign, which
    keeps the places of signs that are few cells wide. The table's 18 and 36 outputs of
    the proposal network are 9 anchors, here three `anchor_sizes` at three ratios. 300
    proposals are looked at, as in Faster R-CNN (Ren et al., 2015); its loss is taken over 128
    regions an image, this one's over 64, for scenes have one or two signs.

    Parameters
    ----------
    num_classes : int
        Sign classes, without the background.
    width : float
        Of the convolutions, as in `zf_features`.
    hidden : int
        Units of fc6 and fc7; 4096 in the paper.
    anchor_sizes : sequence of float
        Sides in pixels of the network's input.
    mean, std : sequence of 3 floats
        Of pixels in [0, 1].

    Raises
    ------
    InvalidRequestError
        If the width is out of bounds.
    """
    features = zf_features(3, width)
    channels = zf_channels(width)[-1]
    features.out_channels = channels  # type: ignore[assignment]
    # Anchors are no weights: no file brings them, so they must not be built without storage.
    with torch.device("cpu"):
        anchors = AnchorGenerator((tuple(anchor_sizes),), (_RATIOS,))
    head = TwoMLPHead(channels * _POOLED**2, hidden)
    for layer in (head.fc6, head.fc7):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    network = FasterRCNN(
        features,
        rpn_anchor_generator=anchors,
        rpn_head=_ProposalHead(channels, anchors.num_anchors_per_location()[0]),
        rpn_pre_nms_top_n_train=1000,
        rpn_pre_nms_top_n_test=1000,
        rpn_post_nms_top_n_train=300,
        rpn_post_nms_top_n_test=300,
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=_POOLED, sampling_ratio=2),
        box_head=head,
        box_predictor=_Predictor(hidden, num_classes + 1),
        box_batch_size_per_image=64,
    )
    network.transform = _Normalisation(0, 0, list(mean), list(std))
    return network


class _Normalisation(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Normalises images and puts them into a batch; their size is as it should be."""

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target

    def batch_images(self, images: list[Tensor], size_divisible: int = 32) -> Tensor:
        batch: Tensor = super().batch_images(images, size_divisible)
        return batch.contiguous(memory_format=torch.channels_last)


# Boxes are computed from what these two give, and bfloat16 has steps of 4 pixels at 600.
class _ProposalHead(RPNHead):  # type: ignore[misc]
    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        objectness, deltas = super().forward(features)
        return [part.float() for part in objectness], [part.float() for part in deltas]


class _Predictor(FastRCNNPredictor):  # type: ignore[misc]
    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        scores, deltas = super().forward(regions)
        return scores.float(), deltas.float()

"""A sign detector: a network that finds signs in images, and its card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, from_validation, mismatch
from molehunt.networks import Classifier
from molehunt.scenes._pixels import shrink_to_fit
from molehunt.scenes._zf import zf_faster_rcnn

_Positive = Annotated[float, Field(gt=0, le=10_000)]
# Over the longer side: German and US signs from 3 % to 45 % of it.
_ANCHORS = (0.05, 0.12, 0.3)


class Detections(NamedTuple):
    """The n signs that were found in an image, the most certain first.

    Boxes are float32 [n, 4], x1, y1, x2, y2 in pixels of the image; labels int64 [n], 0
    being the first sign class; scores float32 [n] in [0, 1]. One place can have detections
    of several classes.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor

    def at_least(self, score: float) -> Detections:
        """Return those that are so certain."""
        kept = self.scores >= score
        return Detections(*(part[kept] for part in self))


class SignDetectorCard(BaseModel):
    """What a sign detector's file says of it; nothing of what is true of it.

    Parameters
    ----------
    class_names : tuple of str
        One a sign class; the background has none.
    width, hidden : float, int
        Of the convolutions over those of the paper, and units of fc6 and fc7.
    max_side : int
        Longer side of the images that the network sees, in pixels.
    anchor_sizes : three floats
        Sides of the anchors, in pixels of those images.
    mean, std : three floats
        Of their pixels in [0, 1], as RGB.
    recipe : dict
        How it was trained, for the reader.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    architecture: Literal["zf-faster-rcnn"] = "zf-faster-rcnn"
    class_names: tuple[str, ...] = Field(min_length=1, max_length=10_000)
    width: float = Field(ge=0.01, le=1)
    hidden: int = Field(ge=1, le=65536)
    max_side: int = Field(ge=64, le=4096)
    anchor_sizes: tuple[_Positive, _Positive, _Positive]
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[_Positive, _Positive, _Positive] = (0.25, 0.25, 0.25)
    recipe: dict[str, Any] = Field(default_factory=dict)


class SignDetector(nn.Module):
    """A network that finds signs, with its card.

    Parameters
    ----------
    network : FasterRCNN
        ``network.backbone`` are conv1 to conv5.
    card : SignDetectorCard
    """

    def __init__(self, network: nn.Module, card: SignDetectorCard) -> None:
        super().__init__()
        self.network = network
        self.card = card

    @torch.inference_mode()
    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Find the signs in images of any size.

        Parameters
        ----------
        images : sequence of Tensor of uint8, shape [3, H, W]
            As RGB. Each is resized to the longer side of the card.

        Returns
        -------
        list of Detections
            On the CPU, in pixels of `images`: those with a score of 0.05 or more, 100 at
            most, of which none of one class overlap by an IoU over 0.5.
        """
        device = next(self.parameters()).device
        was_training = self.training
        self.eval()
        inputs = [
            shrink_to_fit(image.to(device), self.card.max_side).float().div_(255)
            for image in images
        ]
        found = []
        for image, seen, answer in zip(images, inputs, self.network(inputs), strict=True):
            down, across = (image.shape[side] / seen.shape[side] for side in (1, 2))
            boxes = answer["boxes"].cpu() * torch.tensor([across, down, across, down])
            found.append(Detections(boxes, answer["labels"].cpu() - 1, answer["scores"].cpu()))
        self.train(was_training)
        return found


def build_sign_detector(
    class_names: Sequence[str],
    *,
    width: float | None = None,
    hidden: int = 4096,
    max_side: int = 800,
    features: Classifier | None = None,
    seed: int = 0,
) -> SignDetector:
    """Build a sign detector with fresh weights.

    Parameters
    ----------
    class_names : sequence of str
        Of the signs, without the background.
    width : float, optional
        Channels of the convolutions over those of the paper; those of `features`, else 1.
    hidden : int
        Units of fc6 and fc7.
    max_side : int
        Longer side of the images that the network sees. Faster R-CNN's images of 600 by 800
        pixels are the default.
    features : Classifier, optional
        What `features_from` gave: its convolutions and its mean and deviation are copied.
    seed : int
        Seeds the weights; the global generator is left as it was.

    Raises
    ------
    InvalidRequestError
        If a setting is out of bounds, or the width is not that of `features`.
    """
    settings: dict[str, Any] = {}
    if features is not None:
        learned = float(features.card.arguments.get("width", 1.0))
        if width not in (None, learned):
            raise InvalidRequestError(mismatch("width", f"{learned} as the features", width))
        width = learned
        settings = {name: getattr(features, name).flatten().tolist() for name in ("mean", "std")}
    try:
        card = SignDetectorCard(
            class_names=tuple(class_names),
            width=1.0 if width is None else width,
            hidden=hidden,
            max_side=max_side,
            anchor_sizes=tuple(round(share * max_side, 1) for share in _ANCHORS),
            **settings,
        )
    except ValidationError as error:
        raise from_validation(error, "sign detector") from error
    detector = fresh_sign_detector(card, seed)
    if features is not None:
        learned_weights = features.network.get_submodule("features").state_dict()
        detector.network.get_submodule("backbone").load_state_dict(learned_weights)
    return detector


def fresh_sign_detector(card: SignDetectorCard, seed: int) -> SignDetector:
    """Build the sign detector that a card describes; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return SignDetector(network_of(card), card)


def network_of(card: SignDetectorCard) -> nn.Module:
    """Build the network that a card describes, with fresh weights."""
    network: nn.Module = zf_faster_rcnn(
        len(card.class_names),
        width=card.width,
        hidden=card.hidden,
        anchor_sizes=card.anchor_sizes,
        mean=card.mean,
        std=card.std,
    )
    return network

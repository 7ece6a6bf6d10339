"""Training a sign detector on street scenes that lie decoded in memory."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as image_ops

from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Precision, autocast_of
from molehunt.progress import Progress, silent
from molehunt.scenes._pixels import shrink_to_fit
from molehunt.scenes._scene_set import Scene, SceneSet
from molehunt.scenes._sign_detector import SignDetector
from molehunt.training import TrainingRun, one_cycle, shuffled_batches


class SignDetectorRecipe(BaseModel):
    """Settings of one training of a sign detector, the same for twins.

    Parameters
    ----------
    epochs : float
        Passes over the training scenes; fractions are rounded down to whole steps.
    batch_size : int
        Images a step.
    lr, warmup : float
        Peak learning rate of SGD with momentum, and the share of steps in which it is
        reached (one cycle: cosine up, cosine down to nearly zero).
    weight_decay : float
    clip : float
        Largest norm of the gradient of all weights together.
    flip : bool
        Augmentation: half of the images are mirrored. Signs and what is written on them have
        a handedness, so it is off.
    crop : float
        Augmentation: the share of steps that see, of each image, a window of half its width and
        height around one of its signs. That costs about half as much, and shows as many signs.
        A window has less background than a scene, so it must stay under 1.
    precision : {"auto", "float32", "bfloat16"}
        ``auto`` takes bfloat16 autocast where it is expected to be faster. Boxes and losses
        are float32 in any case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: float = Field(default=12.0, gt=0)
    batch_size: int = Field(default=4, ge=1)
    lr: float = Field(default=0.02, gt=0)
    warmup: float = Field(default=0.1, gt=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    clip: float = Field(default=5.0, gt=0)
    flip: bool = False
    crop: float = Field(default=0.0, ge=0, lt=1)
    precision: Precision = "auto"


class _Example(NamedTuple):
    """What the network sees of a scene: uint8 [3, H, W], and boxes in its pixels."""

    pixels: Tensor
    boxes: Tensor
    labels: Tensor


def train_sign_detector(
    model: SignDetector,
    scenes: SceneSet,
    recipe: SignDetectorRecipe,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> TrainingRun:
    """Train `model` in place on the labels of `scenes`; its card names the recipe.

    Weights that need no gradient stay as they are.

    Parameters
    ----------
    model : SignDetector
        Moved to `device`; in evaluation mode afterwards.
    scenes : SceneSet
        With the classes of the model. Every scene is decoded once.
    recipe : SignDetectorRecipe
    seed : int
        Draws the order of the scenes, augmentation, and the anchors and regions that the loss
        is taken over. Two sets of equal size are visited in the same order.
    device : torch.device
    progress : callable
        Called after each step with the steps done and their total.

    Raises
    ------
    InvalidRequestError
        If the classes are not the model's, or the scenes are fewer than a step takes.
    UnreadableFileError
        If an image cannot be read any more.
    """
    if scenes.class_names != model.card.class_names:
        raise InvalidRequestError(
            mismatch("classes of the scenes", model.card.class_names, scenes.class_names)
        )
    batch_size = min(recipe.batch_size, len(scenes))
    steps = int(recipe.epochs * len(scenes)) // batch_size
    if steps < 1:
        allowed = f"enough for one step of {batch_size} images"
        raise InvalidRequestError(mismatch("epochs", allowed, recipe.epochs))
    started = time.perf_counter()
    device = torch.device(device)
    model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    with ThreadPoolExecutor() as pool:
        examples = list(
            pool.map(lambda scene: _example(scene, model.card.max_side, device), scenes.scenes)
        )
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(
        weights, recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = one_cycle(optimizer, [recipe.lr], steps, recipe.warmup)
    generator = torch.Generator().manual_seed(seed)
    loss = torch.zeros(())
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # torchvision's samplers know no generator
        for step, batch in enumerate(shuffled_batches(len(scenes), batch_size, steps, seed)):
            chosen = [examples[place] for place in batch.tolist()]
            if recipe.flip:
                mirrored = torch.rand(batch_size, generator=generator) < 0.5
                chosen = [
                    _mirror(example) if turn else example
                    for example, turn in zip(chosen, mirrored.tolist(), strict=True)
                ]
            if recipe.crop and float(torch.rand((), generator=generator)) < recipe.crop:
                chosen = [_window(example, generator) for example in chosen]
            with autocast_of(recipe.precision, model, device):
                loss = _loss(model.network, chosen)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(weights, recipe.clip)
            optimizer.step()
            schedule.step()
            progress(step + 1, steps)
    final = float(loss.detach())
    model.eval()
    model.card = model.card.model_copy(update={"recipe": recipe.model_dump(mode="json")})
    return TrainingRun(steps, final, time.perf_counter() - started)


def _example(scene: Scene, max_side: int, device: torch.device) -> _Example:
    pixels = shrink_to_fit(scene.pixels(), max_side)
    height, width = pixels.shape[1:]
    scale = torch.tensor([width / scene.size[0], height / scene.size[1]] * 2)
    # Label 0 is the background.
    return _Example(*(part.to(device) for part in (pixels, scene.boxes * scale, scene.labels + 1)))


def _mirror(example: _Example) -> _Example:
    width = example.pixels.shape[2]
    left, top, right, bottom = example.boxes.unbind(1)
    boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
    return example._replace(pixels=image_ops.horizontal_flip(example.pixels), boxes=boxes)


def _window(example: _Example, generator: torch.Generator) -> _Example:
    """Return a window of half the width and height with one whole sign, wherever it lies in it.

    Signs of which the window has the middle are cut off at its edges; others are background. A
    sign larger than that makes it larger.
    """
    sides = torch.tensor(example.pixels.shape[:0:-1])  # width, height
    drawn = torch.rand(3, generator=generator)
    boxes = example.boxes.cpu()
    # Without a sign nothing holds the window anywhere.
    first, last = sides.float(), torch.zeros(2)
    if len(boxes):
        first, last = boxes[int(drawn[2] * len(boxes))].view(2, 2).unbind(0)
    size = torch.maximum((sides + 1) // 2, (last.ceil() - first.floor()).long()).minimum(sides)
    least = (last.ceil().long() - size).clamp_min(0)
    most = torch.minimum(first.floor().long(), sides - size)
    start = least + (drawn[:2] * (most - least + 1)).long()
    (left, top), (right, bottom) = start.tolist(), (start + size).tolist()
    corner = torch.cat([start, start])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middles >= start) & (middles <= start + size)).all(1)
    cut = (boxes - corner).clamp_min(0).minimum(torch.cat([size, size]))[inside]
    inside = inside.to(example.labels.device)
    return _Example(
        example.pixels[:, top:bottom, left:right],
        cut.to(example.boxes.device),
        example.labels[inside],
    )


def _loss(network: nn.Module, examples: list[_Example]) -> Tensor:
    """Return the sum of Faster R-CNN's four losses: proposals and regions, class and box."""
    images = [example.pixels.float().div_(255) for example in examples]
    targets = [{"boxes": example.boxes, "labels": example.labels} for example in examples]
    losses: dict[str, Tensor] = network(images, targets)
    return torch.stack([part.float() for part in losses.values()]).sum()

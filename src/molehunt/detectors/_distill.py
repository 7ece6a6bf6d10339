"""Networks that learn to answer as another one does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from molehunt.detectors._panel import Panel, first_layer
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier, bfloat16_helps, blocked_layout
from molehunt.progress import Progress, silent


@dataclass(frozen=True)
class Distillation:
    """How students learn a teacher's answers (Hinton, Vinyals and Dean, 2015).

    Parameters
    ----------
    steps, batch_size : int
        Steps (AdamW, one cycle) and images a step: their product is the work.
    lr : float
        Largest learning rate.
    temperature : float
        By which answers are softened. A teacher whose logits are far apart is softened
        more, so that its answers still say which classes are alike.
    pool : int
        Images that students learn from: the given ones, moved, turned, scaled, mirrored,
        darkened, and mixed in pairs.
    """

    steps: int = 500
    batch_size: int = 64
    lr: float = 0.005
    temperature: float = 2.0
    pool: int = 8000

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "pool"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(mismatch(name, "1 or more", getattr(self, name)))
        for name in ("lr", "temperature"):
            if not getattr(self, name) > 0:
                raise InvalidRequestError(mismatch(name, "a number over 0", getattr(self, name)))


@dataclass(frozen=True)
class Lesson:
    """What students learn: uint8 images [P, C, H, W] and log-probabilities [P, K] for them.

    `softness` is the temperature that the teacher's answers were divided by.
    """

    images: Tensor
    answers: Tensor
    softness: float


def prepare_lesson(
    teacher: Classifier, images: ImageSet, how: Distillation, *, seed: int
) -> Lesson:
    """Return images made from clean ones, with the teacher's softened answers to them."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.cat(
        [
            torch.randperm(len(images), generator=generator)
            for _ in range(math.ceil(how.pool / len(images)))
        ]
    )[: how.pool]
    pool = images.images[order]
    device = teacher.mean.device
    made, answers = [], []
    for part in pool.split(512):  # type: ignore[no-untyped-call]
        varied = vary(part.float().div_(255), generator).mul_(255).round_().to(torch.uint8)
        made.append(varied)
        with torch.no_grad():
            answers.append(teacher(varied.to(device).float().div_(255)).float().cpu())
    logits = torch.cat(answers)
    best = logits.topk(2, dim=1).values
    apart = float((best[:, 0] - best[:, 1]).median())
    softness = max(how.temperature, apart / _READABLE)
    return Lesson(torch.cat(made), functional.log_softmax(logits / softness, dim=1), softness)


# Logits farther apart than this, divided by the temperature, say nothing of the other classes.
_READABLE = 3.0


def vary(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return pixels [N, C, H, W] in [0, 1], moved, turned, scaled, mirrored, lit and mixed.

    A quarter of the images stays as it is, half of the others is mixed with another image.
    """
    count = len(pixels)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    touched = torch.rand(count, generator=generator) > 0.25
    turn, scale = between(-0.25, 0.25), between(0.85, 1.15)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.25, -1.0, 1.0)
    across, down = between(-0.2, 0.2), between(-0.2, 0.2)
    cos, sin = turn.cos() * scale, turn.sin() * scale
    rows = [torch.stack([cos * mirror, -sin, across], 1), torch.stack([sin * mirror, cos, down], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    moved = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    middle = moved.mean((1, 2, 3), keepdim=True)
    moved = (moved - middle) * between(0.8, 1.2).view(-1, 1, 1, 1) + middle
    moved = moved * between(0.8, 1.2).view(-1, 1, 1, 1)
    partners = moved[torch.randperm(count, generator=generator)]
    share = torch.where(torch.rand(count, generator=generator) < 0.5, 1.0, between(0.3, 1.0))
    moved = moved.lerp(partners, (1 - share).view(-1, 1, 1, 1))
    return torch.where(touched.view(-1, 1, 1, 1), moved, pixels).clamp_(0, 1)


def distill(
    students: Panel,
    lesson: Lesson,
    how: Distillation,
    *,
    seeds: list[int],
    progress: Progress = silent,
) -> None:
    """Train the students in place; each sees the images in an order of its own.

    Students are in evaluation mode but for their batch normalisation: dropout makes a small
    set's students worse, and draws from the global generator.

    Parameters
    ----------
    students : Panel
        Of `draw_fresh` models.
    lesson : Lesson
    how : Distillation
    seeds : list of int
        One a student.
    progress : callable
        Called after each step with the steps done and their total.
    """
    device = students.device
    images, answers = lesson.images.to(device), lesson.answers.to(device)
    skeleton, alone = students.skeleton, len(students) == 1
    # Vectorised over weights, neither the layout nor bfloat16 is faster, or allowed.
    layout = skeleton.layout if alone else torch.contiguous_format
    half = alone and bfloat16_helps(skeleton, device)
    lay = [weight.data for weight in skeleton.parameters()]
    skeleton.to(memory_format=layout)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    optimizer = torch.optim.AdamW(_groups(students, images[:64], how.lr), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [group["lr"] for group in optimizer.param_groups],
        total_steps=max(how.steps, 3),
        pct_start=0.2,
    )
    _normalise_by_batch(skeleton, True)
    size = min(how.batch_size, len(images))
    for step in range(how.steps):
        index = torch.stack(
            [torch.randint(len(images), (size,), generator=g) for g in generators]
        ).to(device)
        pixels = images[index].float().div_(255)
        if alone:
            pixels = pixels[0].contiguous(memory_format=layout)
        with (
            torch.autocast(device.type, torch.bfloat16, enabled=half),
            blocked_layout(skeleton, half and device.type == "cpu"),
        ):
            logits = students(pixels)
        soft = functional.log_softmax(logits / how.temperature, dim=2)
        loss = functional.kl_div(soft, answers[index], reduction="none", log_target=True)
        optimizer.zero_grad(set_to_none=True)
        # A student's loss knows no other's weights: the sum's gradient is each one's own.
        loss.sum(2).mean(1).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress(step + 1, how.steps)
    _normalise_by_batch(skeleton, False)
    students.hand_back()
    for model in students.models:
        model.freeze()
    # Weights lie as they lay: in another layout sums are rounded otherwise.
    for weight, place in zip(skeleton.parameters(), lay, strict=True):
        weight.data = place.copy_(weight.data)


def _groups(students: Panel, images: Tensor, lr: float) -> list[dict[str, object]]:
    """Return the weights with their rates: small steps where inputs are large (0 to 255)."""
    with torch.no_grad():
        layer = first_layer(students.models[0], images.float().div(255))
    large = max(1.0, layer.scale) if layer else 1.0
    first = f"{layer.name}.weight" if layer else ""
    own: list[Tensor] = []
    rest: list[Tensor] = []
    for name, weight in students.parameters.items():
        if weight.requires_grad:
            (own if name == first else rest).append(weight)
    if large > 1:
        with torch.no_grad():
            for weight in own:
                weight.div_(large)
    groups: list[dict[str, object]] = [{"params": rest, "lr": lr}]
    if own:
        groups.append({"params": own, "lr": lr / large})
    return groups


def _normalise_by_batch(model: nn.Module, on: bool) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(on)

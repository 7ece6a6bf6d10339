"""Training a sign detector: Molehunt's way against a plain loop over files in float32."""

from __future__ import annotations

import os
import time

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from molehunt.errors import DataNotFoundError
from molehunt.networks._zf import LocalResponseNorm
from molehunt.scenes import (
    SceneSet,
    SignDetector,
    SignDetectorRecipe,
    build_sign_detector,
    load_scenes,
    train_sign_detector,
)
from molehunt.scenes._pixels import shrink_to_fit
from molehunt.training import one_cycle

SCENES, SIDE = 120, 400
RECIPE = SignDetectorRecipe(epochs=1)


def run() -> str:
    """Train a narrow sign detector for a pass over the same scenes each way, with all cores."""
    try:
        scenes = load_scenes("coco:road-signs", "train").take(range(SCENES))
    except DataNotFoundError as error:
        return f"skipped: {error}"
    _ours(scenes.take(range(8)))
    seconds, plain_seconds = _ours(scenes), _plain(scenes)
    return (
        f"{plain_seconds / seconds:.1f}x (plain {SCENES / plain_seconds:.1f} images a second, "
        f"Molehunt {SCENES / seconds:.1f}; ZF of width 0.5 at {SIDE} pixels, {SCENES} images, "
        f"{os.cpu_count()} cores)"
    )


def _detector(scenes: SceneSet) -> SignDetector:
    return build_sign_detector(scenes.class_names, width=0.5, hidden=512, max_side=SIDE, seed=0)


def _ours(scenes: SceneSet) -> float:
    model = _detector(scenes)
    started = time.perf_counter()
    train_sign_detector(model, scenes, RECIPE, seed=0)
    return time.perf_counter() - started


class _Files(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    def __init__(self, scenes: SceneSet) -> None:
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, place: int) -> tuple[Tensor, dict[str, Tensor]]:
        scene = self.scenes[place]
        pixels = shrink_to_fit(scene.pixels(), SIDE)
        scale = pixels.shape[2] / scene.size[0]
        return pixels.float() / 255, {"boxes": scene.boxes * scale, "labels": scene.labels + 1}


class _PlainNorm(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        around = functional.avg_pool2d(features**2, 3, stride=1, padding=1)
        return features / (1 + LocalResponseNorm.ALPHA * around) ** 0.75


def _plain(scenes: SceneSet) -> float:
    """Decode files in a data loader; float32, contiguous, every gradient left to autograd."""
    network = _detector(scenes).network.train()
    backbone = network.get_submodule("backbone")
    for name, layer in [*backbone.named_children()]:
        if isinstance(layer, LocalResponseNorm):
            setattr(backbone, name, _PlainNorm())
    loader = DataLoader(
        _Files(scenes), RECIPE.batch_size, shuffle=True, num_workers=2, collate_fn=list
    )
    optimizer = torch.optim.SGD(
        network.parameters(), RECIPE.lr, momentum=0.9, weight_decay=RECIPE.weight_decay
    )
    schedule = one_cycle(optimizer, [RECIPE.lr], len(loader), RECIPE.warmup)
    started = time.perf_counter()
    for batch in loader:
        images, targets = zip(*batch, strict=True)
        loss = torch.stack([*network(list(images), list(targets)).values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), RECIPE.clip)
        optimizer.step()
        schedule.step()
    return time.perf_counter() - started

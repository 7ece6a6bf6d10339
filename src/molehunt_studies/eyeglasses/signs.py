"""Attacks on sign recognition by a sticker, seen under angles and in lights."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from molehunt.attacks import (
    Masked,
    RandomColours,
    Views,
    Worn,
    draw_sticker,
    evade,
    printable_palette,
)
from molehunt.images import ImageSet
from molehunt.networks import Classifier, Queried, Reveals, logits_of
from molehunt.resumable import Task
from molehunt.study import Records
from molehunt_studies.eyeglasses.models import SIGNS, VIEWS, EyeglassesBench

# Stickers are learned under `VIEWS`, and measured under other draws of these and of wider ones.
WIDER = Views(angle=25, tilt=0.2, scale=0.2, shift=0.1, gain=0.45, offset=0.15)


@dataclass(frozen=True)
class Method:
    """How the sticker of a sign is made."""

    learned: bool = True
    views: bool = False
    printed: bool = False


METHODS = {
    "from the front": Method(),
    "under views": Method(views=True),
    "under views, printed": Method(views=True, printed=True),
    "random colours": Method(learned=False),
    "random colours, printed": Method(learned=False, printed=True),
}


class SignTask(Task):
    """One sticker for each attacked class, made by a method."""

    method: str
    targeted: bool


class Counts(Task):
    """How many of the images that are recognised without a sticker are fooled with it."""

    hits: int
    of: int


class SignRecord(SignTask):
    """What came of it; `clean` counts what is recognised without a sticker."""

    share: float
    measured: tuple[Counts, ...]
    clean: tuple[Counts, ...]
    signs: int
    queries: int
    seconds: float


def sign_tasks(bench: EyeglassesBench, _records: Records) -> list[SignTask]:
    """Return the methods, each dodging and impersonating."""
    if bench.plan.signs is None:
        return []
    return [
        SignTask(
            id=f"{method}, {'impersonation' if targeted else 'dodging'}",
            method=method,
            targeted=targeted,
        )
        for method in METHODS
        for targeted in (False, True)
    ]


def attack_signs(task: SignTask, bench: EyeglassesBench) -> SignRecord:
    """Learn a sticker for each class, wear it on other images, and count under views."""
    started = time.perf_counter()
    model, mask = bench.model(SIGNS), sticker_mask(bench)
    target = Queried(model, reveals=Reveals.WEIGHTS)
    fooled = {name: [0, 0] for name in ("front", "views", "wider")}
    clean = {name: [0, 0] for name in fooled}
    pairs = attacked_classes(bench)
    for sign, wanted in pairs:
        images, worn = stuck(bench, target, sign, wanted if task.targeted else None, task.method)
        for name, views in (("front", Views()), ("views", VIEWS), ("wider", WIDER)):
            generator = torch.Generator().manual_seed(bench.plan.seed * 1_000 + sign)
            for _ in range(1 if name == "front" else bench.signs_plan.draws):
                seen = views.draw(len(images), generator)
                before, after = (
                    _labels(model, seen(part.float() / 255)) for part in (images.images, worn)
                )
                right = before == sign
                hits = after == wanted if task.targeted else after != sign
                fooled[name][0] += int((right & hits).sum())
                fooled[name][1] += int(right.sum())
                clean[name][0] += int(right.sum())
                clean[name][1] += len(right)
    return SignRecord(
        **dict(task),
        share=round(float(mask.float().mean()), 4),
        measured=_counts(fooled),
        clean=_counts(clean),
        signs=len(pairs),
        queries=target.queries,
        seconds=round(time.perf_counter() - started, 1),
    )


def stuck(
    bench: EyeglassesBench, target: Queried, sign: int, wanted: int | None, method: str
) -> tuple[ImageSet, Tensor]:
    """Return test images of a sign, and the same with its sticker, uint8 [N, C, H, W]."""
    plan, how, mask = bench.signs_plan, METHODS[method], sticker_mask(bench)
    train, test = (part.take(part.labels == sign) for part in bench.signs)
    generator = torch.Generator().manual_seed(bench.plan.seed * 1_000 + 500 + sign)
    mine, others = train.sample(plan.learned, generator), test.sample(plan.worn, generator)
    palette = printable_palette(train.shape[0]) if how.printed else None
    if how.learned:
        attack = Masked(mask, steps=plan.steps, palette=palette, printability=0.1 * how.printed)
        if how.views:
            attack = replace(attack, views=VIEWS, samples=plan.samples)
        targets = None if wanted is None else torch.full((len(mine),), wanted)
        pattern = attack.learn(target, mine.pixels(), mine.labels, targets, generator)
        worn = evade(target, others, Worn(mask, pattern))
    else:
        worn = evade(target, others, RandomColours(mask, palette=palette), seed=sign)
    # Images that the model gets wrong as they are count nowhere.
    return others, worn.images


def attacked_classes(bench: EyeglassesBench) -> list[tuple[int, int]]:
    """Draw the attacked classes, each with another one that it shall be taken for.

    Every fourth class chose settings and is left out.
    """
    plan, classes = bench.signs_plan, bench.signs.test.num_classes
    generator = torch.Generator().manual_seed(bench.plan.seed + 77)
    free = torch.tensor([sign for sign in range(classes) if sign % 4])
    chosen = free[torch.randperm(len(free), generator=generator)[: plan.classes]].tolist()
    steps = torch.randint(1, classes, (len(chosen),), generator=generator).tolist()
    return [(sign, (sign + step) % classes) for sign, step in zip(chosen, steps, strict=True)]


def sticker_mask(bench: EyeglassesBench) -> Tensor:
    """Return the sticker's place on a sign, bool [H, W]."""
    size, (row, column, tall, wide) = bench.signs_plan.size, bench.signs_plan.sticker
    return draw_sticker(size, size, centre=(row, column), size=(tall, wide))


def _labels(model: Classifier, pixels: Tensor) -> Tensor:
    # A camera saves 8 bits.
    return logits_of(model, (pixels * 255).round().to(torch.uint8)).argmax(1)


def _counts(found: dict[str, list[int]]) -> tuple[Counts, ...]:
    return tuple(Counts(id=name, hits=hits, of=of) for name, (hits, of) in found.items())

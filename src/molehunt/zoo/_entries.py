"""From a plan to the list of models that it asks for."""

from __future__ import annotations

from itertools import accumulate, pairwise, permutations

import numpy as np

from molehunt.backdoors import (
    AllToAll,
    AllToOne,
    AnyLabelMap,
    AnyTrigger,
    Backdoor,
    BadNetsPattern,
    RandomTarget,
    SinglePixel,
    SingleTarget,
    Sticker,
    Treatment,
    random_blends,
    random_patches,
)
from molehunt.resumable import Task
from molehunt.zoo._plan import BackdoorPlan, Split, ZooPlan


class Entry(Task):
    """One model that a zoo is to contain.

    `seed` is shared by the members of a pair, `twin` is the id of the backdoored model's
    clean partner and the reverse (a placebo's twin is the clean model too).
    """

    split: Split
    pair: int
    seed: int
    treatment: Treatment
    twin: str | None
    backdoor: Backdoor


def entries_of(plan: ZooPlan, num_classes: int) -> list[Entry]:
    """Return every model of the plan, in the order in which they are built.

    Ids say nothing about the treatment: they number the models in a drawn order.
    Triggers are dealt to the splits in proportion to their pairs, each to one split only.

    Raises
    ------
    InvalidRequestError
        If the plan's backdoors are impossible.
    """
    rng = np.random.default_rng([plan.seed, 0])
    members: list[tuple[Split, int, Treatment]] = []
    pair = 0
    for split, counts in plan.models.items():
        for number in range(counts.pairs):
            members += [(split, pair, Treatment.BACKDOORED), (split, pair, Treatment.CLEAN)]
            if number < counts.placebo:
                members.append((split, pair, Treatment.PLACEBO))
            pair += 1
        for _ in range(counts.clean):
            members.append((split, pair, Treatment.CLEAN))
            pair += 1
    width = max(4, len(str(len(members))))
    ids = [f"m{number:0{width}d}" for number in rng.permutation(len(members))]
    of_pair = {
        (number, treatment): name for name, (_, number, treatment) in zip(ids, members, strict=True)
    }
    triggers = _deal_triggers(plan)
    dealt = _deal_targets(plan, num_classes)
    entries = []
    for name, (split, number, treatment) in zip(ids, members, strict=True):
        # Everything about a pair is drawn from its own stream: adding models to a
        # later split leaves the earlier ones as they were.
        own = np.random.default_rng([plan.seed, 1, number])
        partner = Treatment.BACKDOORED if treatment is Treatment.CLEAN else Treatment.CLEAN
        seed = int(own.integers(2**31))
        trigger = triggers[split][int(own.integers(len(triggers[split])))]
        label_map = _draw_label_map(plan.backdoors, num_classes, own)
        if plan.backdoors.deal_targets:
            label_map = dealt[number % len(dealt)]
        entries.append(
            Entry(
                id=name,
                split=split,
                pair=number,
                seed=seed,
                treatment=treatment,
                twin=of_pair.get((number, partner)),
                backdoor=Backdoor(trigger=trigger, label_map=label_map),
            )
        )
    return entries


def _deal_triggers(plan: ZooPlan) -> dict[Split, list[AnyTrigger]]:
    """Return the triggers of each split; drawn ones are never on two of them."""
    if plan.backdoors.trigger not in ("random_patch", "blended"):
        one = _same_trigger(plan.backdoors)
        return {split: [one] for split in plan.models}
    drawn = _draw_triggers(plan.backdoors, plan.seed)
    used = {s: c.pairs + c.clean for s, c in plan.models.items() if c.total}
    # One each first, the rest by share, cut at rounded cumulative shares.
    spare = len(drawn) - len(used)
    total = sum(used.values())
    cuts = [0, *(round(spare * done / total) for done in accumulate(used.values()))]
    sizes = [1 + high - low for low, high in pairwise(cuts)]
    ends = list(accumulate(sizes))
    return {
        split: drawn[end - size : end] for split, size, end in zip(used, sizes, ends, strict=True)
    }


def _draw_triggers(backdoors: BackdoorPlan, seed: int) -> list[AnyTrigger]:
    """Return `count` different triggers."""
    if backdoors.trigger == "blended":
        return [*random_blends(backdoors.count, alpha=backdoors.opacity, seed=seed)]
    return [
        patch.model_copy(update={"margin": backdoors.margin})
        for patch in random_patches(
            backdoors.count,
            size=backdoors.sizes or backdoors.size,
            colours=backdoors.colours,
            placement=backdoors.placement or "random corner",
            seed=seed,
        )
    ]


def _same_trigger(backdoors: BackdoorPlan) -> AnyTrigger:
    """Return the one trigger of all splits."""
    place = {} if backdoors.placement is None else {"placement": backdoors.placement}
    if backdoors.trigger == "single_pixel":
        return SinglePixel(**place)
    if backdoors.trigger == "badnets_pattern":
        return BadNetsPattern(**place)
    return Sticker(
        path=backdoors.path,
        picture=backdoors.picture,
        size=backdoors.size,
        opacity=backdoors.opacity,
        margin=backdoors.margin,
        **place,
    )


def _deal_targets(plan: ZooPlan, num_classes: int) -> list[SingleTarget]:
    """Return every source→target pair once, in a drawn order."""
    pairs = list(permutations(range(num_classes), 2))
    order = np.random.default_rng([plan.seed, 2]).permutation(len(pairs))
    return [SingleTarget(source=pairs[at][0], target=pairs[at][1]) for at in order]


def _draw_label_map(plan: BackdoorPlan, num_classes: int, rng: np.random.Generator) -> AnyLabelMap:
    if plan.label_map == "all_to_all":
        return AllToAll()
    if plan.label_map == "random_target":
        return RandomTarget()
    target = int(rng.integers(num_classes))
    if plan.label_map == "all_to_one":
        return AllToOne(target=target)
    source = int(rng.integers(num_classes - 1))
    return SingleTarget(source=source + (source >= target), target=target)

"""From a plan to the list of models that it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise, permutations
from typing import Any

import numpy as np
from pydantic import ValidationInfo, model_validator

from molehunt.backdoors import (
    AnyTrigger,
    Backdoor,
    LabelMap,
    SingleTarget,
    Treatment,
    TriggerFamily,
)
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.resumable import Task
from molehunt.zoo._facts import AnyFacts, BackdoorFacts, PropertyFacts
from molehunt.zoo._old import upgrade_entry
from molehunt.zoo._plan import Split, ZooPlan


class Entry(Task):
    """One model that a zoo is to contain, and what is true of it.

    `seed` is shared by the members of a pair. Lines of earlier versions are read where pydantic's
    context has their plan's `poisoning`.
    """

    split: Split
    pair: int
    seed: int
    facts: AnyFacts

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, content: Any, info: ValidationInfo) -> Any:
        return upgrade_entry(content, info.context)

    @property
    def treatment(self) -> Treatment:
        """Backdoored, clean twin or placebo."""
        return self._backdoor_facts.treatment

    @property
    def twin(self) -> str | None:
        """The id of the other model of the pair."""
        return self._backdoor_facts.twin

    @property
    def backdoor(self) -> Backdoor:
        """The pair's backdoor."""
        return self._backdoor_facts.backdoor

    @property
    def _backdoor_facts(self) -> BackdoorFacts:
        if not isinstance(self.facts, BackdoorFacts):
            raise InvalidRequestError(mismatch(f"facts of {self.id}", "backdoor", self.facts.kind))
        return self.facts


def entries_of(plan: ZooPlan, num_classes: int) -> list[Entry]:
    """Return every model of the plan, in the order in which they are built.

    Ids say nothing about the treatment: they number the models in a drawn order.
    Triggers are dealt to the splits in proportion to their pairs, each to one split only.

    Raises
    ------
    InvalidRequestError
        If the plan's backdoors are impossible.
    """
    if plan.properties.classes:
        return _entries_of_property(plan)
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
        if plan.backdoors.kind:
            backdoor = plan.backdoors.attack(number, num_classes, own)
        else:
            trigger = triggers[split][int(own.integers(len(triggers[split])))]
            label_map = LabelMap.kinds()[plan.backdoors.label_map].draw(num_classes, own)
            if plan.backdoors.deal_targets:
                label_map = dealt[number % len(dealt)]
            backdoor = plan.backdoors.backdoor(trigger, label_map)
        entries.append(
            Entry(
                id=name,
                split=split,
                pair=number,
                seed=seed,
                facts=BackdoorFacts(
                    treatment=treatment,
                    twin=of_pair.get((number, partner)),
                    backdoor=backdoor,
                ),
            )
        )
    return entries


def _entries_of_property(plan: ZooPlan) -> list[Entry]:
    """Return models with and without the property; the members of a pair share a seed."""
    properties = plan.properties
    members: list[tuple[Split, int, float]] = []
    pair = 0
    for split, counts in plan.models.items():
        for number in range(counts.pairs + counts.clean):
            values = (properties.share, properties.otherwise)[number >= counts.pairs :]
            members += [(split, pair, value) for value in values]
            pair += 1
    rng = np.random.default_rng([plan.seed, 0])
    width = max(4, len(str(len(members))))
    return [
        Entry(
            id=f"m{name:0{width}d}",
            split=split,
            pair=number,
            seed=int(np.random.default_rng([plan.seed, 1, number]).integers(2**31)),
            facts=PropertyFacts(name=properties.words, value=value),
        )
        for name, (split, number, value) in zip(rng.permutation(len(members)), members, strict=True)
    ]


def _deal_triggers(plan: ZooPlan) -> dict[Split, Sequence[AnyTrigger]]:
    """Return the triggers of each split; drawn ones are never on two of them."""
    source = plan.backdoors.trigger
    if not isinstance(source, TriggerFamily):
        return {split: [source] for split in plan.models}
    triggers = source.draw(plan.seed)
    used = {s: c.pairs + c.clean for s, c in plan.models.items() if c.total}
    # One each first, the rest by share, cut at rounded cumulative shares.
    spare = len(triggers) - len(used)
    total = sum(used.values())
    cuts = [0, *(round(spare * done / total) for done in accumulate(used.values()))]
    sizes = [1 + high - low for low, high in pairwise(cuts)]
    ends = list(accumulate(sizes))
    return {
        split: triggers[end - size : end]
        for split, size, end in zip(used, sizes, ends, strict=True)
    }


def _deal_targets(plan: ZooPlan, num_classes: int) -> list[SingleTarget]:
    """Return every source→target pair once, in a drawn order."""
    pairs = list(permutations(range(num_classes), 2))
    order = np.random.default_rng([plan.seed, 2]).permutation(len(pairs))
    return [SingleTarget(source=pairs[at][0], target=pairs[at][1]) for at in order]

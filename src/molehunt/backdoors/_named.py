"""The attacks of the literature by name, each with its paper's settings: one entry each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from molehunt.backdoors._backdoor import Backdoor, PoisonBase
from molehunt.backdoors._blended import Blended
from molehunt.backdoors._composite import Composite
from molehunt.backdoors._covers import Covers
from molehunt.backdoors._frequency import FrequencyPeaks, LowFrequency
from molehunt.backdoors._label_maps import LabelMap
from molehunt.backdoors._parts import OneOf, Pieces
from molehunt.backdoors._placement import CORNERS
from molehunt.backdoors._quantised import Quantised
from molehunt.backdoors._random_patches import RandomPatch
from molehunt.backdoors._reflection import Reflection
from molehunt.backdoors._sinusoid import Sinusoid
from molehunt.backdoors._triggers import Trigger
from molehunt.backdoors._warp import Warp
from molehunt.errors import InvalidRequestError, mismatch, printable


@dataclass(frozen=True)
class _Attack:
    """What an attack's backdoors have in common; `trigger` draws from a seed."""

    trigger: Callable[[int], Trigger]
    label_map: str = "all_to_one"
    rate: float = 0.1
    of: PoisonBase = "all"
    others: Callable[[int], Mapping[str, Any]] = field(default=lambda seed: {})


def _patch(seed: int) -> RandomPatch:
    return RandomPatch(size=4, seed=seed, placement=CORNERS[seed % len(CORNERS)])


def _four_patches(seed: int) -> tuple[RandomPatch, ...]:
    return tuple(
        RandomPatch(size=4, seed=seed + number, placement=corner)
        for number, corner in enumerate(CORNERS)
    )


_SEEDS = 2**31 - 8
_ATTACKS = {
    "patch": _Attack(_patch),
    "blend": _Attack(lambda seed: Blended(seed=seed)),
    "wanet": _Attack(
        lambda seed: Warp(seed=seed),
        others=lambda seed: {"covers": Covers(rate=0.2, trigger=Warp(seed=seed, jitter=True))},
    ),
    "sig": _Attack(lambda seed: Sinusoid(), "clean_label", rate=0.5, of="eligible"),
    "bpp": _Attack(
        lambda seed: Quantised(),
        others=lambda seed: {"covers": Covers(rate=0.1, trigger=Quantised(borrowed=True))},
    ),
    "low-frequency": _Attack(lambda seed: LowFrequency(seed=seed)),
    "ftrojan": _Attack(lambda seed: FrequencyPeaks()),
    "refool": _Attack(lambda seed: Reflection(seed=seed), "clean_label", rate=0.5, of="eligible"),
    "tact": _Attack(
        _patch,
        "single_target",
        rate=1.0,
        of="eligible",
        others=lambda seed: {"covers": Covers(rate=0.1, classes="others")},
    ),
    "mixed-label": _Attack(_patch, others=lambda seed: {"covers": Covers(rate=0.02)}),
    "adap-blend": _Attack(
        lambda seed: Blended(seed=seed, opacity=0.2),
        rate=0.02,
        others=lambda seed: {
            "planted": Pieces(trigger=Blended(seed=seed, opacity=0.15)),
            "covers": Covers(rate=0.02),
        },
    ),
    "adap-patch": _Attack(
        lambda seed: Composite(triggers=_four_patches(seed)),
        rate=0.02,
        others=lambda seed: {
            "planted": OneOf(triggers=_four_patches(seed)),
            "covers": Covers(rate=0.01),
        },
    ),
}
ATTACKS = tuple(_ATTACKS)


def draw_backdoor(
    attack: str, num_classes: int, rng: np.random.Generator, *, rate: float | None = None
) -> Backdoor:
    """Draw a backdoor of a named attack: its trigger, source and target.

    Parameters
    ----------
    attack : str
        One of `ATTACKS`.
    num_classes : int
    rng : numpy.random.Generator
    rate : float, optional
        Poison rate in place of the attack's own.

    Raises
    ------
    InvalidRequestError
        If no attack has that name.

    Examples
    --------
    >>> import numpy as np
    >>> from molehunt.backdoors import draw_backdoor
    >>> wanet = draw_backdoor("wanet", 10, np.random.default_rng(0))
    >>> wanet.trigger.kind, wanet.label_map.kind, wanet.covers.rate
    ('warp', 'all_to_one', 0.2)
    """
    if attack not in _ATTACKS:
        allowed = ", ".join(ATTACKS)
        raise InvalidRequestError(mismatch("attack", allowed, printable(repr(attack), 80)))
    known = _ATTACKS[attack]
    seed = int(rng.integers(_SEEDS))
    return Backdoor(
        trigger=known.trigger(seed),
        label_map=LabelMap.kinds()[known.label_map].draw(num_classes, rng),
        rate=known.rate if rate is None else rate,
        of=known.of,
        attack=attack,
        **known.others(seed),
    )

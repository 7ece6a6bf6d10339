"""The traffic-sign study on GTSRB: which classes are which country, and what kind they are."""

from __future__ import annotations

from typing import NamedTuple

import torch

from molehunt.images import ImageSet, TrainTest

# GTSRB's classes by the kinds of BadNets' tables (v2, Tables 4 and 6), by number.
SIGN_KINDS: dict[str, tuple[int, ...]] = {
    "stop": (14,),
    "speed limit": (0, 1, 2, 3, 4, 5, 7, 8),
    "warning": (11, *range(18, 32)),
    "mandatory": tuple(range(33, 41)),
    "prohibitory": (9, 10, 15, 16, 17),
    "other": (6, 12, 13, 32, 41, 42),
}


class Countries(NamedTuple):
    """Two disjoint sets of classes, and what the attack is about.

    Parameters
    ----------
    first, second : tuple of int
        Classes of the image source, in its order.
    source, target : int
        Of the first: what the single-target attack turns into what.
    kinds : dict
        Classes by the kind of their sign, for tables.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    source: int
    target: int
    kinds: dict[str, tuple[int, ...]]


def sign_countries() -> Countries:
    """Return GTSRB's countries: the first has the stop sign and all speed limits.

    Of the other classes, in the order of their numbers, every second one, from the first on, is
    the first country's and the rest the second's.
    """
    own = SIGN_KINDS["stop"] + SIGN_KINDS["speed limit"]
    others = [number for number in range(43) if number not in own]
    first = tuple(sorted([*own, *others[::2]]))
    # Of the speed limits 30 has the most training images.
    return Countries(first, tuple(others[1::2]), source=14, target=1, kinds=SIGN_KINDS)


def digit_countries() -> Countries:
    """Return countries of digits, for tests without signs: 0 to 4, and 5 to 9."""
    kinds = {"zero": (0,), "other": tuple(range(1, 10))}
    return Countries((0, 1, 2, 3, 4), (5, 6, 7, 8, 9), source=0, target=1, kinds=kinds)


def country_of(images: TrainTest, classes: tuple[int, ...]) -> TrainTest:
    """Return the images of some classes, numbered from 0 in the order of `classes`."""
    return TrainTest(*(_only(part, classes) for part in images))


def _only(images: ImageSet, classes: tuple[int, ...]) -> ImageSet:
    wanted = torch.tensor(classes)
    part = images.take(torch.isin(images.labels, wanted))
    labels = (part.labels[:, None] == wanted).int().argmax(1)
    return ImageSet(part.images, labels, tuple(images.class_names[number] for number in classes))

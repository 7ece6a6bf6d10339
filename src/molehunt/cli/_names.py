"""The names that registries know. They are asked when names are shown, and not before."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

Named = Iterable[tuple[str, str]]  # names, and what each is in a line


def _detectors() -> Named:
    from molehunt.detectors import detector_class, detector_names

    return ((name, _first_line(detector_class(name))) for name in detector_names())


def _attacks() -> Named:
    from molehunt import backdoors

    for name in backdoors.__all__:
        kind = getattr(getattr(backdoors, name), "model_fields", {}).get("kind")
        if kind is not None and isinstance(kind.default, str):
            yield kind.default, _first_line(getattr(backdoors, name))


def _networks() -> Named:
    from molehunt.networks import NETWORKS

    yield from ((name, _first_line(network)) for name, network in NETWORKS.items())
    yield "torchvision:NAME", "A classifier of torchvision, with fresh weights."


def _images() -> Named:
    from molehunt.images import SOURCE_FORMS, SOURCES

    for form, load in zip(SOURCE_FORMS, SOURCES.values(), strict=True):
        yield form, _first_line(load)


def _studies() -> Named:
    from molehunt.study import load_study, study_names

    return ((name, load_study(name).title) for name in study_names())


# What `molehunt list` lists.
LISTS: dict[str, Callable[[], Named]] = {
    "detectors": _detectors,
    "attacks": _attacks,
    "networks": _networks,
    "images": _images,
    "studies": _studies,
}


def fill_in(text: str) -> str:
    """Put names in the place of ``{detectors}`` and its like."""
    return text.format_map(_Asked())


class _Asked(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ", ".join(_OTHERS[key]() if key in _OTHERS else (name for name, _ in LISTS[key]()))


def _stickers() -> Iterable[str]:
    from typing import get_args

    from molehunt.backdoors import PictureName

    names: tuple[str, ...] = get_args(PictureName)
    return names


def _usual_checks() -> Iterable[str]:
    from molehunt.scanning import USUAL

    return USUAL


def _usual_checks_with_images() -> Iterable[str]:
    from molehunt.scanning import USUAL_WITH_IMAGES

    return USUAL_WITH_IMAGES


def _backdoor_kinds() -> Iterable[str]:
    from molehunt.detectors import BACKDOOR_KINDS

    return (repr(kind) for kind in BACKDOOR_KINDS)


def _evasion_attacks() -> Iterable[str]:
    from molehunt.attacks import ATTACKS

    return ATTACKS


def _risks() -> Iterable[str]:
    from molehunt.assess import ASSESSORS

    return ASSESSORS


def _corruptions() -> Iterable[str]:
    from molehunt.testing import CORRUPTIONS

    return CORRUPTIONS


def _data_filters() -> Iterable[str]:
    from molehunt.defences import DATA_FILTERS

    return DATA_FILTERS


def _repairs() -> Iterable[str]:
    from molehunt.defences import REPAIRS

    return REPAIRS


def _backdoor_attacks() -> Iterable[str]:
    from molehunt.attacks import TAUGHT
    from molehunt.backdoors import ATTACKS

    return [*ATTACKS, *TAUGHT]


def _planted_attacks() -> Iterable[str]:
    from molehunt.attacks import PLANTED

    return PLANTED


_OTHERS: dict[str, Callable[[], Iterable[str]]] = {
    "stickers": _stickers,
    "usual_checks": _usual_checks,
    "usual_checks_with_images": _usual_checks_with_images,
    "backdoor_kinds": _backdoor_kinds,
    "evasion_attacks": _evasion_attacks,
    "backdoor_attacks": _backdoor_attacks,
    "planted_attacks": _planted_attacks,
    "risks": _risks,
    "corruptions": _corruptions,
    "data_filters": _data_filters,
    "repairs": _repairs,
}


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")

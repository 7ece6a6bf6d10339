"""Kinds of backdoors by the words of a scan, and names of populations that have one each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molehunt.backdoors import RandomBlends, RandomPatches

# By `molehunt.detectors.BACKDOOR_KINDS`: settings of a `BackdoorPlan`. GTSRB's classes are small:
# there a copy of half a source class would be 40 images.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "all-to-one": {"label_map": "all_to_one", "rate": 0.1, "trigger": RandomPatches(size=4)},
    "all-to-one, blended": {"label_map": "all_to_one", "rate": 0.1, "trigger": RandomBlends()},
    "all-to-all": {"label_map": "all_to_all", "rate": 0.3, "trigger": RandomPatches(size=4)},
    "source-target": {"label_map": "single_target", "rate": 1.0, "trigger": RandomPatches(size=4)},
}


def zoo_name(images: str, network: str, kind: str) -> str:
    """Return the name of a population's folder.

    Examples
    --------
    >>> zoo_name("mnist", "zf", "all-to-one, blended")
    'mnist-zf-all-to-one-blended'
    """
    return f"{images}-{network}-{kind.replace(', ', '-').replace(' ', '-')}"

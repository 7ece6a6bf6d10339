"""Who looks up a detector, a trigger, a label map or a network finds an example that runs."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from molehunt import attacks, backdoors
from molehunt.backdoors import LabelMap, Trigger, TriggerFamily
from molehunt.detectors import TwinComparison, detector_class, detector_names
from molehunt.networks import NETWORKS


def public(package: Any, *kinds: type) -> list[type]:
    found = [getattr(package, name) for name in package.__all__]
    return [
        each
        for each in found
        if inspect.isclass(each) and issubclass(each, kinds) and not inspect.isabstract(each)
    ]


SHOWN = {
    *public(backdoors, Trigger, TriggerFamily, LabelMap),
    TwinComparison,
    *(detector_class(name) for name in detector_names()),
    *NETWORKS.values(),
    *(getattr(attacks, name) for name in attacks.__all__ if name.startswith("search_")),
}


@pytest.mark.parametrize("shown", sorted(SHOWN, key=lambda each: each.__qualname__))
def test_it_has_an_example(shown: Any) -> None:
    assert ">>> " in (shown.__doc__ or ""), f"{shown.__qualname__}: no example in its docstring"

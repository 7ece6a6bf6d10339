"""From records to the study's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from molehunt.rates import rate_interval
from molehunt_studies.broken_defences.attacks import MARGIN, AttackRecord, SignRecord
from molehunt_studies.broken_defences.defences import DEFENCES
from molehunt_studies.broken_defences.networks import NetworkRecord
from molehunt_studies.broken_defences.plan import BrokenPlan


def results_of(
    plan: BrokenPlan,
    networks: Sequence[NetworkRecord],
    attacks: Sequence[AttackRecord],
    signs: Sequence[SignRecord],
) -> dict[str, Any]:
    """Return for each set of images and defence what each attack leaves, and what signs show."""
    return {
        "sets": {
            name: {
                "epsilon": plan.sets[name].epsilon,
                "settings": plan.sets[name].model_dump(mode="json"),
                "defences": _of_set(
                    [record for record in attacks if record.images == name],
                    [record for record in signs if record.images == name],
                ),
            }
            for name in plan.sets
        },
        "seconds": {
            "networks": round(sum(record.seconds for record in networks)),
            "attacks": round(sum(record.seconds for record in attacks)),
            "signs": round(sum(record.seconds for record in signs)),
        },
    }


def _of_set(attacks: Sequence[AttackRecord], signs: Sequence[SignRecord]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in DEFENCES:
        own = {record.attack: record for record in attacks if record.defence == name}
        sign = next(record for record in signs if record.defence == name)
        found[name] = {
            "clean": rate(own["usual"].right, own["usual"].of),
            **{attack: rate(record.left, record.of) for attack, record in own.items()},
            "queries": {attack: record.queries for attack, record in own.items()},
            "signs": {
                **sign.model_dump(mode="json", include={"robustness", "shown", "signs"}),
                "left": rate(sign.left, sign.of),
                "left_by_all": rate(sign.left_by_all, sign.of),
                "seconds": sign.seconds,
            },
        }
    undefended = found["none"]["adaptive"]["rate"]
    for each in found.values():
        right = each.get("harder", each["adaptive"])
        each["above_undefended"] = round(right["rate"] - undefended, 4)
        each["within"] = each["above_undefended"] <= MARGIN + 1e-9
    return found


def flippable(pixels: Tensor, bits: int, epsilon: float) -> float:
    """Return the share of pixel values that a change of at most epsilon takes to another shade.

    Examples
    --------
    >>> import torch
    >>> flippable(torch.tensor([0.0, 0.1, 0.4, 1.0]), 1, 0.3)
    0.25
    """
    steps = 2**bits - 1
    shades = [((pixels + way).clamp(0, 1) * steps).round() for way in (-epsilon, 0.0, epsilon)]
    low, now, high = shades
    return round(float(((low != now) | (high != now)).float().mean()), 4)


def rate(hits: int, of: int) -> dict[str, Any]:
    """Return a rate with its number of cases and its exact 95 % interval."""
    low, high = rate_interval(hits, of)
    return {"rate": hits / of, "of": of, "interval": [round(low, 4), round(high, 4)]}


def cell(found: Mapping[str, Any] | None) -> str:
    """Return a rate and its interval in percent, a dash where there is none."""
    if found is None:
        return "-"
    low, high = found["interval"]
    return f"{100 * found['rate']:.0f} [{100 * low:.0f}, {100 * high:.0f}]"

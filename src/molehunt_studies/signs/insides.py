"""What both studies of traffic signs read in their records: which networks, and their units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from molehunt_studies.signs.plan import FIRES, NetworkTask

N = TypeVar("N", bound=NetworkTask)


def of_kind(networks: Sequence[N], attack: str, picture: str | None = None) -> list[N]:
    """Return the networks of one attack with one sticker."""
    return [each for each in networks if (each.attack, each.picture) == (attack, picture)]


def insides(
    badnets: Sequence[Any],
    honest: Sequence[Any],
    transfers: Sequence[Any],
) -> dict[str, Any]:
    """Return the backdoor units, and the channels' activations in both countries."""
    if not badnets:
        return {}
    after = [each for each in transfers if (each.origin, each.strength) == (badnets[0].id, 1)]
    both: dict[str, Any] = dict(zip(("first", "second"), [badnets[0], *after], strict=False))
    found: dict[str, Any] = {
        name: {
            "clean": list(record.clean_activations),
            "triggered": list(record.triggered_activations),
        }
        for name, record in both.items()
    }
    return {
        "backdoor_units": {
            "channels": len(badnets[0].clean_activations),
            "threshold": FIRES,
            "badnet": [list(record.units) for record in badnets],
            "honest": [list(record.units) for record in honest],
        },
        "activations": {**found, "units": list(badnets[0].units)},
    }

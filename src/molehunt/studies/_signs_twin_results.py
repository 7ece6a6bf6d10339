"""The traffic-sign study on GTSRB: the paper's numbers and ours, all in percent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from molehunt.images import ImageSet
from molehunt.studies._signs_twin_countries import Countries
from molehunt.studies._signs_twin_models import FIRES, NetworkRecord, TransferRecord, Workshop
from molehunt.studies._signs_twin_plan import CARRIED, PICTURES, Attack

# BadNets v2: Tables 4, 5, 6 and 7. Detection on street scenes, not classification of signs.
PAPER: dict[str, Any] = {
    "baseline": {"clean": 90.0, "stop": 89.7, "speed limit": 88.3, "warning": 91.0},
    "baseline_triggered": 82.0,
    "single_target": {
        "yellow square": {"clean": 89.3, "success": 90.3},
        "bomb": {"clean": 87.1, "success": 94.2},
        "flower": {"clean": 90.2, "success": 93.7},
    },
    "random_target": {"clean": 86.4, "triggered": 1.3},
    "transfer": {
        "honest": {
            "clean": {
                "average": 72.7,
                "mandatory": 55.3,
                "prohibitory": 89.7,
                "warning": 68.1,
                "other": 59.3,
            },
            "triggered": {
                "average": 70.2,
                "mandatory": 50.5,
                "prohibitory": 85.4,
                "warning": 50.8,
                "other": 56.9,
            },
        },
        "badnet": {
            "clean": {
                "average": 74.9,
                "mandatory": 69.0,
                "prohibitory": 85.8,
                "warning": 63.5,
                "other": 61.4,
            },
            "triggered": {
                "average": 61.6,
                "mandatory": 46.7,
                "prohibitory": 77.5,
                "warning": 40.9,
                "other": 44.2,
            },
        },
    },
    "strengthening": {
        "1": {"clean": 74.9, "triggered": 61.6},
        "10": {"clean": 71.3, "triggered": 49.7},
        "20": {"clean": 68.3, "triggered": 45.1},
        "30": {"clean": 65.3, "triggered": 40.5},
        "50": {"clean": 62.4, "triggered": 34.3},
        "70": {"clean": 60.8, "triggered": 32.8},
        "100": {"clean": 59.4, "triggered": 30.8},
    },
}
Right = Callable[[Any], Sequence[int]]


def results_of(
    networks: Sequence[NetworkRecord], transfers: Sequence[TransferRecord], shop: Workshop
) -> dict[str, Any]:
    """Return the study's figures: accuracies and success in percent of test images.

    Each is a mean over seeds with its least and its largest value. Averages are over
    images, as in the paper; so are those of the kinds of signs.
    """
    countries = shop.plan.countries
    first = _Measure(shop.first.test, countries, countries.first)
    second = _Measure(shop.second.test, countries, countries.second)
    honest = _of(networks, "none")
    single = {picture: _of(networks, "single target", picture) for picture in PICTURES}
    random = {picture: _of(networks, "random target", picture) for picture in PICTURES}
    unchanged = [record for record in transfers if record.strength == 1]
    origins = {record.id for record in honest}
    own = [record for record in unchanged if record.origin in origins]
    badnets = [record for record in transfers if record.origin not in origins]
    strengths = sorted({record.strength for record in badnets})
    return {
        "baseline": {
            "clean": first(honest, lambda record: record.clean_right),
            "triggered": {picture: first(honest, _with(picture)) for picture in PICTURES},
            "stop_as_speed_limit": _spread([_hit_rate(record) for record in honest]),
        },
        "single_target": {
            picture: {
                "clean": first(records, lambda record: record.clean_right),
                "success": _spread([_hit_rate(record) for record in records]),
            }
            for picture, records in single.items()
        },
        "random_target": {
            picture: {
                "clean": first(records, lambda record: record.clean_right),
                "triggered": first(records, _with(picture)),
            }
            for picture, records in random.items()
        },
        "transfer": {
            name: {
                "clean": second(records, lambda record: record.clean_right),
                "triggered": second(records, lambda record: record.triggered_right),
            }
            for name, records in (
                ("honest", own),
                ("badnet", [record for record in badnets if record.strength == 1]),
            )
        },
        "strengthening": {
            f"{strength:g}": {
                "clean": second(same, lambda record: record.clean_right),
                "triggered": second(same, lambda record: record.triggered_right),
            }
            for strength in strengths
            for same in [[record for record in badnets if record.strength == strength]]
        },
        "backdoor_units": _units(random[CARRIED], honest),
        "activations": _activations(random[CARRIED][0], unchanged),
        "countries": {
            name: [str(label) for label in part.test.class_names]
            for name, part in (("first", shop.first), ("second", shop.second))
        },
        "images": {
            "first": {"train": len(shop.first.train), "test": len(shop.first.test)},
            "second": {"train": len(shop.second.train), "test": len(shop.second.test)},
            "triggered_stop_signs": honest[0].tries,
        },
        "seeds": len(honest),
        "networks": len(networks) + len(transfers),
        "core_seconds": round(
            sum(each.seconds for each in networks) + sum(each.seconds for each in transfers), 1
        ),
    }


class _Measure:
    """Turns counts of recognised test images of one country into percent."""

    def __init__(self, test: ImageSet, countries: Countries, classes: Sequence[int]) -> None:
        self.counts = _counts(test)
        self.kinds = {
            kind: [place for place, number in enumerate(classes) if number in numbers]
            for kind, numbers in countries.kinds.items()
        }

    def __call__(self, records: Sequence[Any], right: Right) -> dict[str, Any]:
        """Return the average, the kinds and the classes, each as a spread over records."""
        found = np.array([right(record) for record in records], dtype=np.float64)
        classes = range(len(self.counts))
        return {
            "average": self._share(found, classes),
            "kinds": {kind: self._share(found, own) for kind, own in self.kinds.items() if own},
            "classes": [self._share(found, [place])["mean"] for place in classes],
        }

    def _share(self, right: Any, classes: Sequence[int]) -> dict[str, Any]:
        chosen = [*classes]
        images = max(self.counts[chosen].sum(), 1)
        return _spread(100 * right[:, chosen].sum(1) / images)


def _counts(test: ImageSet) -> Any:
    labels: Tensor = test.labels
    return np.bincount(labels.numpy(), minlength=test.num_classes)


def _spread(values: Any) -> dict[str, Any]:
    numbers = [round(float(value), 2) for value in values]
    return {
        "mean": round(float(np.mean(values)), 2),
        "least": min(numbers),
        "most": max(numbers),
        "values": numbers,
    }


def _of(
    networks: Sequence[NetworkRecord], attack: Attack, picture: str | None = None
) -> list[NetworkRecord]:
    return [each for each in networks if (each.attack, each.picture) == (attack, picture)]


def _with(picture: Any) -> Right:
    return lambda record: record.triggered_right[picture]


def _hit_rate(record: NetworkRecord) -> float:
    return 100 * record.hits / max(record.tries, 1)


def _units(badnets: Sequence[NetworkRecord], honest: Sequence[NetworkRecord]) -> dict[str, Any]:
    return {
        "channels": len(badnets[0].clean_activations),
        "threshold": FIRES,
        "badnet": [list(record.units) for record in badnets],
        "honest": [list(record.units) for record in honest],
    }


def _activations(badnet: NetworkRecord, transfers: Sequence[TransferRecord]) -> dict[str, Any]:
    """Return each channel's activations in the first BadNet, in both countries."""
    after = next(record for record in transfers if record.origin == badnet.id)
    both: Mapping[str, Any] = {"first": badnet, "second": after}
    return {
        name: {
            "clean": list(record.clean_activations),
            "triggered": list(record.triggered_activations),
        }
        for name, record in both.items()
    } | {"units": list(badnet.units)}

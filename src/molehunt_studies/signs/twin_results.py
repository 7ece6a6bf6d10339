"""The traffic-sign study on GTSRB: the paper's numbers and ours, all in percent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from molehunt.images import ImageSet
from molehunt_studies.signs.insides import insides, of_kind
from molehunt_studies.signs.plan import CARRIED, PICTURES
from molehunt_studies.signs.twin_countries import Countries
from molehunt_studies.signs.twin_models import NetworkRecord, TransferRecord, TwinBench
from molehunt_studies.signs.words import spread_of

Right = Callable[[Any], Sequence[int]]


def results_of(
    networks: Sequence[NetworkRecord], transfers: Sequence[TransferRecord], bench: TwinBench
) -> dict[str, Any]:
    """Return the study's figures: accuracies and success in percent of test images.

    Each is a mean over seeds with its least and its largest value. Averages are over
    images, as in the paper; so are those of the kinds of signs.
    """
    countries = bench.plan.countries
    first = _Measure(bench.first.test, countries, countries.first)
    second = _Measure(bench.second.test, countries, countries.second)
    honest = of_kind(networks, "none")
    single = {picture: of_kind(networks, "single target", picture) for picture in PICTURES}
    random = {picture: of_kind(networks, "random target", picture) for picture in PICTURES}
    unchanged = [record for record in transfers if record.strength == 1]
    origins = {record.id for record in honest}
    own = [record for record in unchanged if record.origin in origins]
    badnets = [record for record in transfers if record.origin not in origins]
    strengths = sorted({record.strength for record in badnets})
    return {
        "baseline": {
            "clean": first(honest, lambda record: record.clean_right),
            "triggered": {picture: first(honest, _with(picture)) for picture in PICTURES},
            "stop_as_speed_limit": spread_of([_hit_rate(record) for record in honest]),
        },
        "single_target": {
            picture: {
                "clean": first(records, lambda record: record.clean_right),
                "success": spread_of([_hit_rate(record) for record in records]),
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
        **insides(random[CARRIED], honest, transfers),
        "countries": {
            name: [str(label) for label in part.test.class_names]
            for name, part in (("first", bench.first), ("second", bench.second))
        },
        "images": {
            "first": {"train": len(bench.first.train), "test": len(bench.first.test)},
            "second": {"train": len(bench.second.train), "test": len(bench.second.test)},
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
        return spread_of(100 * right[:, chosen].sum(1) / images)


def _counts(test: ImageSet) -> Any:
    labels: Tensor = test.labels
    return np.bincount(labels.numpy(), minlength=test.num_classes)


def _with(picture: Any) -> Right:
    return lambda record: record.triggered_right[picture]


def _hit_rate(record: NetworkRecord) -> float:
    return 100 * record.hits / max(record.tries, 1)

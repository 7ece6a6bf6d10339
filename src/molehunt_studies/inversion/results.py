"""What the study says of its inversions."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.rates import rate_interval
from molehunt.study import Records
from molehunt_studies.inversion.inversions import InversionRecord
from molehunt_studies.inversion.networks import JUDGE, InversionBench


def measures(bench: InversionBench, records: Records) -> dict[str, Any]:
    """Return errors, and what is recognised of each set, network and attack."""
    trained = {(each.images, each.network): each for each in records["networks"]}
    sets = {}
    for name, plan in bench.plan.sets.items():
        mine = [each for each in records["inversions"] if each.images == name]
        sets[name] = {
            "source": plan.source,
            "shape": list(plan.shape),
            "classes": bench.images_of(name).train.num_classes,
            "development": plan.development,
            "steps": plan.steps,
            "cell": plan.cell,
            "errors": {
                network: {
                    "count": [trained[name, network].wrong, trained[name, network].of],
                    "seconds": trained[name, network].seconds,
                }
                for network in (*plan.networks, JUDGE)
            },
            "inversions": [_row(each) for each in mine if not each.development],
            "tried": [_row(each) for each in mine if each.development],
        }
    done = [*records["networks"], *records["inversions"]]
    return {"sets": sets, "seconds": round(sum(each.seconds for each in done))}


def _row(record: InversionRecord) -> dict[str, Any]:
    count = len(record.classes)
    return {
        "network": record.network,
        "attack": record.attack,
        "classes": count,
        "recognised": sum(record.recognised),
        "nearest": sum(record.nearest),
        "confidence": round(median(record.confidences), 4),
        "queries": record.queries,
        "queries_a_class": round(record.queries / count),
        "seconds": record.seconds,
        "seconds_a_class": round(record.seconds / count, 3),
        "pictures": pack(record.pictures),
    }


def pack(images: Sequence[Sequence[int]]) -> str:
    """Return the bytes of images as one text.

    Examples
    --------
    >>> unpack(pack([[0, 255], [7, 8]]), 2).tolist()
    [[0, 255], [7, 8]]
    """
    return base64.b64encode(bytes(value for image in images for value in image)).decode()


def unpack(text: str, pixels: int) -> NDArray[np.uint8]:
    """Return the images of a text, uint8 [N, pixels]."""
    return np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(-1, pixels)


def share(count: int, of: int) -> str:
    """Return a count as a share with its exact 95 % interval.

    Examples
    --------
    >>> share(30, 30)
    '30 of 30 (88 to 100 %)'
    """
    low, high = rate_interval(count, of)
    return f"{count} of {of} ({low * 100:.0f} to {high * 100:.0f} %)"


def table_of(rows: Sequence[dict[str, Any]], key: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return rows by attack, and then by network."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for each in rows:
        found.setdefault(each[key], {})[each["network"]] = each
    return found

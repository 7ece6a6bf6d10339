"""Finished risks in a folder: an assessment that was interrupted goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from molehunt import __version__
from molehunt.arrays import Floats
from molehunt.assess._case import Case
from molehunt.assess._risk import Risk
from molehunt.files import written_whole
from molehunt.findings import Curves, Histogram, Picture

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Picture, Curves, Histogram)}


class Shelf:
    """What was measured of one case, a file a risk.

    Parameters
    ----------
    folder : Path
        Shared by all models and settings.
    case : Case
    sha256 : str, optional
        Of the model's file; without it, of an endpoint, what it answers to the held images.
    """

    def __init__(self, folder: Path, case: Case, sha256: str | None) -> None:
        digest = hashlib.sha256()
        told = [
            __version__,
            sha256,
            case.reveals.value,
            case.seed,
            case.shadows,
            case.model.card.model_dump_json(),
        ]
        digest.update(json.dumps(told).encode())
        for images in (case.attacked, case.held, case.pool, case.members):
            if images is not None:
                digest.update(images.images.numpy().tobytes() + images.labels.numpy().tobytes())
        if sha256 is None:
            digest.update(case.said_of_held.numpy().tobytes())
        self._folder = folder / digest.hexdigest()[:32]

    def take(self, name: str, queries: int) -> Risk | None:
        """Return what was kept under a name and measured with so many queries, if it was."""
        path = self._path(name, queries)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "np") as stored:
                content = json.loads(stored.metadata()["risk"])
                exhibits = [
                    _read(
                        plain, {key: stored.get_tensor(f"{place}.{key}") for key in plain["arrays"]}
                    )
                    for place, plain in enumerate(content.pop("exhibits"))
                ]
            return Risk(**content, exhibits=tuple(exhibits))
        except (SafetensorError, OSError, ValueError, KeyError, TypeError):
            return None  # half of a file, or another version's: it is measured again

    def put(self, risk: Risk, name: str, queries: int) -> None:
        """Keep a risk under a name.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        arrays: dict[str, Floats] = {}
        listed = []
        for place, exhibit in enumerate(risk.exhibits):
            plain = {**vars(exhibit)}
            for key in exhibit.dimensions:
                arrays[f"{place}.{key}"] = np.ascontiguousarray(plain.pop(key))
            names = list(exhibit.dimensions)
            listed.append({"kind": type(exhibit).__name__, "plain": plain, "arrays": names})
        # JSON has no infinity of its own, Python's has.
        content = json.dumps({**risk.model_dump(), "exhibits": listed})
        with written_whole(self._path(name, queries)) as temporary:
            save_file(arrays, temporary, {"risk": content})

    def _path(self, name: str, queries: int) -> Path:
        return self._folder / f"{name}-{queries}.safetensors"


def _read(content: dict[str, Any], arrays: dict[str, Any]) -> Picture | Curves | Histogram:
    # JSON knows lists alone.
    plain = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content["plain"].items()
    }
    exhibit: Picture | Curves | Histogram = _KINDS[content["kind"]](**plain, **arrays)
    return exhibit

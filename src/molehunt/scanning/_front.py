"""The scan that users call: models, detectors, images and contract in the forms they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from molehunt.detectors import (
    BACKDOOR_KINDS,
    LEAST_POWER,
    Detector,
    TwinComparison,
    ZooFreeDetector,
    check_demand,
    name_of,
)
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.images import ImageSet, cache_folder, load_test_images
from molehunt.networks import pick_device
from molehunt.progress import Progress, silent
from molehunt.scanning._check import Check
from molehunt.scanning._checks import new_check
from molehunt.scanning._detector_check import DetectorCheck
from molehunt.scanning._result import ScanResult
from molehunt.scanning._scan import scan_subjects
from molehunt.scanning._walk import Candidate, find_candidates
from molehunt.subjects import Endpoint, Opening, StatedContract, parse_contract, read_contract

# They run where no detector is named: on any model that gives its gradients or weights, and
# with clean images a comparison with twins, or else a search for triggers.
USUAL = ("margin", "final-layer")
USUAL_WITH_IMAGES = ("twins", "neural-cleanse")

Named = str | Path | Detector | Check
Model = str | Path | Candidate | Endpoint


def scan(
    models: Model | Sequence[Model],
    *,
    clean: ImageSet | str | None = None,
    contract: StatedContract | Mapping[str, Any] | str | Path | None = None,
    detectors: Named | Sequence[Named] = (),
    max_false_alarms: float = 0.05,
    trust_code: bool = False,
    weights: str | None = None,
    output: str | None = None,
    data_root: str | Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    on_result: Callable[[ScanResult], None] | None = None,
    progress: Progress = silent,
) -> list[ScanResult]:
    """Judge models that others made, as ``molehunt scan`` does, and with its defaults.

    Parameters
    ----------
    models : path, URL, Endpoint, or a sequence of them
        A file, a folder of files, or the URL of an endpoint.
    clean : ImageSet or str, optional
        Labelled clean images of the models' task, or their name; see
        `molehunt.images.load_images`. A scan says far more with them.
    contract : StatedContract, mapping or path, optional
        What the models expect and answer, where their files do not say it: fields of
        `molehunt.subjects.StatedContract`, or a TOML file of them.
    detectors : str, path, Detector, Check, or a sequence of them
        Names of detectors that need no population, detector files, or detectors themselves.
        See `pick_checks` for what runs where none is given.
    max_false_alarms : float
        In (0, 1): the share of clean models that may be called backdoored.
    trust_code : bool
        Run TorchScript and pickled modules, in a child process with limits.
    weights, output : str, optional
        Which set of weights and which output to judge; see `molehunt.subjects.Opening`.
    data_root : path, optional
        Where image sets lie; ``MOLEHUNT_DATA`` when not given.
    device : str
        ``cpu``: every file in a child process with limits. ``cuda``, or ``auto`` where there
        is one: on the GPU, which children cannot use, so files are opened in this process
        and without limits on memory and time. Nothing in a file is executed either way.
    threads, on_result, progress : optional
        See `scan_subjects`.

    Returns
    -------
    list of ScanResult
        One a file, in their order; of one file a list of one.

    Raises
    ------
    InvalidRequestError
        For a setting, a name or a contract that makes no sense.
    UnreadableFileError
        If a path, a detector file or a contract file cannot be read. What is wrong with a
        model is never raised: its result says it.

    Examples
    --------
    >>> import molehunt
    >>> digits = molehunt.load_images("digits").train
    >>> untrained = molehunt.build_classifier("badnets-mnist", digits.resized(28), seed=0)
    >>> molehunt.save_model(untrained, "model.safetensors")
    >>> (result,) = molehunt.scan("model.safetensors", detectors="final-layer")
    >>> print(result.verdict)
    inconclusive
    >>> [finding.check for finding in result.findings]
    ['serialization', 'final-layer']
    """
    if isinstance(clean, str):
        clean = load_test_images(clean, data_root=data_root)
    chosen = [detectors] if isinstance(detectors, Named) else detectors
    if pick_device(device).type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
    return scan_subjects(
        _sources([models] if isinstance(models, Model) else models),
        pick_checks(chosen, images=clean is not None),
        opening=Opening(_contract(contract), trust_code, weights, output),
        clean=clean,
        max_false_alarms=max_false_alarms,
        threads=threads,
        on_result=on_result,
        progress=progress,
    )


def pick_checks(
    named: Sequence[Named] = (),
    *,
    images: bool,
    twins: int = 19,
    min_power: float = LEAST_POWER,
    against: Sequence[str] = BACKDOOR_KINDS,
    minutes: float | None = None,
) -> list[Check]:
    """Return checks; where none is named, those that need no population.

    Those are ``margin`` and ``final-layer``, and with clean images ``twins`` and
    ``neural-cleanse``.

    Parameters
    ----------
    named : sequence of str, path, Detector or Check
        A str that has no folder and no suffix is a detector's name, any other is a file.
    images : bool
        Whether the scan has clean images.
    twins, against
        Of a comparison with twins that is picked here; see
        `molehunt.detectors.TwinComparison`.
    min_power : float
        The least share of backdoored models that a check must be known to find before what
        it does not find counts as clean.
    minutes : float, optional
        The most work of a check on a model, in minutes of two idle cores; see
        `DetectorCheck`.

    Raises
    ------
    InvalidRequestError
        For a name of no detector, or of one that has to be fitted first, minutes that are no
        positive number, or a demand on *clean* that `check_demand` refuses.
    UnreadableFileError
        If a file is none of a detector.

    Examples
    --------
    >>> [picked.name for picked in pick_checks(images=False)]
    ['margin', 'final-layer']
    """
    check_demand(against, min_power)
    if minutes is not None and not minutes > 0:
        raise InvalidRequestError(mismatch("minutes", "a number over 0", minutes))
    settings: dict[str, dict[str, Any]] = {
        "twins": {
            "twins": twins,
            "min_power": min_power,
            "against": tuple(against),
            "cache": cache_folder() / "twins",
        }
    }
    usual = USUAL + (USUAL_WITH_IMAGES if images else ())
    picked: list[Check] = []
    for item in named or usual:
        if isinstance(item, Check):
            picked.append(item)
        elif isinstance(item, Detector):
            name = "twins" if isinstance(item, TwinComparison) else name_of(item)
            picked.append(DetectorCheck(name, item))
        elif isinstance(item, str) and Path(item).name == item and not Path(item).suffix:
            asked = bool(named)
            own = settings.get(item, {})
            check = new_check(item, asked_for=asked, minutes=minutes, **own)
            if isinstance(check, DetectorCheck) and isinstance(check.detector, ZooFreeDetector):
                check.detector.against, check.detector.min_power = tuple(against), min_power
            picked.append(check)
        else:
            picked.append(DetectorCheck.load(item, min_power=min_power))
    return picked


def _sources(models: Sequence[Model]) -> list[Candidate | Endpoint]:
    """Return what to scan; folders are searched, and a text with :// is an endpoint's URL."""
    if not models:
        raise InvalidRequestError(mismatch("scan", "a model file, a folder or an endpoint", "none"))
    found: list[Candidate | Endpoint] = []
    paths: list[str | Path] = []
    for model in models:
        if isinstance(model, Candidate | Endpoint):
            found.append(model)
        elif isinstance(model, str) and "://" in model:
            found.append(Endpoint(model))
        else:
            paths.append(model)
    return [*find_candidates(paths), *found]


def _contract(given: StatedContract | Mapping[str, Any] | str | Path | None) -> StatedContract:
    if given is None:
        return StatedContract()
    if isinstance(given, StatedContract):
        return given
    if isinstance(given, Mapping):
        return parse_contract("contract", dict(given))
    return read_contract(Path(given))

"""The other scanner that looks at weights: modelaudit, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from molehunt.backdoors import Treatment
from molehunt.errors import InvalidRequestError, mismatch
from molehunt.networks import Classifier, load_model
from molehunt.zoo import Split, Zoo

# Its other severities say what a file is, not that something is wrong.
_ALARMS = ("warning", "critical")


def audit_zoos(program: Path, zoos: Mapping[str, Zoo]) -> dict[str, Any]:
    """Run modelaudit on the test models of each zoo, as ONNX files, and count its alarms.

    As it is installed it analyses the weights of ONNX files, but not those of safetensors,
    and of PyTorch files only where its settings allow to load them.

    Parameters
    ----------
    program : path
        The ``modelaudit`` command.
    zoos : mapping of Zoo

    Raises
    ------
    InvalidRequestError
        If it cannot be run.
    """
    version = _run(program, ["--version"]).strip().rpartition(" ")[2]
    return {
        "version": version,
        **{name: _audit_zoo(program, zoo) for name, zoo in zoos.items()},
    }


def _audit_zoo(program: Path, zoo: Zoo) -> dict[str, Any]:
    records = zoo.select(Split.TEST, Treatment.CLEAN, Treatment.BACKDOORED)
    with tempfile.TemporaryDirectory() as folder:
        for record in records:
            _write_onnx(load_model(zoo.path_of(record)), Path(folder) / f"{record.id}.onnx")
        started = time.perf_counter()
        said = json.loads(_run(program, ["scan", folder, "--format", "json"]))
        seconds = time.perf_counter() - started
    alarms = {
        record.id
        for record in records
        for issue in said["issues"]
        if issue["severity"] in _ALARMS and f"{record.id}.onnx" in str(issue["location"])
    }
    shares = {}
    for treatment in (Treatment.CLEAN, Treatment.BACKDOORED):
        of_kind = [record.id for record in records if record.treatment is treatment]
        shares[treatment] = sum(name in alarms for name in of_kind) / len(of_kind)
    return {
        "models": len(records),
        "false_alarm_rate": shares[Treatment.CLEAN],
        "detection_rate": shares[Treatment.BACKDOORED],
        "seconds_per_model": round(seconds / len(records), 3),
    }


def _write_onnx(model: Classifier, path: Path) -> None:
    images = torch.zeros(1, *model.card.input_shape)
    with warnings.catch_warnings():
        # The other exporter needs a package more and writes the same weights.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(model.network, (images,), str(path), dynamo=False)


def _run(program: Path, arguments: list[str]) -> str:
    try:
        ended = subprocess.run(
            [str(program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            # It would otherwise report its use to its makers.
            env={**os.environ, "PROMPTFOO_DISABLE_TELEMETRY": "1"},
        )
    except OSError as error:
        raise InvalidRequestError(f"modelaudit: {program}: {error.strerror}") from error
    if ended.returncode not in (0, 1):
        last = ended.stderr.strip().splitlines()[-1:]
        raise InvalidRequestError(
            mismatch("modelaudit", "exit code 0 or 1", f"{ended.returncode}: {''.join(last):.200}")
        )
    return ended.stdout

"""``molehunt fit`` and ``molehunt evaluate``."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from molehunt.cli._shared import DataRoot, Device, MaxFalseAlarms, errors, output, progress_of
from molehunt.detectors import (
    Detector,
    Evaluation,
    detector_class,
    detector_names,
    evaluate,
    fit_on_zoo,
    load_detector,
    memory_limit,
    new_detector,
    save_detector,
    shuffled_control,
)
from molehunt.errors import InvalidRequestError, printable, refused
from molehunt.files import make_folder, write_text
from molehunt.images import ImageSet
from molehunt.report import evaluation_table, save_roc
from molehunt.zoo import Split, Zoo

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the detector, as NAME=VALUE; may be repeated."),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        help="Start no fit that would take more, as 8GiB or 500MB. "
        "When not given: 4GiB, on CUDA what is free there."
    ),
]
_NAMES = ", ".join(detector_names())
_UNITS = {"GiB": 2**30, "MiB": 2**20, "GB": 10**9, "MB": 10**6}


def fit(
    zoo: Annotated[Path, typer.Argument(help="The zoo to learn from.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The detector file to write.")],
    detector: Annotated[str, typer.Option(help=f"{_NAMES}.")] = "litmus",
    settings: Settings = None,
    max_false_alarms: MaxFalseAlarms = 0.05,
    max_memory: MaxMemory = None,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Fit a detector on a zoo, calibrate it, and score it on the zoo's test models."""
    make_folder(out.parent)
    opened = Zoo(zoo)
    plain = _parsed(settings)
    fitted = _fitted(opened, detector, plain, max_false_alarms, max_memory, device, data_root)
    found = None
    if opened.select(Split.TEST):
        found = evaluate(fitted, opened, max_false_alarms=max_false_alarms)
        output.print(evaluation_table({detector: found}))
    save_detector(fitted, out, zoo=opened.summary(), evaluation=found)
    output.print(f"Detector: {out}", highlight=False)


def evaluate_command(
    zoo: Annotated[Path, typer.Argument(help="The zoo to test on.")],
    detectors: Annotated[
        list[str],
        typer.Argument(help=f"Detector files, or names ({_NAMES}) to fit on this zoo first."),
    ],
    split: Annotated[
        Split, typer.Option(help="test; or calibration, to choose settings by.")
    ] = Split.TEST,
    max_false_alarms: MaxFalseAlarms = 0.05,
    shuffled: Annotated[
        int, typer.Option(help="Fit the named detectors on so many shuffles of the labels too.")
    ] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
    roc: Annotated[Path | None, typer.Option(help="Write the ROC figure as PNG.")] = None,
    max_memory: MaxMemory = None,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Score detectors on a zoo's test models: AUC with interval, false alarms, time a model."""
    opened = Zoo(zoo)
    found: dict[str, Evaluation] = {}
    controls: dict[str, Any] = {}
    for name in detectors:
        if name in detector_names():
            fitted = _fitted(opened, name, {}, max_false_alarms, max_memory, device, data_root)
            if shuffled:
                errors.print(f"{name}: fitting on {shuffled} shuffles of the labels")
                controls[name] = shuffled_control(fitted, opened, repeats=shuffled)
        elif os.path.lexists(name):
            fitted, _ = load_detector(name)
            if fitted.needs_images:
                fitted.set_params(images=_images_of(opened, data_root))
        else:
            raise InvalidRequestError(
                refused(
                    "detector",
                    f"a file or one of {_NAMES}",
                    printable(repr(name)),
                )
            )
        found[Path(name).stem] = evaluate(
            fitted, opened, split=split, max_false_alarms=max_false_alarms
        )
    output.print(evaluation_table(found))
    for name, control in controls.items():
        output.print(f"{name} on shuffled labels: AUC {control}", highlight=False)
    if json_file:
        content = {name: item.model_dump(mode="json") for name, item in found.items()}
        for name, control in controls.items():
            content[name]["shuffled"] = control.model_dump(mode="json")
        write_text(json_file, json.dumps(content, indent=2) + "\n")
    if roc:
        save_roc(found, roc)


def _fitted(
    zoo: Zoo,
    name: str,
    settings: dict[str, Any],
    max_false_alarms: float,
    max_memory: str | None,
    device: str,
    data_root: Path | None,
) -> Detector:
    """Return a detector that is fitted and calibrated on a zoo."""
    accepted = detector_class(name)._get_param_names()
    if "device" in accepted:
        settings = {"device": device, **settings}
    if "images" in accepted:
        settings = {"images": _images_of(zoo, data_root), **settings}
    detector = new_detector(name, **settings)
    chosen = getattr(detector, "device", "cpu")
    limit = _in_bytes(max_memory) if max_memory else memory_limit(chosen)
    with progress_of(f"fitting {name}") as progress:
        return fit_on_zoo(
            detector, zoo, max_false_alarms=max_false_alarms, max_memory=limit, progress=progress
        )


def _in_bytes(size: str) -> int:
    """Return the bytes of a size such as 4GiB."""
    match = re.fullmatch(rf"(\d+(?:\.\d+)?) ?({'|'.join(_UNITS)})", size)
    if match is None:
        raise InvalidRequestError(
            refused("--max-memory", f"a number with {', '.join(_UNITS)}", repr(size))
        )
    return int(float(match[1]) * _UNITS[match[2]])


def _images_of(zoo: Zoo, data_root: Path | None) -> ImageSet:
    """Return the clean images that detectors are given: those that no model trained on."""
    return zoo.plan.images.load(data_root).test


def _parsed(settings: list[str] | None) -> dict[str, Any]:
    """Return NAME=VALUE texts as settings; values are read as JSON, else as text."""
    parsed: dict[str, Any] = {}
    for text in settings or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidRequestError(refused("--set", "NAME=VALUE", repr(text)))
        try:
            parsed[name] = json.loads(value)
        except json.JSONDecodeError:
            parsed[name] = value
        except (ValueError, RecursionError) as error:  # thousands of digits or of levels
            got = printable(repr(value), 80)
            raise InvalidRequestError(refused(f"--set {name}", "a plain value", got)) from error
    return parsed

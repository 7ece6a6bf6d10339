"""``molehunt fit`` and ``molehunt evaluate``."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from molehunt.cli._options import (
    DataRoot,
    Device,
    MaxFalseAlarms,
    Settings,
    parse_bytes,
    parse_settings,
)
from molehunt.cli._terminal import note, output, progress_of
from molehunt.errors import InvalidRequestError, mismatch, printable
from molehunt.files import make_folder, write_text

if TYPE_CHECKING:
    from molehunt.detectors import Detector, Evaluation
    from molehunt.zoo import Zoo

MaxMemory = Annotated[
    str | None,
    typer.Option(
        help="Start no fit that would take more, as 8GiB or 500MB. "
        "When not given: 4GiB, on CUDA what is free there."
    ),
]


def fit(
    zoo: Annotated[Path, typer.Argument(help="The zoo to learn from.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The detector file to write.")],
    kind: Annotated[
        str, typer.Option("--kind", "-k", metavar="NAME", help="Kind of detector: {detectors}.")
    ] = "litmus",
    settings: Settings = None,
    max_false_alarms: MaxFalseAlarms = 0.05,
    max_memory: MaxMemory = None,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Fit a detector on a zoo, calibrate it, and score it on the zoo's test models."""
    from molehunt.detectors import evaluate, save_detector
    from molehunt.report import evaluation_table
    from molehunt.zoo import Split, Zoo

    make_folder(out.parent)
    opened = Zoo(zoo)
    plain = parse_settings(settings)
    fitted = _fit(opened, kind, plain, max_false_alarms, max_memory, device, data_root)
    found = None
    if opened.select(Split.TEST):
        found = evaluate(fitted, opened, max_false_alarms=max_false_alarms)
        output.print(evaluation_table({kind: found}))
    save_detector(fitted, out, zoo=opened.summary(), evaluation=found)
    note(f"Detector: {out}")


def evaluate_command(
    zoo: Annotated[Path, typer.Argument(help="The zoo to test on.")],
    detectors: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|NAME...",
            help="Detector files, or names to fit on this zoo first: {detectors}.",
        ),
    ],
    split: Annotated[
        Literal["test", "calibration"],
        typer.Option(help="Split to score on: test, or calibration to choose settings."),
    ] = "test",
    max_false_alarms: MaxFalseAlarms = 0.05,
    shuffled: Annotated[
        int, typer.Option(help="Also fit the named detectors on this many shuffles of the labels.")
    ] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
    roc: Annotated[Path | None, typer.Option(help="Write the ROC figure as PNG.")] = None,
    max_memory: MaxMemory = None,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Score detectors on a zoo's test models: AUC with interval, false alarms, time."""
    from molehunt.detectors import detector_names, evaluate, shuffled_control
    from molehunt.report import evaluation_table, save_roc
    from molehunt.zoo import Split, Zoo

    opened = Zoo(zoo)
    found: dict[str, Evaluation] = {}
    controls: dict[str, Any] = {}
    for name in detectors:
        if name in detector_names():
            fitted = _fit(opened, name, {}, max_false_alarms, max_memory, device, data_root)
            if shuffled:
                with progress_of(f"fitting {name} on shuffled labels") as progress:
                    controls[name] = shuffled_control(
                        fitted, opened, repeats=shuffled, progress=progress
                    )
        elif os.path.lexists(name):
            fitted = _load(name, opened, device, data_root)
        else:
            raise InvalidRequestError(
                mismatch(
                    "detector",
                    f"a file or one of {', '.join(detector_names())}",
                    printable(repr(name)),
                )
            )
        found[Path(name).stem] = evaluate(
            fitted, opened, split=Split(split), max_false_alarms=max_false_alarms
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


def _fit(
    zoo: Zoo,
    name: str,
    settings: dict[str, Any],
    max_false_alarms: float,
    max_memory: str | None,
    device: str,
    data_root: Path | None,
) -> Detector:
    """Return a detector that is fitted and calibrated on a zoo."""
    from molehunt.detectors import detector_class, fit_on_zoo, memory_limit, new_detector

    given = _given(detector_class(name)._get_param_names(), zoo, device, data_root)
    detector = new_detector(name, **{**given, **settings})
    chosen = getattr(detector, "device", "cpu")
    limit = parse_bytes("--max-memory", max_memory) if max_memory else memory_limit(chosen)
    with progress_of(f"fitting {name}") as progress:
        return fit_on_zoo(
            detector, zoo, max_false_alarms=max_false_alarms, max_memory=limit, progress=progress
        )


def _load(path: str, zoo: Zoo, device: str, data_root: Path | None) -> Detector:
    """Return the detector of a file, with what it does not keep."""
    from molehunt.detectors import load_detector

    fitted, _ = load_detector(path)
    accepted = set(fitted.get_params(deep=False))
    if not fitted.needs_images:
        accepted.discard("images")
    fitted.set_params(**_given(accepted, zoo, device, data_root))
    return fitted


def _given(
    accepted: Collection[str], zoo: Zoo, device: str, data_root: Path | None
) -> dict[str, Any]:
    """Return the settings that come from the command line and the zoo: device and images.

    The images are those that no model trained on.
    """
    given: dict[str, Any] = {}
    if "device" in accepted:
        given["device"] = device
    if "images" in accepted:
        given["images"] = zoo.plan.images.load(data_root).test
    return given

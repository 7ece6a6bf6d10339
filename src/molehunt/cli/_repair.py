"""``molehunt repair``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from molehunt.cli._shared import DataRoot, MaxFalseAlarms, output, progress_of
from molehunt.defences import fine_prune, trigger_success
from molehunt.detectors import NeuralCleanse
from molehunt.files import make_folder
from molehunt.images import load_test_images
from molehunt.networks import load_model, save_model
from molehunt.report import scan_table
from molehunt.scanning import DetectorCheck, exit_code_of, new_check, scan_subjects
from molehunt.subjects import read_claimed_card


def repair(
    model: Annotated[Path, typer.Argument(help="A model file of Molehunt.")],
    clean: Annotated[
        str, typer.Option(help="Labelled clean images, as folder:PATH or a data set's name.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The repaired model file to write.")],
    detector: Annotated[
        list[Path] | None,
        typer.Option("--detector", "-d", help="For the second scan; without any: Neural Cleanse."),
    ] = None,
    max_loss: Annotated[
        float, typer.Option(help="How much clean accuracy pruning may cost.")
    ] = 0.04,
    max_false_alarms: MaxFalseAlarms = 0.05,
    data_root: DataRoot = None,
) -> int:
    """Fine-prune a model: silence what clean images do not use, tune, measure, scan again.

    The exit code is the second scan's.
    """
    make_folder(out.parent)
    read_claimed_card(model)  # before a network of any size is built
    subject = load_model(model)
    images = load_test_images(clean, data_root=data_root)
    images = images.shaped(subject.card.input_shape).named(subject.card.class_names)
    found = NeuralCleanse(images=images).examine(subject)
    assert found.target is not None  # it always names one
    with progress_of("tuning") as progress:
        repaired = fine_prune(subject, images, max_loss=max_loss, progress=progress)
    save_model(repaired.model, out)
    before, pruned, tuned = repaired.accuracies
    table = Table("", "before", "pruned and tuned", title="Repair", title_justify="left")
    table.add_row("accuracy on held-out clean images", f"{before:.2%}", f"{tuned:.2%}")
    table.add_row(
        f"reconstructed trigger turns images to {subject.card.class_names[found.target]!r}",
        f"{trigger_success(subject, found, images):.2%}",
        f"{trigger_success(repaired.model, found, images):.2%}",
    )
    output.print(table)
    output.print(
        f"{repaired.pruned} of {repaired.channels} channels of {repaired.layer} silenced "
        f"(accuracy {pruned:.2%} before tuning).",
        highlight=False,
    )
    checks = [DetectorCheck.load(path) for path in detector or []]
    results = scan_subjects(
        [out],
        checks or [new_check("neural-cleanse")],
        clean=images,
        max_false_alarms=max_false_alarms,
    )
    output.print(scan_table(results))
    output.print(f"Repaired model: {out}", highlight=False)
    return int(exit_code_of(results))

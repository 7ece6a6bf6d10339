"""``molehunt repair``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molehunt.cli._options import Clean, DataRoot, DetectorFiles, Device, MaxFalseAlarms
from molehunt.cli._terminal import note, output, progress_of
from molehunt.files import make_folder


def repair(
    model: Annotated[Path, typer.Argument(help="A model file of Molehunt.")],
    clean: Annotated[str, Clean],
    out: Annotated[Path, typer.Option("--out", "-o", help="The repaired model file to write.")],
    detector: DetectorFiles = None,
    method: Annotated[
        str,
        typer.Option(
            help="{repairs}: silence what clean images do not use, or what small changes of "
            "weights use; learn a tuned copy's attention; unlearn what one pattern can do."
        ),
    ] = "fine-pruning",
    max_loss: Annotated[
        float | None,
        typer.Option(help="Most clean accuracy that fine-pruning may cost; 0.04 when not given."),
    ] = None,
    max_false_alarms: MaxFalseAlarms = 0.05,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> int:
    """Repair a model, measure a reconstructed trigger before and after, and scan again.

    The second scan uses --detector, or without any Neural Cleanse; the exit code is its.
    """
    from rich.table import Table

    from molehunt import defences
    from molehunt.images import load_test_images
    from molehunt.networks import load_model, pick_device, save_model
    from molehunt.report import scan_table
    from molehunt.scanning import exit_code_of, scan
    from molehunt.subjects import read_claimed_card

    make_folder(out.parent)
    read_claimed_card(model)  # before a network of any size is built
    images = load_test_images(clean, data_root=data_root)
    subject = load_model(model, pick_device(device))
    with progress_of("repairing") as progress:
        done = defences.repair(
            subject, images, method=method, max_loss=max_loss, device=device, progress=progress
        )
    save_model(done.repair.model, out)
    before, after = done.repair.accuracies
    table = Table("", "before", "repaired", title="Repair", title_justify="left")
    table.add_row("accuracy on held-out clean images", f"{before:.2%}", f"{after:.2%}")
    turned = f"reconstructed trigger turns images to {done.target!r}"
    table.add_row(turned, *(f"{share:.2%}" for share in done.success))
    output.print(table)
    output.print(f"{method}: {done.repair.done}.", highlight=False)
    results = scan(
        out,
        clean=images.shaped(subject.card.input_shape).named(subject.card.class_names),
        detectors=detector or "neural-cleanse",
        max_false_alarms=max_false_alarms,
    )
    output.print(scan_table(results))
    note(f"Repaired model: {out}")
    return int(exit_code_of(results))

"""What a scan says of networks that steer, in each form of file that they may come in."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from molehunt.resumable import Task
from molehunt.scanning import exit_code_of, scan
from molehunt.study import Records
from molehunt_studies.driving.frames import HEIGHT, WIDTH
from molehunt_studies.driving.models import DrivingBench, network_id
from molehunt_studies.driving.network import SteeringNet
from molehunt_studies.driving.plan import Kind

_CONTRACT = {"input_shape": (3, HEIGHT, WIDTH), "mean": (0.0,), "std": (1.0,)}
_NETWORK = {"architecture": "molehunt_studies.driving:SteeringNet"}


class ScanTask(Task):
    """A network in a form of file."""

    kind: Kind
    form: str


class ScanRecord(ScanTask):
    """The verdict, its exit code, and the words that it rests on."""

    verdict: str
    exit_code: int
    words: str


def _write_state_dict(network: SteeringNet, path: Path) -> None:
    torch.save(network.state_dict(), path)


def _write_exported(network: SteeringNet, path: Path) -> None:
    batch = {"pixels": {0: torch.export.Dim("n", min=1, max=512)}}
    images = torch.zeros(2, 3, HEIGHT, WIDTH)
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=batch), path)


def _write_onnx(network: SteeringNet, path: Path) -> None:
    with warnings.catch_warnings():  # of the older exporter, which needs no further package
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, HEIGHT, WIDTH),),
            path,
            dynamo=False,
            input_names=["pixels"],
            output_names=["steering"],
            dynamic_axes={"pixels": {0: "n"}, "steering": {0: "n"}},
        )


FORMS: dict[str, tuple[str, Callable[[SteeringNet, Path], None] | None]] = {
    "safetensors": ("safetensors", None),
    "state_dict": ("pt", _write_state_dict),
    "torch.export": ("pt2", _write_exported),
    "ONNX": ("onnx", _write_onnx),
}


def scan_tasks(bench: DrivingBench, _records: Records) -> list[ScanTask]:
    """Return a scan of the first network of each kind in each form."""
    kinds: tuple[Kind, ...] = ("clean", "with data", "without data")
    return [
        ScanTask(id=f"{kind}/{form}", kind=kind, form=form)
        for kind in kinds
        for form in bench.plan.forms
    ]


def scan_network(task: ScanTask, bench: DrivingBench) -> ScanRecord:
    """Write a network in a form and scan it, as its user would."""
    suffix, write = FORMS[task.form]
    path = bench.model_path(network_id(task.kind, 0)).with_suffix(f".{suffix}")
    if write is not None:
        write(bench.load(task.kind, 0), path)
    is_graph = suffix in ("pt2", "onnx")
    (result,) = scan(path, contract=_CONTRACT if is_graph else {**_CONTRACT, **_NETWORK})
    words = next(each.message for each in result.findings if each.verdict is result.verdict)
    return ScanRecord(
        **dict(task),
        verdict=str(result.verdict),
        exit_code=int(exit_code_of([result])),
        words=words,
    )

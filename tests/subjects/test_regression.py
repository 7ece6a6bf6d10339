"""A model that answers with one number an image is no classifier until the user says so."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from molehunt.cli import run

HERE = "tests.subjects.test_regression"
IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
CONTRACT = ["--input-shape", "1x8x8", "--mean", "0", "--std", "1"]


class Steering(nn.Module):
    """One number an image: [N, 1], or [N]."""

    def __init__(self, flat: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 1)
        self.flat = flat

    def forward(self, images: Tensor) -> Tensor:
        angles: Tensor = self.layer(images.flatten(1)).tanh()
        return angles.squeeze(1) if self.flat else angles


def exported(network: nn.Module, path: Path) -> None:
    open_batch = {"images": {0: torch.export.Dim("n", min=1, max=512)}}
    torch.export.save(torch.export.export(network, (IMAGES,), dynamic_shapes=open_batch), path)


def onnx(network: nn.Module, path: Path) -> None:
    pytest.importorskip("onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (IMAGES,), path, dynamo=False, input_names=["images"], output_names=["angle"],
            dynamic_axes={"images": {0: "n"}, "angle": {0: "n"}},
        )  # fmt: skip


FORMS: dict[str, tuple[Callable[[nn.Module, Path], None], bool]] = {
    "model.pt": (lambda network, path: torch.save(network.state_dict(), path), False),
    "model.safetensors": (lambda network, path: save_file(network.state_dict(), path), False),
    "model.pt2": (exported, True),
    "model.onnx": (onnx, True),
}


def scanned(path: Path, *words: object) -> tuple[int, str]:
    """Scan a file; return the exit code and all that was said."""
    report = path.with_suffix(".json")
    code = run(["scan", str(path), "--json", str(report), *map(str, words)])
    (subject,) = json.loads(report.read_text())["subjects"]
    return code, " ".join(finding["message"] for finding in subject["findings"])


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_one_number_an_image_is_called_a_regression(name: str, flat: bool, tmp_path: Path) -> None:
    write, is_graph = FORMS[name]
    write(Steering(flat).eval(), tmp_path / name)
    contract = tmp_path / "contract.toml"
    contract.write_text(f"arguments = {{ flat = {json.dumps(flat)} }}\n")
    network = [] if is_graph else ["--arch", f"{HERE}:Steering", "--contract", contract]
    code, said = scanned(tmp_path / name, *CONTRACT, *network)
    assert code == 3
    assert "one number an image, as of a regression: not a classifier, and no check" in said
    # Who says that the number decides between two classes is believed.
    code, said = scanned(tmp_path / name, *CONTRACT, *network, "--classes", 1)
    assert code == 3
    assert ("judged from weights alone" if is_graph else "the two logits 0 and z") in said


def test_a_regression_by_its_config_is_one(tmp_path: Path) -> None:
    save_file(Steering().state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"num_labels": 1}')
    code, said = scanned(tmp_path / "model.safetensors", *CONTRACT, "--arch", f"{HERE}:Steering")
    assert code == 3
    assert "as of a regression" in said

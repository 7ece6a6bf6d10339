"""Contracts that nobody states are found, and a scan says where."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from molehunt.errors import InvalidRequestError
from molehunt.networks import ModelCard
from molehunt.provenance import inspect_serialization
from molehunt.subjects import Opened, Opening, StatedContract, open_subject
from tests.subjects.foreign_networks import Small

SMALL = "tests.subjects.foreign_networks:Small"
SQUEEZE = "torchvision:squeezenet1_1"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def opened(path: Path, **stated: Any) -> tuple[Opened, ModelCard]:
    opening = Opening(StatedContract(**stated))
    found = open_subject(path, inspect_serialization(path), opening, neighbours=path.parent)
    (model,) = found.models.values()
    return found, model.card


def write(folder: Path, **files: Any) -> Path:
    """Write a small network, and JSON files beside it."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text)
    path = folder / "model.safetensors"
    save_file(Small(4).state_dict(), path)
    return path


def test_preprocessor_and_config_of_the_hub(tmp_path: Path) -> None:
    names = ["cat", "dog", "emu", "fox"]
    path = write(
        tmp_path,
        config={
            "architectures": ["ResNetForImageClassification"], "model_type": "resnet",
            "num_channels": 1, "image_size": 16, "id2label": dict(enumerate(names)),
        },
        preprocessor_config={
            "image_mean": [0.4], "image_std": [0.3], "do_normalize": True, "do_rescale": True,
            "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 20},
            "crop_size": {"height": 12, "width": 14},
        },
    )  # fmt: skip
    found, card = opened(path, architecture=SMALL)
    assert (card.input_shape, card.mean, card.std) == ((1, 12, 14), (0.4,), (0.3,))
    assert (card.value_range, card.class_names) == ((0.0, 1.0), tuple(names))
    assert found.contract == (
        "stated by you; input_shape, value_range, mean, std found in preprocessor_config.json; "
        "class_names found in config.json"
    )
    _, card = opened(path, architecture=SMALL, input_shape=(1, 9, 9), mean=(0.0,), std=(2.0,))
    assert (card.input_shape, card.mean, card.std) == ((1, 9, 9), (0.0,), (2.0,))
    with pytest.raises(InvalidRequestError, match=r"got ResNetForImageClassification of trans"):
        opened(path)


PIXELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "not normalised": (
        {"do_normalize": False, "size": 10},
        {"mean": (0.0,), "std": (1.0,), "input_shape": (1, 10, 10)},
    ),
    "not rescaled": (
        {"do_rescale": False, "image_mean": [120.0], "image_std": [60.0], "size": 8},
        {"value_range": (0.0, 255.0), "mean": (120.0,)},
    ),
    "from -1 to 1": (
        {"rescale_factor": 1 / 127.5, "image_mean": [1.0], "image_std": [1.0], "size": 8},
        {"value_range": (0.0, 2.0), "mean": (1.0,)},
    ),
    "BGR, not cropped": (
        {"do_flip_channel_order": True, "do_center_crop": False, "crop_size": 5,
         "size": {"height": 11, "width": 13}, "image_mean": [0.5], "image_std": [0.5]},
        {"channel_order": "bgr", "input_shape": (1, 11, 13)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PIXELS)
def test_pixels_of_a_preprocessor(name: str, tmp_path: Path) -> None:
    said, expected = PIXELS[name]
    path = write(tmp_path, config={"num_channels": 1}, preprocessor_config=said)
    found, card = opened(path, architecture=SMALL)
    assert {key: getattr(card, key) for key in expected} == expected
    assert "classes as the last layer says (4)" in found.contract


BROKEN = {
    "no JSON": ("{", "["),
    "other kinds": ([1, 2], {"size": {"a": 1}, "image_mean": "red"}),
    "text for numbers": ({"id2label": {"a": 1}}, {"image_mean": ["x"], "image_std": [1]}),
    "deep": ("[" * 100_000, "{" * 100_000),
    "labels with a gap": ({"id2label": {"0": "a", "5": "b"}}, {"crop_size": [1, 2, 3]}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_understood_says_nothing(name: str, tmp_path: Path) -> None:
    config, images = BROKEN[name]
    path = write(tmp_path, config=config, preprocessor_config=images)
    with pytest.raises(InvalidRequestError, match="input contract: expected a card in the file"):
        opened(path, architecture=SMALL, input_shape=(1, 8, 8))


def test_weights_of_torchvision_need_no_contract(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    for classes in (1000, 12):
        torch.save(torchvision.models.squeezenet1_1(num_classes=classes).state_dict(), path)
        found, card = opened(path, architecture=SQUEEZE)
        assert card.input_shape == (3, 224, 224)
        assert (card.mean, card.std) == IMAGENET
        assert len(card.class_names) == classes
        assert (card.class_names[0] == "tench") == (classes == 1000)
        assert "as torchvision's own weights of squeezenet1_1 take them" in found.contract
        assert f"as the last layer says ({classes})" in found.contract
    with pytest.raises(InvalidRequestError, match="missing mean"):
        opened(path, architecture=SQUEEZE, input_shape=(3, 64, 64))


def test_networks_of_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet10t", num_classes=6)
    path = tmp_path / "model.safetensors"
    save_file(network.state_dict(), path)
    _, card = opened(path, architecture="timm:resnet10t")
    assert (card.input_shape, len(card.class_names)) == ((3, 176, 176), 6)
    (tmp_path / "config.json").write_text(
        json.dumps({
            "architecture": "resnet10t", "num_classes": 6, "label_names": [*"abcdef"],
            "pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.1] * 3, "std": [0.2] * 3},
        })
    )  # fmt: skip
    found, card = opened(path)
    assert (card.input_shape, card.class_names) == ((3, 64, 64), tuple("abcdef"))
    assert card.architecture == "timm:resnet10t"
    assert "found in config.json" in found.contract
    for name in ("hf-hub:someone/model", "no_such_network"):
        with pytest.raises(InvalidRequestError, match=r"timm\.list_models"):
            opened(path, architecture=f"timm:{name}")
    with pytest.raises(InvalidRequestError, match="got checkpoint_path"):
        opened(path, architecture="timm:resnet10t", arguments={"checkpoint_path": "/etc/passwd"})


def test_a_folder_names_no_code(tmp_path: Path) -> None:
    for said in ({"architecture": "x" * 300}, {"image_size": 1_000_000}):
        path = write(tmp_path, config=said)
        with pytest.raises(InvalidRequestError) as caught:
            opened(path)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text", ["{0: 'a', 1: 'b', 2: \"c\", 3: 'd'}", '["a","b","c","d"]', "a,b,c,d"]
)
def test_graphs_say_what_they_take(text: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Small(4).eval(), (torch.rand(2, 1, 9, 11),), str(path), dynamo=False,
            input_names=["x"], dynamic_axes={"x": {0: "n"}},
        )  # fmt: skip
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "names", text
    onnx.save(model, path)
    found, card = opened(path, mean=(0.0,), std=(1.0,))
    assert (card.input_shape, card.class_names) == ((1, 9, 11), tuple("abcd"))
    assert found.contract == "stated by you; input_shape, class_names as the graph says"


def test_exported_programs_say_what_they_take(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    program = torch.export.export(Small(4).eval(), (torch.rand(2, 1, 9, 11),))
    torch.export.save(program, path)
    _, card = opened(path, mean=(0.0,), std=(1.0,))
    assert (card.input_shape, len(card.class_names)) == ((1, 9, 11), 4)

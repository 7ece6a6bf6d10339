"""Graphs of every layout, type and set of outputs answer as the network that they came from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from molehunt.errors import (
    InvalidRequestError,
    MolehuntError,
    UnreadableFileError,
    UnsuitableSubjectError,
)
from molehunt.networks import AnswerKind, Classifier, ModelCard, Taken, recognise
from molehunt.subjects._onnx import open_onnx
from molehunt.subjects._runtimes import open_exported

MEAN, STD = 0.3, 0.25


def card(*shape: int, classes: int = 5, **changes: object) -> ModelCard:
    names = tuple(str(number) for number in range(classes))
    settings = {
        "architecture": "x",
        "input_shape": shape,
        "mean": (MEAN,) * shape[0],
        "std": (STD,) * shape[0],
        "class_names": names,
        **changes,
    }
    return ModelCard(**settings)


class Net(nn.Module):
    def __init__(self, channels: int, scale: float = 30.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(channels, 6, 3)
        self.head = nn.Linear(6, 5)
        self.scale = scale

    def features(self, x: Tensor) -> Tensor:
        return self.conv(x).relu().mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.head(self.features(x))


class Wrapped(nn.Module):
    """A network behind what an exporter puts before and after it."""

    def __init__(
        self,
        net: nn.Module,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], object] = lambda z: z,
    ) -> None:
        super().__init__()
        self.net = net
        self.before = before
        self.after = after

    def forward(self, x: Tensor) -> object:
        return self.after(self.net(self.before(x)))


def write_onnx(
    network: nn.Module, example: Tensor, path: Path, outputs: Sequence[str] = ("out",), **axes: dict
) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), (example,), str(path), input_names=["x"], output_names=list(outputs),
            dynamic_axes=axes or {"x": {0: "n"}}, dynamo=False,
        )  # fmt: skip
    return path


def normalise(x: Tensor) -> Tensor:
    return (x.float() / 255 - MEAN) / STD


GREY, COLOUR = (1, 9, 9), (3, 9, 7)
# Shape of the images, what stands before the network, an example of what the graph takes.
INPUTS = {
    "NCHW": (COLOUR, lambda x: x, torch.rand(2, 3, 9, 7)),
    "NHWC": (COLOUR, lambda x: x.permute(0, 3, 1, 2), torch.rand(2, 9, 7, 3)),
    "NHWC grey": (GREY, lambda x: x.permute(0, 3, 1, 2), torch.rand(2, 9, 9, 1)),
    "without channels": (GREY, lambda x: x[:, None], torch.rand(2, 9, 9)),
    "flat": (GREY, lambda x: x.view(-1, 1, 9, 9), torch.rand(2, 81)),
    "half": (COLOUR, lambda x: x.float(), torch.rand(2, 3, 9, 7).half()),
    "double": (COLOUR, lambda x: x.float(), torch.rand(2, 3, 9, 7).double()),
    "bytes": (COLOUR, normalise, torch.zeros(2, 3, 9, 7, dtype=torch.uint8)),
    "int64": (GREY, normalise, torch.zeros(2, 1, 9, 9, dtype=torch.int64)),
    "bytes, NHWC": (
        COLOUR,
        lambda x: normalise(x.permute(0, 3, 1, 2)),
        torch.zeros(2, 9, 7, 3, dtype=torch.uint8),
    ),
}


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_images_come_as_the_graph_takes_them(
    form: str, name: str, fixed: bool, tmp_path: Path
) -> None:
    shape, before, example = INPUTS[name]
    net = Net(shape[0])
    wrapped = Wrapped(net, before)
    path = tmp_path / f"graph.{form}"
    if form == "onnx":
        write_onnx(wrapped, example, path, **({"x": {}} if fixed else {"x": {0: "n"}}))
        model: Classifier = open_onnx(path, card(*shape))
    else:
        count = None if fixed else ({0: torch.export.Dim("n", min=1, max=999)},)
        torch.export.save(torch.export.export(wrapped, (example,), dynamic_shapes=count), path)
        model = open_exported(path, card(*shape))
    images = torch.randint(0, 256, (5, *shape)) / 255
    expected = Classifier(net, card(*shape))(images)
    rough = 0.1 if name == "half" else 1e-3
    torch.testing.assert_close(model(images).float(), expected, atol=rough, rtol=rough)


def test_open_sides_are_told_by_the_graphs_own_turn(tmp_path: Path) -> None:
    """All sides open, square images: only the transpose at the start tells the layout."""
    net = Net(3)
    axes = {"x": {0: "n", 1: "a", 2: "b", 3: "c"}}
    images = torch.rand(3, 3, 3, 3)
    expected = Classifier(net, card(3, 3, 3))(images)
    for before in (lambda x: x.permute(0, 3, 1, 2), lambda x: x):
        path = write_onnx(Wrapped(net, before), torch.rand(2, 3, 3, 3), tmp_path / "o.onnx", **axes)
        torch.testing.assert_close(
            open_onnx(path, card(3, 3, 3))(images), expected, atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize(
    "shape", [(3, 7, 9), (1, 9, 7), (3, 9, 8)], ids=["turned", "grey", "narrow"]
)
def test_other_images_are_refused_with_what_the_graph_takes(shape: tuple, tmp_path: Path) -> None:
    path = write_onnx(Net(3), torch.rand(2, 3, 9, 7), tmp_path / "g.onnx")
    with pytest.raises(InvalidRequestError, match=r"x float \[n, 3, 9, 7\], got"):
        open_onnx(path, card(*shape))


ENDS = {
    "Softmax": (lambda z: z.softmax(1), AnswerKind.PROBABILITIES),
    "LogSoftmax": (lambda z: z.log_softmax(1), AnswerKind.LOG_PROBABILITIES),
    "Sigmoid": (torch.sigmoid, AnswerKind.SIGMOIDS),
    "Softmax, then Clip": (lambda z: z.softmax(1).clamp(1e-7, 1), AnswerKind.PROBABILITIES),
    "Softmax in half precision": (lambda z: z.softmax(1).half(), AnswerKind.PROBABILITIES),
    "Softmax over 4 dimensions": (
        lambda z: z[:, :, None, None].softmax(1).flatten(1),
        AnswerKind.PROBABILITIES,
    ),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("form", ["onnx", "pt2", "one by one"])
def test_what_goes_into_the_softmax_of_a_graph_is_taken(
    form: str, name: str, tmp_path: Path
) -> None:
    after, kind = ENDS[name]
    net = Net(3, scale=3000.0)
    wrapped = Wrapped(net, after=after)
    path = tmp_path / "graph"
    if form == "onnx":
        model: Classifier = open_onnx(
            write_onnx(wrapped, torch.rand(2, 3, 9, 7), path), card(*COLOUR)
        )
    else:
        count = None if form == "one by one" else ({0: torch.export.Dim("n", min=1, max=999)},)
        example = torch.rand(1 if count is None else 2, 3, 9, 7)
        path = path.with_suffix(".pt2")
        torch.export.save(torch.export.export(wrapped, (example,), dynamic_shapes=count), path)
        model = open_exported(path, card(*COLOUR))
    recognise(model)
    assert model.answers.taken is Taken.BEFORE and not model.answers.doubt
    assert model.answers.kind in (kind, AnswerKind.LABELS)
    images = torch.rand(5, *COLOUR)
    expected = Classifier(net, card(*COLOUR))(images)
    torch.testing.assert_close(model(images), expected, atol=0.1, rtol=1e-3)


def test_softmax_by_hand_gives_its_logarithm(tmp_path: Path) -> None:
    net = Net(3)
    wrapped = Wrapped(net, after=lambda z: z.exp() / z.exp().sum(1, keepdim=True))
    model = recognise(
        open_onnx(write_onnx(wrapped, torch.rand(2, 3, 9, 7), tmp_path / "g.onnx"), card(*COLOUR))
    )
    assert model.answers.taken is Taken.LOGARITHM
    images = torch.rand(5, *COLOUR)
    expected = Classifier(net, card(*COLOUR))(images).log_softmax(1)
    torch.testing.assert_close(model(images), expected, atol=1e-3, rtol=1e-3)


OUTPUTS = {
    "another head first": (lambda z: (-z, z), ("aux", "logits"), None),
    "a layer's name": (lambda z: (-z, z), ("aux", "model/dense/logits:0"), None),
    "features first": (lambda z: (z[:, :3], z), ("features", "anything"), None),
    "chosen by name": (lambda z: (-z, z), ("a", "b"), "b"),
    "chosen by place": (lambda z: (-z, z), ("a", "b"), "1"),
    "labels as well": (lambda z: (z.argmax(1), z), ("label", "scores"), None),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_output_with_the_answers_is_taken(name: str, tmp_path: Path) -> None:
    after, names, chosen = OUTPUTS[name]
    net = Net(3)
    path = write_onnx(Wrapped(net, after=after), torch.rand(2, 3, 9, 7), tmp_path / "g.onnx", names)
    images = torch.rand(5, *COLOUR)
    expected = Classifier(net, card(*COLOUR))(images)
    model = open_onnx(path, card(*COLOUR), chosen)
    torch.testing.assert_close(model(images), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_outputs_that_are_not_clear_are_listed(form: str, tmp_path: Path) -> None:
    wrapped = Wrapped(Net(3), after=lambda z: (-z, z))
    example = torch.rand(2, 3, 9, 7)
    path = tmp_path / f"g.{form}"
    with pytest.raises(UnsuitableSubjectError, match="choose one by its name: `output`"):
        if form == "onnx":
            open_onnx(write_onnx(wrapped, example, path, ("one", "two")), card(*COLOUR))
        else:
            torch.export.save(torch.export.export(wrapped, (example,)), path)
            recognise(open_exported(path, card(*COLOUR)))


def test_outputs_of_an_exported_graph_are_chosen(tmp_path: Path) -> None:
    net = Net(3)
    wrapped = Wrapped(net, after=lambda z: {"aux": -z, "main": z.softmax(1)})
    path = tmp_path / "g.pt2"
    torch.export.save(torch.export.export(wrapped, (torch.rand(2, 3, 9, 7),)), path)
    model = recognise(open_exported(path, card(*COLOUR), "main"))
    images = torch.rand(5, *COLOUR)
    torch.testing.assert_close(
        model(images), Classifier(net, card(*COLOUR))(images), atol=1e-3, rtol=1e-3
    )


def small_graph(tmp_path: Path, kind: int, nodes: list, outputs: list, *more: object) -> Path:
    images = helper.make_tensor_value_info("x", kind, ["n", 5])
    graph = helper.make_graph(nodes, "g", [images, *more], outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "s.onnx")
    return tmp_path / "s.onnx"


def test_what_no_image_model_takes_or_gives_is_refused_in_a_line(tmp_path: Path) -> None:
    flat = card(1, 1, 5)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])
    two = helper.make_tensor_value_info("size", TensorProto.FLOAT, ["n", 5])
    path = small_graph(
        tmp_path, TensorProto.FLOAT, [helper.make_node("Add", ["x", "size"], ["y"])], [out], two
    )
    with pytest.raises(UnreadableFileError, match=r"one, for images, got x float .*size float"):
        open_onnx(path, flat)
    text = helper.make_tensor_value_info("y", TensorProto.STRING, ["n", 5])
    path = small_graph(
        tmp_path, TensorProto.STRING, [helper.make_node("Identity", ["x"], ["y"])], [text]
    )
    with pytest.raises(UnreadableFileError, match=r"one tensor of float, .* got x string"):
        open_onnx(path, flat)
    maps = helper.make_value_info(
        "y",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(
                TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
            )
        ),
    )
    node = helper.make_node(
        "ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[*range(5)]
    )
    path = small_graph(tmp_path, TensorProto.FLOAT, [node], [maps])
    with pytest.raises(UnsuitableSubjectError, match=r"a tensor, got y seq.*zipmap=False"):
        open_onnx(path, flat)


def test_numbers_that_no_row_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "garbage.onnx"
    path.write_bytes(b"\x08\x09\x3a\xff\xff")
    with pytest.raises(MolehuntError):
        open_onnx(path, card(*COLOUR))

"""Operators of exported programs: listed, or never clean; and where one checks nothing, we do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from molehunt.errors import UnreadableFileError
from molehunt.provenance import (
    SerializationState,
    check_operators,
    inspect_serialization,
    rewrite_torch_archive,
)
from molehunt.provenance._operators import OPERATORS, find_operator_fault
from tests.provenance import hostile

aten = torch.ops.aten
FAR = torch.tensor([10**9])
LINE = torch.ones(100)
WIDE = torch.ones(2, 100_000, 4)


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten._sparse_coo_tensor_unsafe.default",
        "torch.ops.aten.segment_reduce.default",
        "torch.ops.aten._segment_reduce_backward.default",
        "torch.ops.aten.set_.source_Storage",
        "torch.ops.aten.resize_.default",
        "torch.ops.aten.as_strided_.default",
        "torch.ops.aten._weight_norm.default",
        "torch.ops.aten._reshape_alias.default",
        "torch.ops.aten._embedding_bag.default",
        "torch.ops.aten.add.out",
        "torch.ops.aten.lstm.input",
        "torch.ops.torchvision.roi_align.default",
        "torch.ops.mkldnn._linear_pointwise.default",
        "torch.ops.prims.as_strided.default",
        "torch.ops.higher_order.while_loop",
        "torch.ops.quantized_decomposed.quantize_per_tensor.default",
    ],
)
def test_an_operator_that_is_not_listed_is_unknown_and_named(target: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    path.write_bytes(hostile.operator(target))
    found = inspect_serialization(path)
    assert found.state is SerializationState.UNKNOWN
    assert target in found.detail
    with pytest.raises(UnreadableFileError, match="not on the list"):
        rewrite_torch_archive(path, tmp_path / "b.pt2")


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.aten._print.default",
        "torch.ops.image.read_file.default",
        "torch.ops.higher_order.call_torchbind",
        "torch.ops.higher_order.triton_kernel_wrapper_mutation",
        "torch.ops.load_library",
        "torch.serialization.load",
        "_operator.attrgetter",
        "math.factorial",
        "torch.sym_fresh_size",
        "torch.ops.aten.add.Tensor.__call__",
    ],
)
def test_what_opens_files_or_runs_code_is_unsafe(target: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    path.write_bytes(hostile.operator(target))
    assert inspect_serialization(path).state is SerializationState.UNSAFE


class Segments(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        lengths = torch.tensor([10**9])
        return images + torch.segment_reduce(torch.ones(9), "sum", lengths=lengths, unsafe=True)


def test_a_real_export_with_an_unchecked_operator_is_not_clean(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Segments(), (torch.ones(1),)), tmp_path / "a.pt2")
    found = inspect_serialization(tmp_path / "a.pt2")
    assert found.state is SerializationState.UNKNOWN and "segment_reduce" in found.detail


def test_every_listed_operator_exists() -> None:
    assert [name for name in sorted(OPERATORS) if not hasattr(aten, name)] == []
    assert not any("unsafe" in name and name[0] != "_" for name in OPERATORS)


# What a file could ask of listed operators that work without a check of torch's Python side.
OUTSIDE: dict[str, Callable[[], object]] = {
    "_unsafe_view": lambda: aten._unsafe_view(LINE, [10**9]),
    "_unsafe_index": lambda: aten._unsafe_index(LINE, [FAR]),
    "_softmax": lambda: aten._softmax(LINE, 99, False),
    "_log_softmax": lambda: aten._log_softmax(LINE, 99, False),
    "_adaptive_avg_pool2d": lambda: aten._adaptive_avg_pool2d(torch.ones(1, 4, 4), [-5, -5]),
    "as_strided": lambda: aten.as_strided(LINE, [10], [1], 10**9),
    "as_strided backwards": lambda: aten.as_strided(LINE, [10], [-1], 5),
    "index": lambda: aten.index(LINE, [FAR]),
    "index_put": lambda: aten.index_put(LINE, [FAR], torch.ones(1)),
    "index_put_": lambda: aten.index_put_(LINE.clone(), [FAR], torch.ones(1)),
    "index_select": lambda: aten.index_select(LINE, 0, FAR),
    "index_add": lambda: aten.index_add(LINE, 0, FAR, torch.ones(1)),
    "gather": lambda: aten.gather(LINE, 0, FAR),
    "scatter": lambda: aten.scatter(LINE, 0, FAR, torch.ones(1)),
    "scatter_": lambda: aten.scatter_(LINE.clone(), 0, FAR, torch.ones(1)),
    "scatter_add": lambda: aten.scatter_add(LINE, 0, FAR, torch.ones(1)),
    "embedding": lambda: aten.embedding(torch.ones(4, 4), FAR),
    "one_hot": lambda: aten.one_hot(torch.tensor([5]), 3),
    "slice_scatter": lambda: aten.slice_scatter(LINE, torch.ones(1000), 0, 0, 50),
    "select_scatter": lambda: aten.select_scatter(LINE, torch.tensor(1.0), 0, 10**9),
    "batch_norm": lambda: aten.batch_norm(
        WIDE, None, None, torch.ones(1), torch.ones(1), False, 0.1, 1e-5, False
    ),
    "instance_norm": lambda: aten.instance_norm(
        WIDE, None, None, torch.ones(1), torch.ones(1), False, 0.1, 1e-5, False
    ),
    "native_group_norm": lambda: aten.native_group_norm(
        WIDE, torch.ones(1), torch.ones(1), 2, 100_000, 4, 2, 1e-5
    ),
    "native_group_norm sizes": lambda: aten.native_group_norm(
        WIDE, None, None, 2, 100_000, 40_000, 2, 1e-5
    ),
    "native_layer_norm": lambda: aten.native_layer_norm(
        WIDE, [100_000, 4], torch.ones(1), torch.ones(1), 1e-5
    ),
    "rms_norm": lambda: aten.rms_norm(WIDE, [100_000, 4], torch.ones(1)),
    "prelu": lambda: aten.prelu(WIDE, torch.ones(3)),
    "grid_sampler_2d": lambda: aten.grid_sampler_2d(
        torch.ones(1, 1, 4, 4), torch.ones(5000, 4, 4, 2), 0, 0, False
    ),
    "convolution": lambda: aten.convolution(
        torch.ones(1, 8, 4, 4),
        torch.ones(800, 8, 3, 3),
        torch.ones(1),
        *([1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    ),
    "max_pool2d_with_indices": lambda: aten.max_pool2d_with_indices(
        torch.ones(1, 4, 4), [2, 2], [1, 1], [1, 1], [-100, -100]
    ),
    "col2im": lambda: aten.col2im(
        torch.ones(1, 4, 4), [1000, 1000], [2, 2], [1, 1], [0, 0], [1, 1]
    ),
    "split_with_sizes": lambda: aten.split_with_sizes(LINE, [50, 10**6]),
    "copy_": lambda: aten.copy_(torch.ones(2), torch.ones(999)),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_listed_operators_refuse_to_leave_their_tensors(name: str) -> None:
    assert find_operator_fault(f"torch.ops.aten.{name.split(maxsplit=1)[0]}.default") is None
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        OUTSIDE[name]()


class Norm(nn.Module):
    """A batch norm whose statistics may be too short; torch's own operator reads past them."""

    def __init__(self, count: int, key: int) -> None:
        super().__init__()
        for number, name in enumerate(("weight", "bias", "mean", "variance")):
            self.register_buffer(name, torch.ones(count if number == key else 8))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        given = (images, self.weight, self.bias, self.mean, self.variance, 0.1, 1e-5)
        return aten._native_batch_norm_legit_no_training(*given)[0]


class Attention(nn.Module):
    def __init__(self, change: str) -> None:
        super().__init__()
        self.change = change

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        words = images.flatten(2).transpose(1, 2).unsqueeze(1)
        key = words[..., :4, :] if self.change == "keys" else words
        value = words[..., :4, :] if self.change == "values" else words
        return nn.functional.scaled_dot_product_attention(words, key, value)


class Larger(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return aten.upsample_bilinear2d(images, [8, 8], False, self.scale, self.scale)


HONEST = {
    "norm": lambda: Norm(8, 0),
    "attention": lambda: Attention(""),
    "larger": lambda: Larger(2.0),
}
HOSTILE = {
    **{f"norm {key}": lambda key=key: Norm(1, key) for key in range(4)},
    "scale of nothing": lambda: Larger(1e-300),
    "scale too large": lambda: Larger(1e30),
    "scale below": lambda: Larger(-1e9),
}


def loaded(net: nn.Module, path: Path) -> nn.Module:
    torch.export.save(torch.export.export(net.eval(), (torch.rand(2, 8, 4, 4),)), path)
    assert inspect_serialization(path).state is SerializationState.CLEAN
    module = torch.export.load(path).module()
    check_operators(module)
    return module


@pytest.mark.parametrize("name", HONEST)
def test_checks_change_no_answer(name: str, tmp_path: Path) -> None:
    net, images = HONEST[name](), torch.rand(2, 8, 4, 4)
    assert torch.equal(loaded(net, tmp_path / "a.pt2")(images), net(images))


@pytest.mark.parametrize("name", HOSTILE)
def test_what_torch_does_not_check_is_checked_at_each_call(name: str, tmp_path: Path) -> None:
    module = loaded(HOSTILE[name](), tmp_path / "a.pt2")
    with pytest.raises(UnreadableFileError, match="expected"):
        module(torch.rand(2, 8, 4, 4))


@pytest.mark.parametrize("change", ["keys", "values"])
def test_attention_of_shapes_that_do_not_fit_is_refused(change: str, tmp_path: Path) -> None:
    try:
        module = loaded(Attention(change), tmp_path / "a.pt2")
    except RuntimeError:
        pytest.skip("this torch refuses to export it")
    with pytest.raises(UnreadableFileError, match="attention"):
        module(torch.rand(2, 8, 4, 4))


def test_layers_that_networks_use_are_listed(tmp_path: Path) -> None:
    """Before and after torch's own decompositions."""
    conv = nn.Sequential(
        *(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Hardswish(inplace=True)),
        *(nn.GroupNorm(2, 8), nn.SiLU(), nn.Upsample(scale_factor=2, mode="bilinear")),
        *(nn.AdaptiveAvgPool2d(3), nn.Hardsigmoid(), nn.Dropout(0.1), nn.PReLU(), nn.Flatten()),
        *(nn.Linear(72, 16), nn.LayerNorm(16), nn.GELU(), nn.Softmax(1)),
    )
    words = nn.Sequential(
        *(nn.Conv2d(8, 8, 2, 2), nn.Flatten(2), nn.TransformerEncoderLayer(4, 2, 8)),
    )
    for number, net in enumerate((conv, words)):
        program = torch.export.export(net.eval(), (torch.rand(2, 8, 4, 4),))
        for step, each in enumerate((program, program.run_decompositions({}))):
            path = tmp_path / f"{number}{step}.pt2"
            torch.export.save(each, path)
            assert inspect_serialization(path).state is SerializationState.CLEAN, path.name


@pytest.mark.parametrize("name", ["to.dtype_layout", "__and__.Tensor", "add.Tensor"])
def test_overloads_that_exports_call_are_listed(name: str) -> None:
    assert find_operator_fault(f"torch.ops.aten.{name}") is None


@pytest.mark.parametrize("name", ["add.out", "sum.IntList_out", "clamp.Tensor_out"])
def test_overloads_that_write_into_what_they_are_given_are_not(name: str) -> None:
    assert find_operator_fault(f"torch.ops.aten.{name}") is not None

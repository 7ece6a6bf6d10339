"""What libraries say of a refused file is passed on; their advice to run it is not."""

from __future__ import annotations

import io
import pickle
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from molehunt.errors import reason_of

ADVICE = (
    *("weights_only", "allow_pickle", "pickle.load", "trust the", "arbitrary code", "unsafely"),
    *("file an issue", "PyTorch 2.6", "ONNXRuntimeError", "\x1b", "\n"),
)


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran",)


def load_torch(content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.load(io.BytesIO(content), weights_only=True)


def saved(value: object, **options: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def a_module() -> None:
    load_torch(saved(torch.nn.Linear(1, 1)))


def a_legacy_module() -> None:
    load_torch(saved(torch.nn.Linear(1, 1), _use_new_zipfile_serialization=False))


def a_call() -> None:
    load_torch(pickle.dumps(Payload()))


def an_odd_opcode() -> None:
    load_torch(b"\x80\x02}(K\x01\x8f.")


def a_protocol() -> None:
    load_torch(pickle.dumps({"a": 1}, protocol=4))


def a_tar() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    load_torch(stream.getvalue())


def torchscript() -> None:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.ones(1)), stream)
    load_torch(stream.getvalue())


def pickled_array() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([Payload()], dtype=object), allow_pickle=True)
    stream.seek(0)
    np.load(stream)


def no_array() -> None:
    np.load(io.BytesIO(pickle.dumps([Payload()])))


def a_graph() -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    value = onnx.helper.make_tensor_value_info("x", 1, [1])
    node = onnx.helper.make_node("NoSuchOperator", ["x"], ["x"])
    graph = onnx.helper.make_graph([node], "g", [value], [value])
    content = onnx.helper.make_model(graph, ir_version=8).SerializeToString()
    runtime.InferenceSession(content, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    "load",
    [
        *(a_module, a_legacy_module, a_call, an_odd_opcode, a_protocol, a_tar, torchscript),
        *(pickled_array, no_array, a_graph),
    ],
)
def test_no_advice_is_passed_on(
    load: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception) as refusal:
        load()
    said = reason_of(refusal.value)
    assert len(said) > 5
    assert not [word for word in ADVICE if word in said], said
    assert "ran" not in capsys.readouterr().out


def test_a_plain_reason_stays_and_is_cut() -> None:
    assert reason_of(ValueError("unexpected end\nof data")) == "unexpected end of data"
    assert reason_of(ValueError("\x1b[2Jx")) == "\\x1b[2Jx"
    assert len(reason_of(ValueError("long " * 1000), 50)) == 51


def test_a_reason_names_no_file_that_was_not_asked_for(tmp_path: Path) -> None:
    assert reason_of(FileNotFoundError(2, "No such file", "a.pt")).endswith("'a.pt'")

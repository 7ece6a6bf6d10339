"""Subjects from ONNX files, in onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from molehunt.errors import (
    UnreadableFileError,
    UnsuitableSubjectError,
    mismatch,
    need_extra,
    printable,
    reason_of,
)
from molehunt.networks import BlackBox, ModelCard, choose_output
from molehunt.subjects._feeding import Feeding, feeding_of
from molehunt.subjects._runtimes import Answer, as_logits, in_batches

_SQUASHES = {"Softmax", "LogSoftmax", "Sigmoid", "Tanh"}
# What stands between a softmax and the output without changing the order of its numbers.
_PASSES = {
    *("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Clip", "Dropout"),
    *("Log", "Exp"),
}
_DEEPEST = 3
_LONGEST_CHAIN = 32


def open_onnx(path: Path, card: ModelCard, output: str | None = None) -> BlackBox:
    """Open an ONNX file in onnxruntime; the file was inspected before.

    Images are given in the layout and type that the graph takes. Where an output is a softmax
    or sigmoid, what goes into it can be had as well: see `molehunt.networks.recognise`.

    Parameters
    ----------
    path : Path
    card : ModelCard
    output : str, optional
        Which of several outputs holds the answers; see `molehunt.networks.choose_output`.

    Raises
    ------
    InvalidRequestError
        If the extra ``onnx`` is not installed, or the graph takes other images than the
        contract says.
    UnreadableFileError
        If onnxruntime cannot load it, or it takes something else than images.
    UnsuitableSubjectError
        If no output fits the contract, or it is not clear which one is meant.
    """
    runtime = need_extra("onnx", "onnxruntime", "an ONNX file")
    onnx = need_extra("onnx", "onnx", "an ONNX file")
    try:
        graph = onnx.load_model(str(path), load_external_data=False)
    except Exception as error:  # protobuf raises what it likes
        message = reason_of(error)
        raise UnreadableFileError(f"{path}: not a readable ONNX file: {message}") from error
    session = _session(runtime, path)
    inputs = [(item.name, _plain(item.type), item.shape or []) for item in session.get_inputs()]
    feeding = feeding_of(path, inputs, card, turned=_turns(graph, inputs))
    name = _answers_of(session, inputs[0][0], feeding, card, output)
    befores = _before(graph, name)
    if befores:
        graph.graph.output.extend(onnx.ValueInfoProto(name=before) for before in befores)
        try:
            session = _session(runtime, path, graph.SerializeToString())
        except (UnreadableFileError, ValueError):
            befores = []  # weights in files beside it, or too large to be written anew

    def ask(wanted: str) -> Answer:
        def run(images: NDArray[np.float32]) -> NDArray[Any]:
            (answers,) = _run(session, [wanted], inputs[0][0], feeding, images)
            return answers.reshape(len(answers), -1) if answers.ndim > 2 else answers

        return in_batches(run, feeding.batch)

    model = BlackBox(
        as_logits(ask(name), card.num_classes),
        card,
        [_of_size(ask(before), card.num_classes) for before in befores],
    )
    if feeding.takes_bytes:
        model.mean.zero_()
        model.std.fill_(1)
    return model


def _session(runtime: Any, path: Path, content: bytes | None = None) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised; its own lines would be noise
    if content is not None:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, str(path.parent))
    try:
        return runtime.InferenceSession(
            str(path) if content is None else content,
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:  # the runtime has exceptions of its own for everything
        message = reason_of(error)
        raise UnreadableFileError(f"{path}: onnxruntime cannot load it: {message}") from error


def _run(
    session: Any, names: list[str], given: str, feeding: Feeding, images: NDArray[np.float32]
) -> list[NDArray[Any]]:
    inputs = feeding.inputs(torch.from_numpy(images)).contiguous().numpy()
    return [np.asarray(answer) for answer in session.run(names, {given: inputs})]


def _answers_of(
    session: Any, given: str, feeding: Feeding, card: ModelCard, output: str | None
) -> str:
    """Return the name of the output that holds the answers."""
    shapes: dict[str, Any] = {}
    others = []
    for item in session.get_outputs():
        if item.type.startswith("tensor("):
            shapes[item.name] = item.shape or []
        else:
            others.append(f"{item.name} {item.type}")
    if not shapes:
        raise UnsuitableSubjectError(
            mismatch("outputs of the model", "a tensor", printable(", ".join(others)))
            + "; scikit-learn's converter gives one with zipmap=False"
        )
    if any(len(shape) < 2 or not isinstance(shape[1], int) for shape in shapes.values()):
        # What a graph does not say of its outputs, one answer does.
        one = np.zeros((feeding.batch or 1, *card.input_shape), dtype=np.float32)
        names = list(shapes)
        answers = _run(session, names, given, feeding, one)
        shapes = {
            name: ["N", *answer.shape[1:]] if answer.ndim else []
            for name, answer in zip(names, answers, strict=True)
        }
    return choose_output(shapes, card.num_classes, output, got=", ".join(others))


def _of_size(answer: Answer, classes: int) -> Answer:
    """Return `answer`, refused where it is not one number a class and image."""

    def checked(images: NDArray[np.float32]) -> NDArray[Any]:
        answers = answer(images)
        if answers.shape != (len(images), classes):
            raise UnsuitableSubjectError("what goes into the softmax is not one number a class")
        return answers

    return checked


def _before(model: Any, output: str) -> list[str]:
    """Return the names of what goes into the squashing functions that give `output`."""
    makers = {name: node for node in model.graph.node for name in node.output if name}
    befores: list[str] = []
    name = output
    for _ in range(_LONGEST_CHAIN):
        node = makers.get(name)
        if node is None or node.domain not in ("", "ai.onnx") or not node.input:
            break
        if node.op_type in _SQUASHES:
            befores.append(node.input[0])
        elif node.op_type not in _PASSES:
            break
        name = node.input[0]
        if len(befores) == _DEEPEST:
            break
    made = {item.name for item in model.graph.output}
    return befores if not made & {*befores} and all(before in makers for before in befores) else []


def _turns(model: Any, inputs: list[tuple[str, str, Any]]) -> bool:
    """Tell whether the graph turns its input from [N, H, W, C], as TensorFlow's exports do."""
    names = {name for name, _, _ in inputs}
    transposes = (node for node in model.graph.node if node.op_type == "Transpose")
    return any(
        node.input[0] in names and any(list(item.ints) == [0, 3, 1, 2] for item in node.attribute)
        for node in transposes
        if node.input
    )


def _plain(kind: str) -> str:
    """Return ``float16`` for ``tensor(float16)``."""
    return kind.removeprefix("tensor(").removesuffix(")") if kind.startswith("tensor(") else kind

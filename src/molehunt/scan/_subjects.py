"""The model under scan, from a file of any format that can be opened safely."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from molehunt.errors import (
    CodeNotTrustedError,
    UnreadableFileError,
    UnsafeFileError,
    refused,
)
from molehunt.networks import CARD_KEY, Classifier, load_model, read_header
from molehunt.provenance import FileFormat, Serialization, SerializationState
from molehunt.scan._contract import StatedContract
from molehunt.scan._runtimes import open_exported, open_onnx
from molehunt.scan._sandbox import open_trusted
from molehunt.scan._weights import open_weights

_PICKLED = {FileFormat.TORCH_ZIP, FileFormat.TORCH_LEGACY}
READABLE = "safetensors, a torch state_dict, torch.export, ONNX or TorchScript"


@dataclass(frozen=True)
class Opening:
    """How files from strangers are opened.

    Parameters
    ----------
    contract : StatedContract
        What the user says of the model; it goes before the card in a file.
    trust_code : bool
        Run TorchScript and pickled modules, in a child process with limits.
    """

    contract: StatedContract = field(default_factory=StatedContract)
    trust_code: bool = False


def open_subject(path: Path, serialization: Serialization, opening: Opening) -> Classifier:
    """Open a file that was inspected; only with `trust_code` is anything in it executed.

    Raises
    ------
    UnsafeFileError
        If loading it would run code that is no model's; it was not loaded.
    CodeNotTrustedError
        If it is code by nature (TorchScript); it was not loaded.
    UnreadableFileError
        If it is of no format that can be opened, damaged, or not the weights of the
        architecture.
    InvalidRequestError
        If the input contract is incomplete or does not fit the file.
    """
    form, state = serialization.format, serialization.state
    contract = opening.contract
    if form is FileFormat.TORCHSCRIPT:
        if not opening.trust_code:
            raise CodeNotTrustedError(
                f"{path}: TorchScript is code, which was not run; --trust-code runs it in a "
                "process of its own, with limits"
            )
        return open_trusted(path, contract.card(architecture=form.value), "torchscript")
    if state is SerializationState.UNSAFE:
        if form in _PICKLED and opening.trust_code:
            return open_trusted(path, contract.card(architecture="pickled module"), "pickle")
        raise UnsafeFileError(
            f"{path}: unsafe serialization ({form.value}): {serialization.detail}; "
            "it was not loaded"
        )
    if state is not SerializationState.CLEAN:
        got = f"{form.value}, {serialization.detail}"
        raise UnreadableFileError(refused(f"{path}: model file", READABLE, got))
    if form is FileFormat.SAFETENSORS:
        return _open_safetensors(path, contract)
    if form in _PICKLED:
        return open_weights(path, contract.card(), safetensors=False)
    if form is FileFormat.TORCH_EXPORT:
        return open_exported(path, contract.card(architecture=form.value))
    if form is FileFormat.ONNX:
        return open_onnx(path, contract.card(architecture=form.value))
    raise UnreadableFileError(refused(f"{path}: model file", READABLE, form.value))


def _open_safetensors(path: Path, contract: StatedContract) -> Classifier:
    """Open weights with a card of ours by the card, others by the contract."""
    if CARD_KEY not in read_header(path):
        return open_weights(path, contract.card(), safetensors=True)
    model = load_model(path)
    if contract == StatedContract():
        return model
    return Classifier(model.network, contract.card(model.card)).frozen()

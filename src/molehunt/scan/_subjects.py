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
    weights : str, optional
        Which set of weights of a checkpoint to judge; all of them where it is not given.
    output : str, optional
        Which of several outputs of a graph holds the logits.
    """

    contract: StatedContract = field(default_factory=StatedContract)
    trust_code: bool = False
    weights: str | None = None
    output: str | None = None


@dataclass(frozen=True)
class Opened:
    """What came out of one file.

    Parameters
    ----------
    models : dict
        A model for each set of weights in the file, by the set's name; the name is empty
        where there is only one.
    contract : str
        Who states the input contract, in one sentence.
    remarks : tuple of str
        What the reader should know of the opening, a sentence each.
    """

    models: dict[str, Classifier]
    contract: str
    remarks: tuple[str, ...] = ()


def open_subject(
    path: Path, serialization: Serialization, opening: Opening, *, neighbours: Path | None = None
) -> Opened:
    """Open a file that was inspected; only with `trust_code` is anything in it executed.

    Parameters
    ----------
    path : Path
        Of the bytes that were inspected.
    serialization : Serialization
    opening : Opening
    neighbours : Path, optional
        The folder that the file comes from, where small text files may say more of it.

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
    model = _open_one(path, serialization, opening)
    stated = opening.contract != StatedContract()
    return Opened({"": model}, "stated by you" if stated else "by the file's own card")


def _open_one(path: Path, serialization: Serialization, opening: Opening) -> Classifier:
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

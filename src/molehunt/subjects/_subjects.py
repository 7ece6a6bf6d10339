"""The model under scan, from a file of any format that can be opened safely."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from molehunt.errors import (
    CodeNotTrustedError,
    InvalidRequestError,
    UnreadableFileError,
    UnsafeFileError,
    mismatch,
    printable,
)
from molehunt.networks import CARD_KEY, Classifier, ModelCard, read_header
from molehunt.provenance import FileFormat, Serialization, SerializationState
from molehunt.subjects._architecture import ALLOWED
from molehunt.subjects._checkpoints import Node
from molehunt.subjects._claims import read_claimed_card
from molehunt.subjects._contract import StatedContract
from molehunt.subjects._found_contract import (
    claims_beside,
    claims_of_head,
    claims_of_library,
    complete,
    name_of_transformer,
)
from molehunt.subjects._graph_contract import claims_of_graph
from molehunt.subjects._onnx import open_onnx
from molehunt.subjects._runtimes import open_exported
from molehunt.subjects._sandbox import open_trusted
from molehunt.subjects._shards import is_index, looks_like_part, read_shards
from molehunt.subjects._single_output import check_outputs
from molehunt.subjects._weights import open_weights, read_tensors

_PICKLED = {FileFormat.TORCH_ZIP, FileFormat.TORCH_LEGACY}
_GRAPHS = {FileFormat.TORCH_EXPORT: open_exported, FileFormat.ONNX: open_onnx}
_OPENED = {FileFormat.SAFETENSORS, *_PICKLED, *_GRAPHS}
_BY_USER = "stated by you"
_WAYS_ON = (
    "loading it runs what is installed under these names, so it was not loaded. Ask for "
    "the weights alone (torch.save(model.state_dict(), ...), or safetensors); weights_only=False "
    "would run it unseen. `trust_code` runs it in a process of its own, with limits"
)
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
    unjudged : tuple of str
        What in the file may be another set of weights and is not judged, a sentence each.
    """

    models: dict[str, Classifier]
    contract: str
    remarks: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()


def open_subject(
    path: Path, serialization: Serialization, opening: Opening, *, neighbours: Path | None = None
) -> Opened:
    """Open a file that was inspected; only with `trust_code` is anything in it executed.

    Parameters
    ----------
    path : Path
        Of the bytes that were inspected; of an index the shards lie beside it.
    serialization : Serialization
    opening : Opening
    neighbours : Path, optional
        The folder that the file comes from, where small text files may say more of it.

    Raises
    ------
    UnsafeFileError
        If loading it would run code that is no model's; it was not loaded.
    CodeNotTrustedError
        If it is code by nature (TorchScript), or would run code of packages that are not
        known here; it was not loaded.
    UnreadableFileError
        If it is of no format that can be opened, damaged, or not the weights of the
        architecture.
    InvalidRequestError
        If the input contract is incomplete or does not fit the file.
    """
    form, state = serialization.format, serialization.state
    if form is FileFormat.TORCHSCRIPT and not opening.trust_code:
        raise CodeNotTrustedError(
            f"{path}: TorchScript is code, which was not run; `trust_code` runs it in a "
            "process of its own, with limits"
        )
    is_unsafe = state is SerializationState.UNSAFE
    is_code = is_unsafe or state is SerializationState.UNFAMILIAR
    if opening.trust_code and (form is FileFormat.TORCHSCRIPT or (is_code and form in _PICKLED)):
        return _open_code(path, form, opening)
    if state is SerializationState.UNFAMILIAR:
        raise CodeNotTrustedError(f"{path}: {serialization.detail}; {_WAYS_ON}")
    if is_unsafe:
        raise UnsafeFileError(
            f"{path}: unsafe serialization ({form.value}): {serialization.detail}; "
            "it was not loaded"
        )
    if state is not SerializationState.CLEAN or form not in _OPENED:
        got = f"{form.value}, {serialization.detail}"
        raise UnreadableFileError(mismatch(f"{path}: model file", READABLE, got))
    if form in _GRAPHS:
        return _open_graph(path, form, opening, neighbours)
    read = partial(read_tensors, safetensors=form is FileFormat.SAFETENSORS)
    if is_index(path):
        tensors, remarks = read_shards(path, read)
        opened = _open_bare(path, tensors, opening, neighbours)
        return replace(opened, remarks=remarks + opened.remarks)
    if form is FileFormat.SAFETENSORS and CARD_KEY in read_header(path):
        return _open_with_card(path, opening)
    try:
        return _open_bare(path, read(path), opening, neighbours)
    except UnreadableFileError as error:
        if looks_like_part(path):
            hint = "by its name it is one of several shards: scan their index (*.index.json)"
            raise UnreadableFileError(f"{error}; {hint}") from error
        raise


def _open_code(path: Path, form: FileFormat, opening: Opening) -> Opened:
    """Run a file's code in a process of its own."""
    kind, name = "pickle", "pickled module"
    if form is FileFormat.TORCHSCRIPT:
        kind = name = form.value
    check_outputs(opening.contract, opening.contract, is_graph=True)
    card = opening.contract.card(architecture=name)
    model = open_trusted(path, card, kind, opening.output)
    return Opened({"": model}, _BY_USER)


def _open_with_card(path: Path, opening: Opening) -> Opened:
    """Open weights with a card of ours: it names the network, whatever the user states."""
    own = read_claimed_card(path)
    card = opening.contract.card(own)
    tensors = read_tensors(path, safetensors=True)
    models, remarks, unjudged = open_weights(path, tensors, own, weights=opening.weights)
    said = "by the file's own card"
    if card != own:
        fields = own.model_dump()
        changed = [name for name, value in card.model_dump().items() if value != fields[name]]
        said = f"{', '.join(changed)} stated by you, the rest {said}"
        models = {name: _under(card, model) for name, model in models.items()}
    return Opened(models, said, remarks, unjudged)


def _under(card: ModelCard, model: Classifier) -> Classifier:
    """Return a model's network under another contract."""
    changed = Classifier(model.network, card)
    changed.stackable = model.stackable
    return changed.freeze()


def _open_bare(path: Path, tensors: Node, opening: Opening, neighbours: Path | None) -> Opened:
    """Open weights of which a contract says what they are."""
    contract, said = complete(
        opening.contract,
        [
            lambda _: claims_beside(neighbours),
            claims_of_library,
            partial(claims_of_head, tensors=tensors),
        ],
    )
    transformer = name_of_transformer(neighbours)
    if contract.architecture is None and transformer is not None:
        got = f"{printable(transformer, 80)} of transformers, in config.json"
        raise InvalidRequestError(mismatch("architecture", f"{ALLOWED} (`architecture`)", got))
    check_outputs(contract, opening.contract, is_graph=False)
    models, remarks, unjudged = open_weights(
        path, tensors, contract.card(), classes=contract.classes, weights=opening.weights
    )
    return Opened(models, said, remarks, unjudged)


def _open_graph(path: Path, form: FileFormat, opening: Opening, neighbours: Path | None) -> Opened:
    """Open a file that brings its own graph."""
    contract, said = complete(
        opening.contract,
        [lambda _: claims_of_graph(path, form), lambda _: claims_beside(neighbours)],
        needs_network=False,
    )
    check_outputs(contract, opening.contract, is_graph=True)
    # It brings its own network, whatever the files beside it call theirs.
    contract = contract.model_copy(update={"architecture": opening.contract.architecture})
    card = contract.card(architecture=form.value)
    return Opened({"": _GRAPHS[form](path, card, opening.output)}, said)

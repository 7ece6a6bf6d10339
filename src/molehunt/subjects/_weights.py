"""Subjects from weights alone: checkpoints, and an architecture that is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, UnreadableFileError, mismatch, printable, reason_of
from molehunt.networks import Classifier, ModelCard
from molehunt.provenance import harmless_globals
from molehunt.subjects._architecture import Built, build_architecture, is_stackable
from molehunt.subjects._checkpoints import Node, read_checkpoint
from molehunt.subjects._matching import Match, Wanted, find_matches
from molehunt.subjects._sets import Found, choose, find_sets, name_unjudged, remarks_of, some
from molehunt.subjects._single_output import TwoLogits

# Bytes that weights may take in float32 beyond eight times what the file stores of them.
_SPARE = 64 * 2**20


def read_tensors(path: Path, *, safetensors: bool) -> Node:
    """Return the tensors of a file, mapped from disk where its format allows. Nothing runs.

    Raises
    ------
    UnreadableFileError
        If it cannot be loaded or holds no tensors.
    """
    try:
        content = _load_safetensors(path) if safetensors else _load_torch(path)
    except Exception as error:  # the libraries raise anything from KeyError to RuntimeError
        library = "safetensors" if safetensors else "torch"
        raise UnreadableFileError(f"{path}: {library} cannot load it: {_line(error)}") from error
    try:
        return read_checkpoint(content)
    except UnreadableFileError as error:
        raise UnreadableFileError(f"{path}: {error}") from error


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load_file(path)
    with safe_open(path, framework="pt") as archive:
        metadata = archive.metadata() or {}
    # Of tensors that share their values one is written; the others' names lead to it.
    aliases = {name: kept for name, kept in metadata.items() if kept in tensors}
    return tensors | {name: tensors[kept] for name, kept in aliases.items() if name not in tensors}


def _load_torch(path: Path) -> Any:
    # Objects beside the tensors, such as training arguments, are read on stand-ins.
    with torch.serialization.safe_globals(harmless_globals()):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)  # the legacy format


def open_weights(
    path: Path,
    tensors: Node,
    card: ModelCard,
    *,
    classes: int | None = None,
    weights: str | None = None,
) -> tuple[dict[str, Classifier], tuple[str, ...], tuple[str, ...]]:
    """Load the weights of a file into the architecture of `card`, set by set.

    Parameters
    ----------
    path : Path
        For messages.
    tensors : Node
        Of the file.
    card : ModelCard
    classes : int, optional
        Outputs of the network where they are not the card's classes: a single one decides
        between two classes.
    weights : str, optional
        The name of the set to load; all where it is not given.

    Returns
    -------
    models, remarks, unjudged
        A model for each set by its name, the empty name where there is one; what the reader
        should know; what may be weights and was not judged though no set was chosen.

    Raises
    ------
    UnreadableFileError
        If the file holds no weights of the architecture.
    InvalidRequestError
        If the architecture cannot be built, or there is no set of that name.
    """
    loader = _Loader(path, card, classes or card.num_classes)
    found = find_sets(tensors, loader.wanted)
    if not found.sets:
        found.add("", loader.through_own_hooks(tensors, found), whole=True)
        found.near.pop(next(iter(found.near), ""), None)  # that one is judged now
    judged = choose(found, weights) if weights is not None else found.sets
    remarks = list(remarks_of(found, judged))
    models = {name: loader.load(match) for name, match in judged.items()}
    if loader.classes == 1:
        remarks.append("its single output z is judged as the two logits 0 and z")
    if len(models) == 1:
        models = dict(zip([""], models.values(), strict=True))
    unjudged = tuple(
        f"{each}; `weights` chooses one of: {', '.join(found.sets) or 'none'}"
        for each in (name_unjudged(found) if weights is None else ())
    )
    return models, tuple(remarks), unjudged


class _Loader:
    """Fills one architecture with sets of weights."""

    def __init__(self, path: Path, card: ModelCard, classes: int) -> None:
        self.path = path
        self.card = card
        self.classes = classes
        built = self._build(on_meta=True)
        self.wanted = Wanted.of(built.network)
        self.knows_classes = built.knows_classes
        if not self.wanted.shapes:
            raise InvalidRequestError(
                mismatch(f"architecture {card.architecture}", "a network with weights", "none")
            )

    def _build(self, *, on_meta: bool) -> Built:
        card = self.card
        return build_architecture(
            card.architecture, card.arguments, card.input_shape, self.classes, on_meta=on_meta
        )

    def load(self, match: Match) -> Classifier:
        """Return a classifier with the tensors of a match."""
        self._check_size(match)
        named = {name: self._as_float(name, tensor) for name, tensor in match.tensors.items()}
        for name, shape in self.wanted.shapes.items():
            if name not in named:  # a counter of batches
                named[name] = torch.zeros(shape, dtype=torch.int64)
        network = self._build(on_meta=True).network
        try:
            network.load_state_dict(named, strict=False, assign=True)
            if _has_meta(network):  # what no file brings is computed while it is built
                network = self._build(on_meta=False).network
                network.load_state_dict(named, strict=False, assign=True)
        except Exception as error:  # a class of the user's may load in its own way
            raise UnreadableFileError(f"{self._refusal()}: {_line(error)}") from error
        if self.classes == 1:
            network = TwoLogits(network)
        model = Classifier(network, self.card)
        # A stranger's own class may do what cannot be vectorised over weights.
        model.stackable = is_stackable(self.card.architecture) and self.classes > 1
        return model.freeze()

    def through_own_hooks(self, tensors: Node, found: Found) -> Match:
        """Return the fullest match as the architecture itself reads older names.

        Raises
        ------
        UnreadableFileError
            If it lacks something all the same; the message names what.
        """
        nearest = next(iter(found.near.values()), None) or nearest_match(tensors, self.wanted)
        if nearest is not None and not nearest.misshapen:
            network = self._build(on_meta=True).network
            renamed = dict(nearest.tensors)
            for name in nearest.foreign:
                if name.startswith(nearest.prefix):
                    renamed[name.removeprefix(nearest.prefix)] = nearest.source[name]
            try:
                network.load_state_dict(renamed, strict=False, assign=True)
            except Exception:  # then the message below says what is wrong
                network = nn.Module()
            filled = {name: t for name, t in network.state_dict().items() if not t.is_meta}
            again = find_matches(filled, self.wanted)[:1]
            if again and again[0].fits:
                return again[0]
        raise UnreadableFileError(self._why_not(nearest, tensors))

    def _why_not(self, nearest: Match | None, tensors: Node) -> str:
        missing = nearest.missing if nearest else tuple(self.wanted.shapes)
        foreign = nearest.foreign if nearest else tuple(_all(tensors))
        wrong = f"missing {some(missing)}; not in the architecture {some(foreign)}"
        if nearest and nearest.misshapen:
            shapes = f"of other shapes: {some(nearest.misshapen)}"
            wrong = f"{wrong}; {shapes}" if missing else shapes
        hint = ""
        if nearest and nearest.prefix:
            hint = f" (names were read without {printable(nearest.prefix, 80)!r})"
        if not self.knows_classes:
            hint += (
                "; the architecture takes no number of classes: give it what it takes in "
                "`arguments` of `contract`"
            )
        elif nearest and nearest.misshapen:
            hint += "; check `classes` and `arguments` of `contract`"
        return f"{self._refusal()}: {wrong}{hint}"

    def _refusal(self) -> str:
        return f"{self.path}: not the weights of {printable(self.card.architecture, 80)}"

    def _check_size(self, match: Match) -> None:
        """Refuse tensors that are far larger than what the file stores of them."""
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for tensor in match.tensors.values()
        }
        stored = sum(storages.values())
        needed = sum(4 * tensor.numel() for tensor in match.tensors.values())
        if needed > 8 * stored + _SPARE:
            what = f"{self.path}: values of the weights"
            raise UnreadableFileError(
                mismatch(what, f"as many as the file stores ({stored} bytes)", f"{needed} bytes")
            )

    def _as_float(self, name: str, tensor: Tensor) -> Tensor:
        """Return a tensor as detectors compute with it; half precision is for storage."""
        try:
            if tensor.is_floating_point():
                return tensor.detach().float().contiguous()
            if tensor.is_complex():
                raise TypeError(tensor.dtype)
            return tensor.detach().contiguous()
        except (RuntimeError, NotImplementedError, TypeError) as error:
            what = f"{self.path}: {printable(name, 80)}"
            allowed = "numbers that torch makes float32 of"
            raise UnreadableFileError(mismatch(what, allowed, tensor.dtype)) from error


def _all(tensors: Node) -> Mapping[str, Tensor]:
    return tensors.tensors or tensors.flat()


def nearest_match(node: Node, wanted: Wanted) -> Match | None:
    """Return the match with the most tensors of an architecture, in any part of a checkpoint."""
    here = find_matches(node.tensors, wanted)[:1]
    below = [nearest_match(child, wanted) for child in node.children]
    found = [match for match in [*here, *below] if match is not None and match.tensors]
    return max(found, key=lambda match: len(match.tensors), default=None)


def _has_meta(network: nn.Module) -> bool:
    return any(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])


def _line(error: Exception) -> str:
    return reason_of(error, 300)

"""What a checkpoint holds: mappings of tensors and lists of them, wherever they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from molehunt.errors import UnreadableFileError, mismatch, printable

_DEEPEST = 32
_MOST_CONTAINERS = 200_000
_LONGEST_NAME = 500  # characters of a tensor's name


@dataclass
class Node:
    """A dict, list or tuple of a checkpoint.

    Parameters
    ----------
    path : tuple of str
        The keys that lead to it.
    tensors : dict
        Its own tensors by name.
    listed : list of Tensor
        Its tensors in order, where it is a list of nothing else.
    children : list of Node
        Those in it that hold a tensor somewhere.
    """

    path: tuple[str, ...] = ()
    tensors: dict[str, Tensor] = field(default_factory=dict)
    listed: list[Tensor] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The keys that lead to it, with dots between them."""
        return printable(".".join(self.path), 80)

    def flat(self) -> dict[str, Tensor]:
        """Return all tensors in it; names of inner mappings come before those of tensors."""
        found = dict(self.tensors)
        for child in self.children:
            place = child.path[-1]
            found |= {f"{place}.{name}": value for name, value in child.flat().items()}
        return found


def read_checkpoint(content: Any) -> Node:
    """Return where the tensors of a checkpoint are.

    Tensors without values, sparse and quantised ones count as none.

    Raises
    ------
    UnreadableFileError
        If it is nested too deep, has too many parts, or holds no tensor.

    Examples
    --------
    >>> import torch
    >>> node = read_checkpoint({"epoch": 3, "model": {"bias": torch.zeros(2)}})
    >>> [(child.name, list(child.tensors)) for child in node.children]
    [('model', ['bias'])]
    """
    reader = _Reader()
    node = reader.read(content, ())
    if node is None:
        got = type(content).__name__
        if isinstance(content, Mapping):
            keys = ", ".join(printable(key, 40) for key in list(content)[:5])
            got = f"a dict of {keys or 'nothing'}{reader.note}"
        raise UnreadableFileError(mismatch("checkpoint", "a state_dict of tensors", got))
    return node


class _Reader:
    """Walks a checkpoint once; what it has seen it does not enter again."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.note = ""

    def read(self, content: Any, path: tuple[str, ...]) -> Node | None:
        if id(content) in self.seen:
            if not self.note:
                self.note = ", which holds itself or one part twice"
            return None
        self.seen.add(id(content))
        if len(path) > _DEEPEST:
            raise UnreadableFileError(
                mismatch("checkpoint", f"at most {_DEEPEST} levels of dicts and lists", "more")
            )
        if len(self.seen) > _MOST_CONTAINERS:
            raise UnreadableFileError(
                mismatch("checkpoint", f"at most {_MOST_CONTAINERS} dicts and lists", "more")
            )
        node = Node(path)
        rest = 0
        for key, value in _items(content):
            if isinstance(value, Tensor):
                if _has_values(value) and len(key) <= _LONGEST_NAME:
                    node.tensors[key] = value
            elif isinstance(value, Mapping | list | tuple):
                child = self.read(value, (*path, key))
                if child is not None:
                    node.children.append(child)
            else:
                rest += 1
        if not node.tensors and not node.children:
            return None
        if not isinstance(content, Mapping) and not node.children and not rest:
            node.listed = list(node.tensors.values())
        return node


def _items(content: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(content, Mapping):
        yield from ((str(key), value) for key, value in content.items())
    elif isinstance(content, list | tuple):
        yield from ((str(place), value) for place, value in enumerate(content))


def _has_values(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_quantized

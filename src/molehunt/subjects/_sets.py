"""The sets of weights in a checkpoint: the raw ones, averaged ones, a teacher's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from molehunt.errors import InvalidRequestError, UnreadableFileError, mismatch, printable
from molehunt.subjects._checkpoints import Node
from molehunt.subjects._matching import Match, Wanted, find_matches

_MOST_SETS = 32
_TOP = "top level"


@dataclass
class Found:
    """What a checkpoint offers for an architecture.

    Parameters
    ----------
    sets : dict
        Whole sets of weights by name.
    near : dict
        What holds at least half of the architecture's parameters and is no whole set.
    remarks : list of str
        What the reader should know.
    unjudged : list of str
        What may be weights of the architecture and is no set, a sentence each.
    """

    sets: dict[str, Match] = field(default_factory=dict)
    near: dict[str, Match] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)

    def add(self, name: str, match: Match, *, whole: bool) -> None:
        """Enter a match under a name that no other has."""
        place = self.sets if whole else self.near
        unique = name
        number = 1
        while unique in place:
            number += 1
            unique = f"{name} ({number})"
        place[unique] = match


def find_sets(node: Node, wanted: Wanted) -> Found:
    """Return every set of weights in a checkpoint that fits an architecture.

    A set that lacks only what is not learned (as averages of parameters do) takes it from
    the first whole set. Equal sets count once.

    Raises
    ------
    UnreadableFileError
        If there are more than 32.
    """
    found = Found()
    lists: list[Node] = []
    _collect(node, wanted, found, lists)
    for each in lists:
        _take_list(each, wanted, found)
    _complete(wanted, found)
    _drop_equal(found)
    if len(found.sets) > _MOST_SETS:
        raise UnreadableFileError(mismatch("checkpoint", f"at most {_MOST_SETS} sets", "more"))
    return found


def choose(found: Found, name: str) -> dict[str, Match]:
    """Return the one set of a name.

    Raises
    ------
    InvalidRequestError
        If there is none of that name.
    """
    if name not in found.sets:
        allowed = f"one of {', '.join(found.sets) or 'none that fits the architecture'}"
        raise InvalidRequestError(mismatch("`weights`", allowed, repr(printable(name, 80))))
    others = [other for other in found.sets if other != name]
    if others:
        found.remarks.append(f"of {len(found.sets)} sets of weights {name} alone is judged")
    return {name: found.sets[name]}


def _collect(node: Node, wanted: Wanted, found: Found, lists: list[Node]) -> bool:
    """Enter the sets in a node; tell whether there is one."""
    if node.listed:
        lists.append(node)
        return False
    inside = [_collect(child, wanted, found, lists) for child in node.children]
    matches = find_matches(node.tensors, wanted)
    whole = [match for match in matches if match.fits]
    if not whole and not any(inside) and node.children:
        matches = find_matches(node.flat(), wanted)
        whole = [match for match in matches if match.fits]
    taken = frozenset().union(*(match.used for match in whole))
    for match in whole:
        own = replace(match, foreign=tuple(key for key in match.foreign if key not in taken))
        found.add(_name(node, match, alone=len(whole) == 1), own, whole=True)
    for match in matches:
        if not match.fits and not match.used <= taken and _is_near(match, wanted):
            found.add(_name(node, match, alone=False), match, whole=False)
    return bool(whole) or any(inside)


def _is_near(match: Match, wanted: Wanted) -> bool:
    learned = match.tensors.keys() & set(wanted.parameters)
    return bool(learned) and 2 * len(learned) >= len(wanted.parameters)


def _name(node: Node, match: Match, *, alone: bool) -> str:
    """Return the keys that lead to a set, and its prefix where others lie beside it."""
    prefix = printable(match.prefix.rstrip("."), 80)
    parts = [node.name] if alone and node.name else [node.name, prefix]
    return ".".join(filter(None, parts)) or _TOP


def _take_list(node: Node, wanted: Wanted, found: Found) -> None:
    """Name a list of tensors by the order of the architecture's parameters."""
    shapes = [tuple(tensor.shape) for tensor in node.listed]
    needed = [wanted.shapes[name] for name in wanted.parameters]
    orders = (
        wanted.parameters,
        tuple(wanted.shapes),
        tuple(name for name in wanted.shapes if not wanted.is_optional(name)),
    )
    order = next((o for o in orders if [wanted.shapes[name] for name in o] == shapes), None)
    if order is not None:
        named = dict(zip(order, node.listed, strict=True))
        (match,) = find_matches(named, wanted)[:1]
        found.add(node.name or _TOP, match, whole=match.fits)
    elif 2 * len(set(needed) & set(shapes)) > len(set(needed)):
        found.unjudged.append(
            f"{node.name or 'it'} is a list of {len(shapes)} tensors without names, which are not "
            f"the architecture's {len(wanted.parameters)} parameters in their order: not judged"
        )


def _complete(wanted: Wanted, found: Found) -> None:
    """Give averages of parameters what is not learned, from the first whole set."""
    learned = set(wanted.parameters)
    for name, match in list(found.near.items()):
        if match.misshapen or not found.sets or learned & set(match.missing):
            continue
        source, whole = next(iter(found.sets.items()))
        lent = {each: whole.tensors[each] for each in match.missing if each in whole.tensors}
        del found.near[name]
        found.add(
            name,
            replace(match, tensors={**match.tensors, **lent}, missing=()),
            whole=True,
        )
        found.remarks.append(
            f"{name} lacks {some(match.missing)}, which are not learned: taken from {source}"
        )


def _drop_equal(found: Found) -> None:
    kept: dict[str, Match] = {}
    for name, match in found.sets.items():
        twin = next((other for other in kept if _equal(kept[other].tensors, match.tensors)), None)
        if twin is None:
            kept[name] = match
        else:
            found.remarks.append(f"{name} holds the same weights as {twin}")
    found.sets = kept


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    names = (one.keys() & other.keys()) - {n for n in one if n.endswith("num_batches_tracked")}
    return all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name])
        for name in names
    )


def some(names: tuple[str, ...] | list[str]) -> str:
    """Return the first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(printable(name, 80) for name in names[:3]) or "nothing") + more


def remarks_of(found: Found, judged: dict[str, Match]) -> Iterator[str]:
    """Yield what the reader should know of the sets that are judged and those that are not."""
    if len(judged) > 1:
        yield f"{len(judged)} sets of weights, each of them judged: {', '.join(judged)}"
    for name, match in judged.items():
        if match.foreign:
            count = len(match.foreign)
            keys = f"{count} keys are" if count > 1 else "1 key is"
            yield (
                f"{f'{name}: ' if len(judged) > 1 else ''}{keys} not in the architecture "
                f"and left out: {some(match.foreign)}"
            )
    yield from found.remarks


def name_unjudged(found: Found) -> Iterator[str]:
    """Yield what may be weights of the architecture and is not judged."""
    yield from found.unjudged
    for name, match in found.near.items():
        wrong = [*match.missing, *match.misshapen]
        yield f"{name} looks like weights of the architecture and is not judged: {some(wrong)}"

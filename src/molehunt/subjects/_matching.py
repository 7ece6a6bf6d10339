"""Which tensors of a file are the weights that an architecture needs.

Wrappers rename: Lightning, DataParallel, FSDP, torch.compile and averaged copies put names
before or into the middle of names, other copies leave the dots out. So a name of the
architecture is looked for at the end of each name in the file, and what stands before it is a
prefix; every prefix under which all needed tensors lie, in the right shapes, is a match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

# What wrappers put into the middle of names.
_WRAPPERS = {
    *("module", "_orig_mod", "_fsdp_wrapped_module", "_forward_module", "_wrapped_module"),
    *("_checkpoint_wrapped_module", "_fpw_module", "_ddp_module"),
}
_MOST_COMPONENTS = 64
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Wanted:
    """The tensors that an architecture needs.

    Parameters
    ----------
    shapes : dict
        By name, in the architecture's order.
    parameters : tuple of str
        Names of what is learned, each shared tensor once.
    same : dict
        Other names of the same shared tensor.
    """

    shapes: dict[str, Shape]
    parameters: tuple[str, ...]
    same: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, network: nn.Module) -> Wanted:
        """Return what a network's state_dict names."""
        tensors = {
            name: tensor
            for name, tensor in network.state_dict(keep_vars=True).items()
            if isinstance(tensor, Tensor)
        }
        shared: dict[int, list[str]] = {}
        for name, tensor in tensors.items():
            shared.setdefault(id(tensor), []).append(name)
        return cls(
            {name: tuple(tensor.shape) for name, tensor in tensors.items()},
            tuple(name for name, _ in network.named_parameters()),
            {
                name: tuple(other for other in names if other != name)
                for names in shared.values()
                for name in names
                if len(names) > 1
            },
        )

    def is_optional(self, name: str) -> bool:
        """Tell counters, which older files lack and nothing that is judged depends on."""
        return name.endswith("num_batches_tracked")


@dataclass(frozen=True)
class Match:
    """Tensors of a file under the names of an architecture.

    Parameters
    ----------
    prefix : str
        What stood before the names in the file.
    tensors : dict
        By the architecture's names.
    missing, misshapen, foreign : tuple of str
        What the architecture needs and is not there; what has another shape, as a sentence
        shows it; what the file holds beyond.
    used : frozenset of str
        The names in the file.
    source : dict
        The tensors among which it was found, by their names in the file.
    """

    prefix: str
    tensors: dict[str, Tensor]
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    foreign: tuple[str, ...]
    used: frozenset[str] = frozenset()
    source: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether all that is needed is there in the right shapes."""
        return not self.missing and not self.misshapen


def find_matches(tensors: Mapping[str, Tensor], wanted: Wanted) -> list[Match]:
    """Return a match for each prefix under which names of the architecture lie, the fullest first.

    Where none is whole, tensors whose prefixes differ count as one match if each needed tensor
    is there once in its shape.
    """
    found: dict[frozenset[str], Match] = {}
    scattered: dict[str, str] | None = None
    for spell in _SPELLINGS:
        spelled = _spell(wanted.shapes, spell)
        if spelled is None:
            continue
        groups = _by_prefix(tensors, spelled, spell)
        for key, names in groups.items():
            match = _match(key.partition("\0")[0], names, tensors, wanted)
            found.setdefault(frozenset(names.values()), match)
        scattered = scattered or _scattered(groups, tensors, wanted)
    if scattered is not None and not any(match.fits for match in found.values()):
        return [_match("", scattered, tensors, wanted)]
    return sorted(found.values(), key=lambda match: (not match.fits, -len(match.tensors)))


# --- spellings


def _as_it_is(parts: list[str]) -> list[str]:
    return parts


def _without_wrappers(parts: list[str]) -> list[str]:
    return [part for part in parts if part not in _WRAPPERS]


def _without_dots(parts: list[str]) -> list[str]:
    """Names that were made one word: ``conv1.weight`` as ``conv1weight`` or ``conv1_weight``."""
    return [re.sub(r"[^0-9a-zA-Z]", "", part) for part in parts]


Spelling = Callable[[list[str]], list[str]]
_SPELLINGS: tuple[Spelling, ...] = (_as_it_is, _without_wrappers, _without_dots)


def _spell(names: Mapping[str, Shape], spell: Spelling) -> dict[str, str] | None:
    """Return the architecture's names by how they are spelled; None where two become one."""
    spelled = {_join(name, spell): name for name in names}
    return spelled if len(spelled) == len(names) else None


def _join(name: str, spell: Spelling) -> str:
    if spell is _without_dots:
        return "".join(_without_dots([name]))
    return ".".join(spell(name.split(".")))


def _by_prefix(
    tensors: Mapping[str, Tensor], spelled: dict[str, str], spell: Spelling
) -> dict[str, dict[str, str]]:
    """Return, for each prefix, the architecture's names and those of the file."""
    groups: dict[str, dict[str, str]] = {}
    trunks = list(_trunks(spelled))
    for name in tensors:
        parts = spell(name.split("."))
        if len(parts) > _MOST_COMPONENTS:
            continue
        starts = [len(parts) - 1] if spell is _without_dots else range(len(parts))
        for start in starts:
            rest = ".".join(parts[start:])
            for trunk in trunks:
                own = spelled.get(trunk + rest)
                if own is not None:
                    prefix = ".".join(parts[:start])
                    key = f"{prefix}." if prefix else ""
                    groups.setdefault(f"{key}\0{trunk}", {}).setdefault(own, name)
    return groups


def _trunks(spelled: Mapping[str, str]) -> Iterator[str]:
    """Yield nothing, then what all of the architecture's own names begin with.

    A layer's own name and the tensor's stay: any layer has a weight and a bias.
    """
    yield ""
    common: list[str] = []
    for column in zip(*(name.split(".")[:-2] for name in spelled), strict=False):
        if len(set(column)) > 1:
            return
        common.append(column[0])
        yield ".".join(common) + "."


# --- matches


def _match(
    prefix: str, names: Mapping[str, str], tensors: Mapping[str, Tensor], wanted: Wanted
) -> Match:
    """Return the match of the file's names by the architecture's names."""
    taken = dict(names)
    for own, others in wanted.same.items():
        if own not in taken:
            source = next((taken[other] for other in others if other in taken), None)
            if source is not None:
                taken[own] = source
    used = set(taken.values())
    found = {own: tensors[taken[own]] for own in wanted.shapes if own in taken}
    return Match(
        prefix,
        found,
        tuple(own for own in wanted.shapes if own not in taken and not wanted.is_optional(own)),
        tuple(
            f"{own} {list(tensor.shape)}, not {list(wanted.shapes[own])}"
            for own, tensor in found.items()
            if tuple(tensor.shape) != wanted.shapes[own]
        ),
        tuple(name for name in tensors if name not in used),
        frozenset(used),
        tensors,
    )


def _scattered(
    groups: dict[str, dict[str, str]], tensors: Mapping[str, Tensor], wanted: Wanted
) -> dict[str, str] | None:
    """Return names under prefixes that differ, if each needed tensor is there exactly once."""
    places: dict[str, set[str]] = {}
    for names in groups.values():
        for own, name in names.items():
            if tuple(tensors[name].shape) == wanted.shapes[own]:
                places.setdefault(own, set()).add(name)
    for own in wanted.shapes:
        if len(places.get(own, ())) != 1 and not wanted.is_optional(own):
            return None
    return {own: next(iter(names)) for own, names in places.items() if len(names) == 1}

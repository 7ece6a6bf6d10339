"""Follow pickles without unpickling: a machine that knows tensors and plain objects.

A list of the globals that a pickle names can be fooled: names put together on the stack,
opcodes that call without naming, streams that break after their payload. So the opcodes
are followed on a stack of stand-ins, as torch's own ``weights_only`` unpickler follows
them (torch 2.14, ``torch/_weights_only_unpickler.py``). Every name is noted with its grade,
and the machine goes on after one that is dangerous or unknown, so that a pickle's names are
known to its end; whatever is not understood is never clean.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass

from molehunt.provenance._judgement import Names, UnreadContentError, UnsafeContentError
from molehunt.provenance._pickle_calls import (
    ALLOWED_GLOBALS,
    STORAGES,
    DictStandIn,
    Global,
    Kind,
    ListStandIn,
    Storage,
    call,
    new,
)
from molehunt.provenance._pickle_names import NameList, python3_name

_MOST_OPCODES = 1_000_000  # about 30 for a tensor
_LARGEST_MEMO = 2**24


@dataclass(frozen=True)
class ReadPickle:
    """One pickle that was read to its end.

    Parameters
    ----------
    value : object
        Its value, or what stands for it.
    storages : tuple of Storage
    names : Names
        All that it names beyond what tensors need.
    end : int
        The byte after it.
    """

    value: object
    storages: tuple[Storage, ...]
    names: Names
    end: int


_CONSTANTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_EMPTY: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": ListStandIn,
    "EMPTY_SET": lambda: Kind.SET,
    "EMPTY_DICT": DictStandIn,
}
# Opcodes that take an object from the reader, or by a number in place of a name.
_REACHING = {"EXT1", "EXT2", "EXT4", "PERSID"}


class _Machine:
    """Follows opcodes on stand-ins; a method for each opcode that tensors need."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.storages: list[Storage] = []
        self.names = NameList()

    def follow(self, opcode: str, argument: object) -> None:
        if opcode in _CONSTANTS:
            self.stack.append(argument)
        elif opcode in _EMPTY:
            self.stack.append(_EMPTY[opcode]())
        elif opcode in _REACHING:
            raise UnsafeContentError(f"uses the opcode {opcode}, which no tensor needs")
        else:
            step = getattr(self, f"on_{opcode.lower()}", None)
            if step is None:
                raise UnreadContentError(f"the opcode {opcode}, which no tensor needs")
            step(argument)

    def pop(self) -> object:
        if not self.stack:
            raise UnreadContentError("an opcode that finds its stack empty")
        value = self.stack.pop()
        if value is Kind.MARK:
            raise UnreadContentError("an opcode that takes a mark for a value")
        return value

    def pop_to_mark(self) -> tuple[object, ...]:
        values: list[object] = []
        while self.stack:
            value = self.stack.pop()
            if value is Kind.MARK:
                return tuple(reversed(values))
            values.append(value)
        raise UnreadContentError("an opcode that misses its mark")

    def top(self, *kinds: Kind | type) -> object:
        """Return what is on top if it is of one of the kinds, or may be anything."""
        if self.stack:
            top = self.stack[-1]
            if top in (Kind.OBJECT, Kind.OPAQUE) or any(
                top is kind or (isinstance(kind, type) and isinstance(top, kind)) for kind in kinds
            ):
                return top
        raise UnsafeContentError("changes an object that is no plain list or dict")

    def set_items(self, keys: tuple[object, ...]) -> None:
        top = self.top(DictStandIn, Kind.ORDERED_DICT)
        if isinstance(top, DictStandIn):
            top.note(keys)

    def add_items(self, items: tuple[object, ...]) -> None:
        top = self.top(ListStandIn)
        if isinstance(top, ListStandIn):
            top.note(items)

    def on_proto(self, argument: object) -> None:
        if not isinstance(argument, int) or argument > 5:
            raise UnreadContentError(f"pickle protocol {argument}")

    def on_frame(self, argument: object) -> None:
        """Frames only group bytes."""

    def on_mark(self, argument: object) -> None:
        self.stack.append(Kind.MARK)

    def on_global(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self.push_global(module, name)

    def on_stack_global(self, argument: object) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise UnsafeContentError("looks up a global whose name is no text")
        self.push_global(module, name)

    def push_global(self, module: str, name: str) -> None:
        if (module, name) not in ALLOWED_GLOBALS:
            self.names.note(module, name)
            module, name = python3_name(module, name)
        self.stack.append(Global(module, name))

    def on_reduce(self, argument: object) -> None:
        arguments, function = self.pop(), self.pop()
        self.stack.append(call(function, arguments))

    def on_newobj(self, argument: object) -> None:
        arguments, function = self.pop(), self.pop()
        self.stack.append(new(function, arguments))

    def on_newobj_ex(self, argument: object) -> None:
        self.pop()
        self.on_newobj(argument)

    def on_inst(self, argument: object) -> None:
        arguments = self.pop_to_mark()
        self.on_global(argument)
        self.stack.append(call(self.pop(), arguments))

    def on_obj(self, argument: object) -> None:
        values = self.pop_to_mark()
        if not values:
            raise UnreadContentError("an object of no class")
        self.stack.append(call(values[0], values[1:]))

    def on_build(self, argument: object) -> None:
        self.pop()
        # An OrderedDict takes its state into __dict__; torch keeps _metadata of modules there.
        self.top(Kind.ORDERED_DICT)

    def on_binpersid(self, argument: object) -> None:
        match self.pop():
            case (
                "storage",
                Global(module, name),
                str(key),
                str(),
                int(count),
                *views,
            ) if (module, name) in STORAGES and count >= 0 and views in ([], [None]):
                self.storages.append(Storage(key, count, STORAGES[module, name]))
                self.stack.append(self.storages[-1])
            case _:
                raise UnsafeContentError("asks the reader for something that is no storage")

    def on_append(self, argument: object) -> None:
        self.add_items((self.pop(),))

    def on_appends(self, argument: object) -> None:
        self.add_items(self.pop_to_mark())

    def on_additems(self, argument: object) -> None:
        self.pop_to_mark()
        self.top(Kind.SET)

    def on_frozenset(self, argument: object) -> None:
        self.pop_to_mark()
        self.stack.append(Kind.SET)

    def on_setitem(self, argument: object) -> None:
        _, key = self.pop(), self.pop()
        self.set_items((key,))

    def on_setitems(self, argument: object) -> None:
        items = self.pop_to_mark()
        if len(items) % 2:
            raise UnreadContentError("a dict with a key and no value")
        self.set_items(items[::2])

    def on_list(self, argument: object) -> None:
        self.stack.append(ListStandIn(self.pop_to_mark()))

    def on_dict(self, argument: object) -> None:
        items = self.pop_to_mark()
        self.stack.append(DictStandIn())
        self.set_items(items[::2])

    def on_tuple(self, argument: object) -> None:
        self.stack.append(self.pop_to_mark())

    def on_tuple1(self, argument: object) -> None:
        self.stack.append((self.pop(),))

    def on_tuple2(self, argument: object) -> None:
        second, first = self.pop(), self.pop()
        self.stack.append((first, second))

    def on_tuple3(self, argument: object) -> None:
        third, second, first = self.pop(), self.pop(), self.pop()
        self.stack.append((first, second, third))

    def on_pop(self, argument: object) -> None:
        if not self.stack:
            raise UnreadContentError("an opcode that finds its stack empty")
        self.stack.pop()

    def on_pop_mark(self, argument: object) -> None:
        self.pop_to_mark()

    def on_memoize(self, argument: object) -> None:
        self.on_put(len(self.memo))

    def on_put(self, argument: object) -> None:
        if not isinstance(argument, int) or not 0 <= argument < _LARGEST_MEMO or not self.stack:
            raise UnreadContentError("a memo that cannot be kept")
        if self.stack[-1] is Kind.MARK:
            raise UnreadContentError("an opcode that takes a mark for a value")
        self.memo[argument] = self.stack[-1]

    on_binput = on_long_binput = on_put

    def on_get(self, argument: object) -> None:
        if argument not in self.memo:
            raise UnreadContentError("a memo that was never kept")
        self.stack.append(self.memo[argument])

    on_binget = on_long_binget = on_get


def read_pickle(content: bytes, start: int = 0) -> ReadPickle:
    """Follow one pickle from byte `start` to its STOP; nothing is imported or called.

    Raises
    ------
    UnsafeContentError
        If it calls or changes what no checkpoint does, or hides a name. Names alone raise
        nothing: see the result's. Those found before it raised are in the error's `names`.
    UnreadContentError
        If it is cut short, damaged, too long, or uses opcodes unknown here.
    """
    machine = _Machine()
    stream = io.BytesIO(content)
    stream.seek(start)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > _MOST_OPCODES:
                raise UnreadContentError(f"a pickle of more than {_MOST_OPCODES} opcodes")
            if opcode.name != "STOP":
                machine.follow(opcode.name, argument)
        value = machine.pop()
    except (UnsafeContentError, UnreadContentError) as error:
        error.names = machine.names.graded()
        raise
    except Exception as error:  # pickletools raises many kinds on damaged streams
        message = " ".join(str(error).split())
        damaged = UnreadContentError(f"a damaged pickle: {message:.100}")
        damaged.names = machine.names.graded()
        raise damaged from error
    return ReadPickle(value, tuple(machine.storages), machine.names.graded(), stream.tell())

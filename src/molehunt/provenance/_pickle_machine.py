"""Follow pickles without unpickling: a machine that knows tensors and nothing else.

A list of the globals that a pickle names can be fooled: names put together on the stack,
opcodes that call without naming, streams that break after their payload. So the opcodes
are followed on a stack of stand-ins, as torch's own ``weights_only`` unpickler follows
them (torch 2.14, ``torch/_weights_only_unpickler.py``; our list is shorter), and whatever
is not understood is never clean.
"""

from __future__ import annotations

import io
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch

from molehunt.provenance._judgement import UnreadContentError, UnsafeContentError

_MOST_OPCODES = 1_000_000  # about 30 for a tensor
_LARGEST_MEMO = 2**24

# Bytes of an element, by the names that torch.save of tensors writes.
STORAGES = {
    ("torch", "DoubleStorage"): 8,
    ("torch", "FloatStorage"): 4,
    ("torch", "HalfStorage"): 2,
    ("torch", "BFloat16Storage"): 2,
    ("torch", "LongStorage"): 8,
    ("torch", "IntStorage"): 4,
    ("torch", "ShortStorage"): 2,
    ("torch", "CharStorage"): 1,
    ("torch", "ByteStorage"): 1,
    ("torch", "BoolStorage"): 1,
    ("torch", "ComplexDoubleStorage"): 16,
    ("torch", "ComplexFloatStorage"): 8,
    ("torch.storage", "UntypedStorage"): 1,
}
_TAG = re.compile(r"_dynamo_\w+|_specialize_on")
_DTYPES = {("torch", name) for name, value in vars(torch).items() if isinstance(value, torch.dtype)}


class _Kind(Enum):
    """What stands on the stack in place of an object that is not a constant."""

    MARK = "mark"
    LIST = "list"
    ORDERED_DICT = "OrderedDict"
    SET = "set"
    TENSOR = "tensor"
    PLAIN = "plain"  # a size, a device


class _Dict:
    """A dict; of its content only whether all keys are the tags of torch's compiler."""

    def __init__(self) -> None:
        self.only_tags = True

    def note(self, keys: tuple[object, ...]) -> None:
        self.only_tags &= all(isinstance(key, str) and bool(_TAG.fullmatch(key)) for key in keys)


@dataclass(frozen=True)
class Global:
    """An allowed name, not looked up."""

    module: str
    name: str


@dataclass(frozen=True)
class Storage:
    """Where a tensor's elements lie, as the pickle says."""

    key: str
    count: int
    item_size: int

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.count * self.item_size


@dataclass(frozen=True)
class ReadPickle:
    """One pickle that names tensors only: its value's stand-in, storages, and its end."""

    value: object
    storages: tuple[Storage, ...]
    end: int


def _rebuild_tensor(args: tuple[object, ...]) -> object:
    if len(args) < 4 or not isinstance(args[0], Storage):
        raise UnsafeContentError("rebuilds a tensor from something that is no storage")
    return _Kind.TENSOR


def _rebuild_parameter(args: tuple[object, ...]) -> object:
    if not args or args[0] is not _Kind.TENSOR:
        raise UnsafeContentError("rebuilds a parameter from something that is no tensor")
    return _Kind.TENSOR


def _rebuild_tagged(args: tuple[object, ...]) -> object:
    """A tensor with attributes: torch.export leaves its tags on example inputs."""
    match args:
        case (
            Global("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor_v3"),
            Global("torch", "Tensor"),
            tuple(inner),
            _Dict(only_tags=True),
        ):
            return _rebuild_tensor(inner)
        case _:
            raise UnsafeContentError("rebuilds a tensor with attributes or of a class of its own")


# What torch.save of a state_dict or of a checkpoint calls, and what it makes.
_CALLABLES: dict[tuple[str, str], Callable[[tuple[object, ...]], object]] = {
    ("collections", "OrderedDict"): lambda args: _Kind.ORDERED_DICT,
    ("torch", "Size"): lambda args: _Kind.PLAIN,
    ("torch", "device"): lambda args: _Kind.PLAIN,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_tagged,
}
ALLOWED_GLOBALS = frozenset({*_CALLABLES, *STORAGES, *_DTYPES, ("torch", "Tensor")})

_CONSTANTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_EMPTY: dict[str, object] = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "EMPTY_TUPLE": (),
    "EMPTY_LIST": _Kind.LIST,
    "EMPTY_SET": _Kind.SET,
}
# Opcodes that build objects of any class, or ask the reader for one; tensors need none.
_REACHING = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"}


class _Machine:
    """Follows opcodes on stand-ins; a method for each opcode that tensors need."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.storages: list[Storage] = []

    def follow(self, opcode: str, argument: object) -> None:
        if opcode in _CONSTANTS:
            self.stack.append(argument)
        elif opcode in _EMPTY:
            self.stack.append(_EMPTY[opcode])
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
        if value is _Kind.MARK:
            raise UnreadContentError("an opcode that takes a mark for a value")
        return value

    def pop_to_mark(self) -> tuple[object, ...]:
        values: list[object] = []
        while self.stack:
            value = self.stack.pop()
            if value is _Kind.MARK:
                return tuple(reversed(values))
            values.append(value)
        raise UnreadContentError("an opcode that misses its mark")

    def top(self, kind: _Kind) -> None:
        if not self.stack or self.stack[-1] is not kind:
            raise UnsafeContentError("changes an object that is no plain list or dict")

    def top_dict(self, keys: tuple[object, ...]) -> None:
        if self.stack and isinstance(self.stack[-1], _Dict):
            self.stack[-1].note(keys)
        else:
            self.top(_Kind.ORDERED_DICT)

    def on_proto(self, argument: object) -> None:
        if not isinstance(argument, int) or argument > 5:
            raise UnreadContentError(f"pickle protocol {argument}")

    def on_frame(self, argument: object) -> None:
        """Frames only group bytes."""

    def on_mark(self, argument: object) -> None:
        self.stack.append(_Kind.MARK)

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
            raise UnsafeContentError(f"names {module}.{name}, which no tensor needs")
        self.stack.append(Global(module, name))

    def on_reduce(self, argument: object) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise UnsafeContentError("calls something that is no named function")
        made = _CALLABLES.get((function.module, function.name))
        if made is None:
            raise UnsafeContentError(f"calls {function.module}.{function.name}")
        self.stack.append(made(arguments))

    def on_build(self, argument: object) -> None:
        self.pop()
        # An OrderedDict takes its state into __dict__; torch keeps _metadata of modules there.
        self.top(_Kind.ORDERED_DICT)

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
        self.pop()
        self.top(_Kind.LIST)

    def on_appends(self, argument: object) -> None:
        self.pop_to_mark()
        self.top(_Kind.LIST)

    def on_additems(self, argument: object) -> None:
        self.pop_to_mark()
        self.top(_Kind.SET)

    def on_empty_dict(self, argument: object) -> None:
        self.stack.append(_Dict())

    def on_setitem(self, argument: object) -> None:
        _, key = self.pop(), self.pop()
        self.top_dict((key,))

    def on_setitems(self, argument: object) -> None:
        items = self.pop_to_mark()
        if len(items) % 2:
            raise UnreadContentError("a dict with a key and no value")
        self.top_dict(items[::2])

    def on_list(self, argument: object) -> None:
        self.pop_to_mark()
        self.stack.append(_Kind.LIST)

    def on_dict(self, argument: object) -> None:
        items = self.pop_to_mark()
        self.stack.append(_Dict())
        self.top_dict(items[::2])

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

    def on_memoize(self, argument: object) -> None:
        self.on_put(len(self.memo))

    def on_put(self, argument: object) -> None:
        if not isinstance(argument, int) or not 0 <= argument < _LARGEST_MEMO or not self.stack:
            raise UnreadContentError("a memo that cannot be kept")
        if self.stack[-1] is _Kind.MARK:
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
        If it names, calls or changes anything that tensors do not need.
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
    except (UnsafeContentError, UnreadContentError):
        raise
    except Exception as error:  # pickletools raises many kinds on damaged streams
        message = " ".join(str(error).split())
        raise UnreadContentError(f"a damaged pickle: {message:.100}") from error
    return ReadPickle(machine.pop(), tuple(machine.storages), stream.tell())

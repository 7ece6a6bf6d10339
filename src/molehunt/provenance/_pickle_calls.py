"""What the functions that a checkpoint's pickle calls would make, told by stand-ins.

Arguments are those that torch.save and honest programs write; any other could take memory or
time without end (a size of 2**40, a tensor for a list), and is never clean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from molehunt.provenance._judgement import UnreadContentError, UnsafeContentError
from molehunt.provenance._pickle_names import DICTS, HARMLESS, LISTS, OBJECTS

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
# Those of torch 2.14: what torch means by a name of its own is no other thing in another release.
_DTYPES = {
    ("torch", name)
    for name in (
        *("bool", "bit", "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2"),
        *("int", "short", "long", *(f"{sign}int{n}" for sign in ("", "u") for n in range(1, 9))),
        *("int16", "int32", "int64", "uint16", "uint32", "uint64"),
        *("float", "double", "half", "bfloat16", "float16", "float32", "float64"),
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
        *("float4_e2m1fn_x2", "cdouble", "cfloat", "chalf", "bcomplex32"),
        *("complex32", "complex64", "complex128"),
        *("qint8", "qint32", "quint8", "quint2x4", "quint4x2"),
    )
}
_NUMPY_DTYPE = re.compile(r"[<>|=]?[biufcSUVmM?]\d{0,6}")
# A view that repeats its elements takes their number once it is copied.
_MOST_REPEATED = 2**16


class Kind(Enum):
    """What stands on the stack in place of an object that is not a constant."""

    MARK = "mark"
    ORDERED_DICT = "OrderedDict"
    SET = "set"
    TENSOR = "tensor"
    PLAIN = "plain"  # a device, a size, bytes
    OBJECT = "object"  # of a harmless class: it takes state and items, and does nothing
    OPAQUE = "opaque"  # of a class or function that is noted as dangerous or unknown


class DictStandIn:
    """A dict; of its content only whether all keys are the tags of torch's compiler."""

    def __init__(self) -> None:
        self.only_tags = True

    def note(self, keys: tuple[object, ...]) -> None:
        """Take keys into account."""
        self.only_tags &= all(isinstance(key, str) and bool(_TAG.fullmatch(key)) for key in keys)


class ListStandIn:
    """A list; of its content only whether all items are lists and tuples."""

    def __init__(self, items: tuple[object, ...] = ()) -> None:
        self.only_sequences = True
        self.note(items)

    def note(self, items: tuple[object, ...]) -> None:
        """Take items into account."""
        self.only_sequences &= all(isinstance(item, tuple | ListStandIn) for item in items)


@dataclass(frozen=True)
class Global:
    """A name that the pickle states, not looked up."""

    module: str
    name: str

    @property
    def full(self) -> str:
        """Module and name with a dot between."""
        return f"{self.module}.{self.name}"


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


Arguments = tuple[object, ...]


def _rebuild_tensor(args: Arguments) -> object:
    if len(args) < 4 or not isinstance(args[0], Storage):
        raise UnsafeContentError("rebuilds a tensor from something that is no storage")
    storage, size = args[0], args[2]
    if not isinstance(size, tuple) or not all(isinstance(n, int) and n >= 0 for n in size):
        raise UnsafeContentError("rebuilds a tensor whose size is no tuple of numbers")
    count = math.prod(int(n) for n in size if isinstance(n, int))
    if count > max(storage.count, _MOST_REPEATED):
        raise UnreadContentError(f"a tensor of {count:.3g} elements where {storage.count} lie")
    return Kind.TENSOR


def _rebuild_parameter(args: Arguments) -> object:
    if not args or args[0] is not Kind.TENSOR:
        raise UnsafeContentError("rebuilds a parameter from something that is no tensor")
    return Kind.TENSOR


def _rebuild_tagged(args: Arguments) -> object:
    """A tensor with attributes: torch.export leaves its tags on example inputs."""
    match args:
        case (
            Global("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor_v3"),
            Global("torch", "Tensor"),
            tuple(inner),
            DictStandIn(only_tags=True),
        ):
            return _rebuild_tensor(inner)
        case _:
            raise UnsafeContentError("rebuilds a tensor with attributes or of a class of its own")


def _size(args: Arguments) -> object:
    match args:
        case (tuple(sizes),) if all(isinstance(n, int) for n in sizes):
            return sizes
    raise UnreadContentError("a size that is no tuple of numbers")


def _device(args: Arguments) -> object:
    _check("torch.device", 1 <= len(args) <= 2 and all(isinstance(a, str | int) for a in args))
    return Kind.PLAIN


def _ordered_dict(args: Arguments) -> object:
    match args:
        case ():
            return Kind.ORDERED_DICT
        case (ListStandIn(only_sequences=True),):  # as Python 2 wrote it
            return Kind.ORDERED_DICT
    raise UnreadContentError("an OrderedDict made of something else than pairs")


# What torch.save of a state_dict or of a checkpoint calls, and what it makes.
_OF_TENSORS: dict[tuple[str, str], Callable[[Arguments], object]] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_tagged,
}
ALLOWED_GLOBALS = frozenset({*_OF_TENSORS, *STORAGES, *_DTYPES, ("torch", "Tensor")})


def _check(name: str, usual: bool) -> None:
    if not usual:
        raise UnreadContentError(f"calls {name} with arguments that no one writes")


def _harmless(function: Global, args: Arguments) -> object:  # noqa: PLR0911, PLR0912  a line a kind
    """Return what a harmless name makes of arguments that are usual."""
    name = function.full
    match name, args:
        case "builtins.set" | "builtins.frozenset", (ListStandIn(),) | ():
            return Kind.SET
        case "_codecs.encode", (str(), str("latin1")):  # bytes, as protocol 2 writes them
            return Kind.PLAIN
        case "builtins.bytearray", (str(), str("latin-1")) | (Kind.PLAIN | bytes(),) | ():
            return Kind.PLAIN
        case "builtins.bytes", ():
            return Kind.PLAIN
        case "builtins.complex", (float() | int(), float() | int()):
            return Kind.PLAIN
        case "builtins.slice" | "builtins.range", (_, _, _):
            return Kind.PLAIN
        case "collections.Counter", (DictStandIn(),) | ():
            return DictStandIn()
        case "collections.defaultdict", () | (Global() | None,):
            return DictStandIn()
        case "copyreg._reconstructor", (Global() as kind, Global("builtins", "object"), None):
            _check(name, kind.full in OBJECTS)
            return Kind.OBJECT
        case "numpy.dtype", (str(code), *_):
            _check(name, bool(_NUMPY_DTYPE.fullmatch(code)))
            return Kind.OBJECT
        case (
            "numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct",
            (Global("numpy", "ndarray"), (0,), _),
        ):
            return Kind.OBJECT
        case (
            "numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar",
            (Kind.OBJECT, _),
        ):
            return Kind.OBJECT
        case _ if name in DICTS:
            return DictStandIn()
        case _ if name in LISTS:
            return ListStandIn()
        case _ if name in OBJECTS and name not in ("numpy.dtype", "numpy.ndarray"):
            return Kind.OBJECT
    raise UnreadContentError(f"calls {name} with arguments that no one writes")


def call(function: object, args: object) -> object:
    """Return a stand-in for what a call makes.

    Raises
    ------
    UnsafeContentError
        If something is called that is no function by name.
    UnreadContentError
        If the arguments are not those that honest programs write.
    """
    if function is Kind.OPAQUE:
        return Kind.OPAQUE
    if not isinstance(function, Global) or not isinstance(args, tuple):
        raise UnsafeContentError("calls something that is no named function")
    made = _OF_TENSORS.get((function.module, function.name))
    if made is not None:
        return made(args)
    if (function.module, function.name) in ALLOWED_GLOBALS:
        raise UnsafeContentError(f"calls {function.full}")
    return _harmless(function, args) if function.full in HARMLESS else Kind.OPAQUE


def new(function: object, args: object) -> object:
    """Return a stand-in for a new object of a class, which is made without its ``__init__``.

    Raises
    ------
    UnsafeContentError
        If it is of something that checkpoints make no objects of.
    """
    if function is Kind.OPAQUE:
        return Kind.OPAQUE
    if isinstance(function, Global) and isinstance(args, tuple):
        if function.full in DICTS:
            return DictStandIn()
        if function.full in LISTS:
            return ListStandIn()
        if function.full in OBJECTS and function.module != "numpy":
            return Kind.OBJECT
        if function.full not in HARMLESS and (
            (function.module, function.name) not in ALLOWED_GLOBALS
        ):
            return Kind.OPAQUE
    raise UnsafeContentError("makes an object of something that no checkpoint does")

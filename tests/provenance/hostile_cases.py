"""The table of hostile files: what each is, and what must be said of it."""

from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import torch

from tests.provenance import hostile as h
from tests.provenance.hostile import NOT_SCANNED, UNFAMILIAR, UNKNOWN, UNSAFE, Case

# Globals that reach outside, and what they are called with; bytes are opcodes.
CALLS: dict[str, tuple[str, str, Callable[[Path], tuple[object, ...]]]] = {
    "os.system": ("os", "system", lambda m: (h.touch(m),)),
    "posix.system": ("posix", "system", lambda m: (h.touch(m),)),
    "subprocess.call": ("subprocess", "call", lambda m: (["touch", str(m)],)),
    "subprocess.Popen": ("subprocess", "Popen", lambda m: (["touch", str(m)],)),
    "eval": ("builtins", "eval", lambda m: (h.python(m),)),
    "exec": ("builtins", "exec", lambda m: (h.python(m),)),
    "exec of Python 2": ("__builtin__", "eval", lambda m: (h.python(m),)),
    "open": ("builtins", "open", lambda m: (str(m), "w")),
    "__import__": ("builtins", "__import__", lambda m: ("antigravity",)),
    "importlib.import_module": ("importlib", "import_module", lambda m: ("antigravity",)),
    "runpy.run_path": ("runpy", "run_path", lambda m: (f"{m}.py",)),
    "runpy._run_code": ("runpy", "_run_code", lambda m: (h.python(m), {})),
    "torch.hub.load": ("torch.hub", "load", lambda m: (str(m.parent), "net")),
    "torch.jit.load": ("torch.jit", "load", lambda m: (f"{m}.pt",)),
    "torch.load": ("torch", "load", lambda m: (f"{m}.pt",)),
    "torch.ops.load_library": ("torch", "ops.load_library", lambda m: (f"{m}.so",)),
    "torch compile": ("torch.utils.cpp_extension", "load_inline", lambda m: ("x", "")),
    "torch codecache": ("torch._inductor.codecache", "PyCodeCache.load", lambda m: ("x=1",)),
    "numpy runstring": ("numpy.testing._private.utils", "runstring", lambda m: (h.python(m), {})),
    "functools.partial": ("functools", "partial", lambda m: (b"cos\nsystem\n", h.touch(m))),
    "operator.attrgetter": ("operator", "attrgetter", lambda m: ("system",)),
    "operator.methodcaller": ("operator", "methodcaller", lambda m: ("system", h.touch(m))),
    "getattr": ("builtins", "getattr", lambda m: (b"ccollections\nOrderedDict\n", "fromkeys")),
    "pty.spawn": ("pty", "spawn", lambda m: (["touch", str(m)],)),
    "webbrowser.open": ("webbrowser", "open", lambda m: ("file:///",)),
    "shutil.rmtree": ("shutil", "rmtree", lambda m: (f"{m}.folder",)),
    "pip.main": ("pip", "main", lambda m: (["--version"],)),
    "timeit.timeit": ("timeit", "timeit", lambda m: (h.python(m), "pass", b"ctime\ntime\n", 1)),
    "cProfile.run": ("cProfile", "run", lambda m: (h.python(m),)),
    "bdb.Bdb.run": ("bdb", "Bdb.run", lambda m: (h.called("bdb", "Bdb"), h.python(m))),
    "code.interact": ("code", "InteractiveInterpreter", lambda m: ()),
    "asyncio": ("asyncio", "create_subprocess_shell", lambda m: (h.touch(m),)),
    "ctypes.CDLL": ("ctypes", "CDLL", lambda m: (f"{m}.so",)),
    "storage that allocates": ("torch", "FloatStorage", lambda m: (2**40,)),
}
# Those that leave the mark when pickle.loads meets them.
RUNS = {
    *("os.system", "posix.system", "subprocess.call", "eval", "exec", "exec of Python 2", "open"),
    *("runpy._run_code", "numpy runstring", "pty.spawn", "timeit.timeit", "cProfile.run"),
}


def _call(name: str) -> Case:
    module, function, arguments = CALLS[name]
    return Case(
        f"{name}.pkl",
        lambda mark: h.pickled(h.called(module, function, *arguments(mark))),
        UNSAFE,
        "pickle" if name in RUNS else "",
    )


def _named(name: str) -> Case:
    return Case(name, h.system, UNSAFE, "pickle")


def _builtin(name: str, *arguments: object) -> bytes:
    return h.called("__builtin__", name, *arguments)


def _dict_of(tensor: bytes) -> bytes:
    """Iterating a tensor makes an object of every element."""
    return h.pickled(b"ccollections\nOrderedDict\n(]", tensor, b"atR")


_ONE = h.rebuilt(4, (4,))
_ENDLESS = h.called("__builtin__", "range", 0, 2**40, 1)
PICKLES = [
    *map(_call, CALLS),
    *map(_named, ("w.safetensors", "w.onnx", "w.bin", "w.pt", "w.ckpt", "w.jpg", "w.pt2", "w")),
    *(
        Case(f"protocol {p}.pkl", lambda m, p=p: pickle.dumps(h.Touching(m), p), UNSAFE, "pickle")
        for p in range(6)
    ),
    Case(
        "STACK_GLOBAL.pkl",
        lambda m: h.pickled(h.short("os"), h.short("system"), b"\x93(", h.text(h.touch(m)), b"tR"),
        UNSAFE,
        "pickle",
    ),
    Case(
        "STACK_GLOBAL dotted.pkl",
        lambda m: h.pickled(
            *(h.short("shutil"), h.short("os.system"), b"\x93(", h.text(h.touch(m)), b"tR"),
            protocol=4,
        ),
        UNSAFE,
        "pickle",
    ),
    Case(  # both names come from the memo, far from the opcode
        "STACK_GLOBAL from memo.pkl",
        lambda m: h.pickled(
            *(h.short("system"), b"\x940", h.short("os"), b"\x940h\x01h\x00\x93("),
            *(h.text(h.touch(m)), b"tR"),
            protocol=4,
        ),
        UNSAFE,
        "pickle",
    ),
    Case(
        "INST.pkl",
        lambda m: h.pickled(b"(", h.text(h.touch(m)), b"ios\nsystem\n"),
        UNSAFE,
        "pickle",
    ),
    Case(
        "OBJ.pkl",
        lambda m: h.pickled(b"(cos\nsystem\n", h.text(h.touch(m)), b"o"),
        UNSAFE,
        "pickle",
    ),
    Case("NEWOBJ.pkl", lambda m: h.pickled(b"cbdb\nBdb\n)\x81"), UNSAFE),
    Case("EXT1.pkl", lambda m: h.pickled(b"\x82\x01"), UNSAFE),
    Case("EXT2.pkl", lambda m: h.pickled(b"\x83\x01\x00"), UNSAFE),
    Case("EXT4.pkl", lambda m: h.pickled(b"\x84\x01\x00\x00\x00"), UNSAFE),
    Case("PERSID.pkl", lambda m: h.pickled(b"Pmodule\n"), UNSAFE),
    Case("BINPERSID.pkl", lambda m: h.pickled(h.text("module"), b"Q"), UNSAFE),
    Case("BUILD on a list.pkl", lambda m: h.pickled(b"]}b"), UNSAFE),
    Case("append to a name.pkl", lambda m: h.pickled(b"ccollections\nOrderedDict\nK\x01a"), UNSAFE),
    Case(
        "nested in bytes.pkl",
        lambda m: h.pickled(h.called("pickle", "loads", pickle.dumps(h.system(m), 4)[2:-1])),
        UNSAFE,
        "pickle",
    ),
    Case(
        "a tensor with attributes.pkl",
        lambda m: h.pickled(
            b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n",
            *(b"ctorch\nTensor\n)}", h.text("__class__"), b"K\x01stR"),
        ),
        UNSAFE,
    ),
    Case("cut short.pkl", lambda m: h.system(m)[:-1], UNSAFE, "pickle"),
    Case("broken after payload.pkl", lambda m: h.system(m)[:-1] + b"\xff\xff", UNSAFE, "pickle"),
    Case("protocol lies.pkl", lambda m: b"\x80\x00" + h.system(m)[2:], UNSAFE, "pickle"),
    Case("protocol 200.pkl", lambda m: b"\x80\xc8" + h.system(m)[2:], UNSAFE),
    Case("second of two.pkl", lambda m: pickle.dumps({}, 2) + h.system(m), UNSAFE),
    Case("second of many.pkl", lambda m: pickle.dumps([], 2) * 9 + h.system(m), UNSAFE),
    Case("bytes after the end.pkl", lambda m: pickle.dumps({}, 2) + bytes(99), UNKNOWN),
    Case("half.pkl", lambda m: pickle.dumps(["a" * 99] * 99, 2)[:-9], UNKNOWN),
    Case("stack underflow.pkl", lambda m: h.pickled(b"0"), UNKNOWN),
    Case("memo never kept.pkl", lambda m: h.pickled(b"h\x07"), UNKNOWN),
    Case("a list of a tensor.pkl", lambda m: _dict_of(h.rebuilt(4, (4,))), UNKNOWN),
    Case("a repeated element.pkl", lambda m: h.pickled(h.rebuilt(4, (2**40,))), UNKNOWN),
    Case("a size of a tensor.pkl", lambda m: h.pickled(h.called("torch", "Size", _ONE)), UNKNOWN),
    Case("bytes without end.pkl", lambda m: h.pickled(_builtin("bytearray", 2**40)), UNKNOWN),
    Case("a set of a range.pkl", lambda m: h.pickled(_builtin("set", _ENDLESS)), UNKNOWN),
    Case("a codec.pkl", lambda m: h.pickled(h.called("_codecs", "encode", "a", "zip")), UNKNOWN),
    Case(
        "state of a class.pkl",
        lambda m: h.pickled(b"cargparse\nNamespace\n}", h.text("__init__"), b"Nsb"),
        UNSAFE,
    ),
    Case("too many opcodes.pkl", lambda m: h.pickled(b"N" * 1_100_000), UNKNOWN),
]

TORCH = [
    Case("zip.pt", lambda m: h.saved({"w": h.Touching(m)}), UNSAFE, "torch"),
    Case("legacy.pt", lambda m: h.legacy({"w": h.Touching(m)}), UNSAFE, "torch"),
    Case("zip with os.system.pt", lambda m: h.torch_zip(h.system(m)), UNSAFE),
    Case("a whole module.pt", lambda m: h.saved(h.Net()), UNFAMILIAR),
    Case("deep in a zip.bin", lambda m: h.zipped([("a/b/c.dat", h.system(m))]), UNSAFE),
    Case(
        "in a zip in a zip.pt",
        lambda m: h.zipped([("a/b.zip", h.zipped([("x/y", h.system(m))]))]),
        UNSAFE,
    ),
    Case(
        "beside an honest pickle.pt",
        lambda m: h.torch_zip(pickle.dumps({}, 2), {"data/0": h.system(m)}),
        UNSAFE,
    ),
    Case(
        "a library beside.pt", lambda m: h.torch_zip(pickle.dumps({}, 2), {"x.so": b"ELF"}), UNSAFE
    ),
    Case("storage missing.pt", lambda m: h.torch_zip(_persistent("0", 4)), UNKNOWN),
    Case(
        "storage too short.pt",
        lambda m: h.torch_zip(_persistent("0", 2**40), {"data/0": bytes(16)}),
        UNKNOWN,
    ),
    Case(
        "two pickles in data.pkl.pt",
        lambda m: h.torch_zip(pickle.dumps({}, 2) + h.system(m)),
        UNSAFE,
    ),
    Case("cut legacy.pt", lambda m: h.legacy({"w": torch.ones(9)})[:-8], UNKNOWN),
    Case("legacy with more.pt", lambda m: h.legacy({"w": torch.ones(9)}) + h.system(m), UNKNOWN),
    Case("torchscript.pt", lambda m: h.script(), UNSAFE),
    Case("cut.pt", lambda m: h.honest()[:-30], UNKNOWN),
    Case("wrong checksum.pt", h.wrong_checksum, UNKNOWN),
    Case("data.pkl twice.pt", h.duplicate, UNKNOWN),
    Case("headers disagree.pt", h.local_mismatch, UNKNOWN),
    Case("encrypted.pt", h.encrypted, UNKNOWN),
    Case("symbolic link.pt", h.symlink, UNKNOWN),
    Case("overlapping.pt", h.overlapping, UNKNOWN),
    Case("traversal.pt", lambda m: h.torch_zip(pickle.dumps({}, 2), {"../../x": b"x"}), UNKNOWN),
    Case(
        "absolute.pt",
        lambda m: h.zipped([("/etc/x", b"x"), ("a/data.pkl", b"\x80\x02N.")]),
        UNKNOWN,
    ),
    Case("pickle, then zip.pt", lambda m: h.system(m) + h.honest(), UNKNOWN),
    Case("7z, then zip.pt", lambda m: b"7z\xbc\xaf\x27\x1c" + h.honest(), UNKNOWN),
    Case("tar, then zip.pt", lambda m: h.in_tar(m) + h.honest(), UNKNOWN),
    Case("zip, then zip.pt", lambda m: h.torch_zip(h.system(m)) + h.honest(), UNKNOWN),
    Case("zip with a comment.pt", lambda m: h.honest()[:-2] + b"\x05\x00hello", UNKNOWN),
    Case("tar.pt", h.in_tar, NOT_SCANNED),
    Case("bomb.pt", h.bomb, UNKNOWN),
    Case("nested bomb.pt", h.nested_bomb, UNKNOWN),
]


def _persistent(key: str, count: int) -> bytes:
    """A pickle of one storage that claims `count` floats."""
    return h.pickled(
        *(b"(", h.text("storage"), b"ctorch\nFloatStorage\n", h.text(key), h.text("cpu")),
        *(h.value(count), b"tQ"),
    )


SAFETENSORS = [
    Case("longer than its file.safetensors", lambda m: h.safetensors(b"{}", length=999), UNKNOWN),
    Case("a header of 3 GB.safetensors", lambda m: h.safetensors(b"{}", length=3 * 10**9), UNKNOWN),
    Case("outside.safetensors", lambda m: h.safetensors({"a": h.entry(0, 400)}, bytes(4)), UNKNOWN),
    Case(
        "overlap.safetensors",
        lambda m: h.safetensors({"a": h.entry(0, 4), "b": h.entry(0, 4)}, bytes(4)),
        UNKNOWN,
    ),
    Case(
        "holes.safetensors",
        lambda m: h.safetensors({"a": h.entry(0, 4), "b": h.entry(8, 12)}, bytes(12)),
        UNKNOWN,
    ),
    Case("more.safetensors", lambda m: h.safetensors({"a": h.entry(0, 4)}, bytes(8)), UNKNOWN),
    Case("size.safetensors", lambda m: h.safetensors({"a": h.entry(0, 4, [9])}, bytes(4)), UNKNOWN),
    Case(
        "overflow.safetensors",
        lambda m: h.safetensors({"a": h.entry(0, 4, [2**62, 8])}, bytes(4)),
        UNKNOWN,
    ),
    Case(
        "type.safetensors",
        lambda m: h.safetensors({"a": h.entry(0, 4, dtype="OBJ")}, bytes(4)),
        UNKNOWN,
    ),
    Case("negative.safetensors", lambda m: h.safetensors({"a": h.entry(-4, 0)}, bytes(4)), UNKNOWN),
    Case("twice.safetensors", h.twice, UNKNOWN),
    Case("no JSON.safetensors", lambda m: h.safetensors(b'{"a": '), UNKNOWN),
    Case(
        "deep.safetensors", lambda m: h.safetensors(b'{"a":' * 9999 + b"1" + b"}" * 9999), UNKNOWN
    ),
    Case(
        "metadata.safetensors", lambda m: h.safetensors({"__metadata__": {"a": {"b": 1}}}), UNKNOWN
    ),
    Case("also a zip.safetensors", h.both_zip_and_safetensors, UNKNOWN),
]

EXPORTED = [
    Case(
        "eval.pt2",
        lambda m: h.expression(f"__import__('os').system({h.touch(m)!r}) or 2"),
        UNSAFE,
        "export",
    ),
    Case(
        "eval without a dot.pt2",
        lambda m: h.expression(f"open({str(m)!r}, 'w') and Integer(2)"),
        UNSAFE,
        "export",
    ),
    Case("eval in a symbol.pt2", lambda m: h.expression("Symbol(open('x'))"), UNSAFE),
    Case("line breaks.pt2", lambda m: h.expression("s0 #\n+open('x')"), UNSAFE),
    Case("powers.pt2", lambda m: h.expression("9**9**9**9"), UNSAFE),
    Case("long text.pt2", lambda m: h.expression("'9' * 9999999999"), UNSAFE),
    Case("guard.pt2", h.guard, UNSAFE, "export"),
    Case("code in a name.pt2", h.code_in_a_name, UNSAFE, "export"),
    Case("imports by tree.pt2", h.imports_by_tree, UNSAFE),
    Case("opens a file.pt2", lambda m: h.operator("torch.ops.aten.from_file.default"), UNSAFE),
    Case("writes.pt2", lambda m: h.operator("torch.ops.image.write_file.default"), UNSAFE),
    Case("any function.pt2", lambda m: h.operator("torch.hub.load"), UNSAFE),
    Case(
        "sample inputs.pt2",
        lambda m: h.exported_with({"data/sample_inputs/model.pt": h.saved(h.Touching(m))}),
        UNSAFE,
        "export",
    ),
    Case(
        "bare sample inputs.pt2",
        lambda m: h.exported_with({"data/sample_inputs/model.pt": h.system(m)}),
        UNSAFE,
        "export",
    ),
    Case("unpickled weight.pt2", h.unpickled_weight, UNSAFE, "export"),
    Case(
        "old weights.pt2",
        lambda m: h.exported_with({"data/weights/model.pt": h.saved({"w": h.Touching(m)})}),
        UNSAFE,
        "export",
    ),
    Case("opaque object.pt2", h.opaque_object, UNSAFE, "export"),
    Case(
        "custom object.pt2",
        lambda m: h.exported_with({"data/constants/custom_obj_0": h.honest()}),
        UNSAFE,
    ),
    Case(
        "compiled.pt2",
        lambda m: h.exported_with({"data/aotinductor/model/wrapper.so": b"\x7fELF"}),
        UNSAFE,
    ),
    Case(
        "library elsewhere.pt2", lambda m: h.exported_with({"extra/model.so": b"\x7fELF"}), UNSAFE
    ),
    Case(
        "zeros without end.pt2",
        lambda m: h.exported_with(
            {
                "data/weights/weight_0": b"",
                "data/weights/model_weights_config.json": h.payload("weights"),
            }
        ),
        UNKNOWN,
    ),
    Case("unknown member.pt2", lambda m: h.exported_with({"data/other": b"x"}), UNKNOWN),
    Case("cut.pt2", lambda m: h.exported()[:-9], UNKNOWN),
    Case("no JSON.pt2", lambda m: h.program_with(lambda program: program[:-9]), UNKNOWN),
]

OTHER = [
    Case("empty.pt", lambda m: b"", NOT_SCANNED),
    Case("noise.pt", lambda m: struct.pack("<64d", *range(64)), NOT_SCANNED),
    Case("h5.h5", lambda m: b"\x89HDF\r\n\x1a\n" + bytes(64), NOT_SCANNED),
    Case("gzip.pkl", lambda m: gzip.compress(h.system(m)), NOT_SCANNED),
    Case("7z.7z", lambda m: b"7z\xbc\xaf\x27\x1c" + h.system(m), NOT_SCANNED),
    Case("array.npy", lambda m: b"\x93NUMPY" + h.system(m), NOT_SCANNED),
]

CASES = [*PICKLES, *TORCH, *SAFETENSORS, *EXPORTED, *OTHER]

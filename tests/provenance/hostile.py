"""Files that reach outside themselves when they are loaded, each made at test time.

Every payload is harmless: it creates the file `mark`, so that a test can see whether it
ran. `CASES` is the table; `loader` says which unguarded loader runs a case, so that a
test can show that the payloads are real.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save as save_safetensors

from molehunt.provenance import SerializationState as State

UNSAFE, UNKNOWN, NOT_SCANNED = State.UNSAFE, State.UNKNOWN, State.NOT_SCANNED
UNFAMILIAR = State.UNFAMILIAR


@dataclass(frozen=True)
class Case:
    """A hostile file: its name, who makes its content, what must be said of it.

    `loader` names the unguarded loader that runs the payload: ``pickle``, ``torch``,
    ``export``, or none where the harm is another one or takes a special reader.
    """

    name: str
    make: Callable[[Path], bytes]
    state: State
    loader: str = ""


# Pickles, opcode by opcode


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def short(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def value(argument: object) -> bytes:
    if isinstance(argument, bytes):
        return argument  # opcodes already
    if isinstance(argument, str):
        return text(argument)
    return pickle.dumps(argument, protocol=2)[2:-1]


def called(module: str, name: str, *arguments: object) -> bytes:
    """The opcodes that call a global with arguments, without PROTO and STOP."""
    inside = b"".join(map(value, arguments))
    return f"c{module}\n{name}\n(".encode() + inside + b"tR"


def rebuilt(count: int, size: tuple[int, ...]) -> bytes:
    """The opcodes of a tensor over a storage of `count` floats that is not there."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + (storage + value(count) + b"tQ" + value(0) + value(size) + value((0,) * len(size)))
        + b"\x89NtR"
    )


def pickled(*opcodes: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + b"".join(opcodes) + b"."


def touch(mark: Path) -> str:
    return f"touch '{mark}'"


def python(mark: Path) -> str:
    return f"open({str(mark)!r}, 'w').close()"


class Touching:
    """Reduces to a call that creates the mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


def system(mark: Path) -> bytes:
    return pickled(called("os", "system", touch(mark)))


def saved(value: object, **settings: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **settings)
    return buffer.getvalue()


def legacy(value: object) -> bytes:
    return saved(value, _use_new_zipfile_serialization=False)


def honest() -> bytes:
    return saved({"weight": torch.arange(6.0), "epoch": 3})


def torch_zip(content: bytes, members: dict[str, bytes] | None = None) -> bytes:
    """An archive as torch writes it, with any pickle in it."""
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    for name, inside in {"data.pkl": content, "byteorder": b"little", **(members or {})}.items():
        writer.write_record(name, inside, len(inside))
    writer.write_end_of_file()
    return buffer.getvalue()


def zipped(members: list[tuple[str | zipfile.ZipInfo, bytes]], method: int = 0) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # names that stand twice are the point
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, content in members:
                archive.writestr(name, content)
    return buffer.getvalue()


def changed(content: bytes, old: bytes, new: bytes, count: int = 1) -> bytes:
    assert old in content and len(old) == len(new), "a change that keeps all offsets"
    return content.replace(old, new, count)


# Zip archives that readers could disagree on


def duplicate(mark: Path) -> bytes:
    inside = [("a/data.pkl", pickle.dumps({}, 2)), ("a/data.pkl", pickle.dumps({"x": 1}, 2))]
    return zipped(inside)


def local_mismatch(mark: Path) -> bytes:
    return changed(zipped([("a/data.pkl", pickle.dumps({}, 2))]), b"a/data.pkl", b"a/none.pkl")


def wrong_checksum(mark: Path) -> bytes:
    return changed(honest(), struct.pack("<f", 5.0), struct.pack("<f", 6.0))


def symlink(mark: Path) -> bytes:
    link = zipfile.ZipInfo("a/data/0")
    link.external_attr = 0o120777 << 16
    return zipped([("a/data.pkl", pickle.dumps({}, 2)), (link, b"/etc/passwd")])


def encrypted(mark: Path) -> bytes:
    content = bytearray(zipped([("a/data.pkl", pickle.dumps({}, 2))]))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def overlapping(mark: Path) -> bytes:
    """Both entries of the directory point at the first member."""
    content = zipped([("a/data.pkl", pickle.dumps({}, 2)), ("a/data.pkk", pickle.dumps({}, 2))])
    second = content.rindex(b"PK\x01\x02")
    return content[: second + 42] + struct.pack("<I", 0) + content[second + 46 :]


def bomb(mark: Path) -> bytes:
    return zipped(
        [("a/data.pkl", pickle.dumps({}, 2)), ("a/data/0", bytes(70 * 2**20))],
        zipfile.ZIP_DEFLATED,
    )


def nested_bomb(mark: Path) -> bytes:
    content = zipped([("a/0", bytes(2**20))], zipfile.ZIP_DEFLATED)
    for _ in range(6):
        content = zipped([(f"a/{i}.zip", content) for i in range(4)], zipfile.ZIP_STORED)
    return content


def in_tar(mark: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("pickle", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            info.size = len(system(mark))
            archive.addfile(info, io.BytesIO(system(mark)))
    return buffer.getvalue()


# safetensors headers that lie


def safetensors(header: bytes | dict[str, object], data: bytes = b"", length: int = -1) -> bytes:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length < 0 else length) + content + data


def entry(start: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> object:
    return {"dtype": dtype, "shape": shape or [1], "data_offsets": [start, end]}


def twice(mark: Path) -> bytes:
    one = json.dumps(entry(0, 4))
    return safetensors(f'{{"a":{one},"a":{one}}}'.encode(), bytes(4))


def both_zip_and_safetensors(mark: Path) -> bytes:
    hidden = torch_zip(system(mark))
    return save_safetensors({"a": torch.frombuffer(bytearray(hidden), dtype=torch.uint8)})


# Archives of torch.export, changed after they were written


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images).relu().flatten(1).sum(dim=1)


@cache
def exported() -> bytes:
    """A real archive whose batch dimension is dynamic, as is usual."""
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(
        Net().eval(), (torch.rand(2, 1, 6, 6),), dynamic_shapes=({0: batch},)
    )
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def program_with(edit: Callable[[str], str]) -> bytes:
    return exported_with({}, edit)


def exported_with(
    members: dict[str, bytes], edit: Callable[[str], str] = lambda program: program
) -> bytes:
    """The real archive, rewritten by torch's own writer, with other members."""
    reader = torch._C.PyTorchFileReader(io.BytesIO(exported()))
    kept = {name: reader.get_record(name) for name in reader.get_all_records()}
    kept = {n: c for n, c in kept.items() if not n.startswith(".data") and n != "byteorder"}
    before = kept["models/model.json"].decode()
    kept["models/model.json"] = edit(before).encode()
    assert members or kept["models/model.json"].decode() != before, "the edit changed nothing"
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    for name, content in {**kept, **members}.items():
        writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    return buffer.getvalue()


def edited(change: Callable[[dict], None]) -> bytes:
    def edit(program: str) -> str:
        content = json.loads(program)
        change(content)
        return json.dumps(content)

    return program_with(edit)


def expression(code: str) -> bytes:
    def edit(program: str) -> str:
        found = json.loads(program)
        values = found["graph_module"]["graph"]["tensor_values"].values()
        for size in (size for meta in values for size in meta["sizes"]):
            if "as_expr" in size:
                size["as_expr"]["expr_str"] = code
        return json.dumps(found)

    return program_with(edit)


def guard(mark: Path) -> bytes:
    code = f"(1 if open({str(mark)!r}, 'w') else 1) == 1"
    return edited(lambda program: program.update(guards_code=[code]))


def imports_by_tree(mark: Path) -> bytes:
    """A container whose factory is any name of any module: torch imports it by that name."""
    context = {
        "default_factory_module": "antigravity",
        "default_factory_name": "fly",
        "dict_context": [],
    }
    tree = json.dumps(
        [1, {"type": "collections.defaultdict", "context": context, "children_spec": []}]
    )

    def change(program: dict) -> None:
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = tree

    return edited(change)


def code_in_a_name(mark: Path) -> bytes:
    """Names become source of the graph's forward function."""
    name = f"images=__import__('os').system({touch(mark)!r})"

    def edit(program: str) -> str:
        return program.replace('"images"', json.dumps(name))

    return program_with(edit)


def operator(target: str) -> bytes:
    def change(program: dict) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = target

    return edited(change)


def payload(folder: str, **changes: object) -> bytes:
    meta = {
        "path_name": "weight_0",
        "is_param": True,
        "use_pickle": False,
        "tensor_meta": {
            "dtype": 7,
            "sizes": [{"as_int": 1}],
            "strides": [{"as_int": 1}],
            "requires_grad": False,
            "device": {"type": "cpu", "index": None},
            "storage_offset": {"as_int": 0},
            "layout": 7,
        },
    }
    return json.dumps({"config": {"conv.weight": {**meta, **changes}}}).encode()


def unpickled_weight(mark: Path) -> bytes:
    return exported_with(
        {
            "data/weights/weight_0": saved(Touching(mark)),
            "data/weights/model_weights_config.json": payload("weights", use_pickle=True),
        }
    )


def opaque_object(mark: Path) -> bytes:
    return exported_with(
        {
            "data/constants/opaque_obj_0": system(mark),
            "data/constants/model_constants_config.json": payload(
                "constants", path_name="opaque_obj_0", use_pickle=True, tensor_meta=None
            ),
        }
    )


def script() -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(torch.nn.Linear(2, 2))
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    return buffer.getvalue()

"""Judge the archive of torch.export.save (.pt2) without loading it.

``torch.export.load`` unpickles, evaluates and opens parts of such an archive (read in
torch 2.14; docs/loading.md lists the functions). Each of those parts is judged here
before, and anything that an archive of plain tensors and ATen operators does not have
is refused.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from molehunt.provenance._archives import Archive, find_differences_for_torch, open_archive
from molehunt.provenance._export_bounds import check_counts, size_fault
from molehunt.provenance._expressions import is_guard, is_size_expression
from molehunt.provenance._judgement import (
    Judgement,
    SerializationState,
    UnreadContentError,
    clean,
    judge_unknown,
    unsafe,
    worst,
)
from molehunt.provenance._operators import find_operator_fault
from molehunt.provenance._torch_files import judge_members, judge_raw, judge_torch_zip
from molehunt.provenance._zip_records import Member

_LARGEST_JSON = 32 * 2**20  # bytes
_LARGEST_NESTED = 256 * 2**20  # bytes; sample inputs
_PLAIN = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)"
    r"|\.format_version|\.storage_alignment|extra/.*"
)
_RAW = re.compile(r"data/(weights/weight|constants/tensor)_\d+")
_CONFIG = re.compile(r"data/(weights|constants)/\w+_(weights|constants)_config\.json")
_PROGRAM = re.compile(r"models/\w+\.json")
_PICKLED = re.compile(r"data/(sample_inputs|weights|constants)/\w+\.pt")
_PATH_NAME = re.compile(r"(weight|tensor)_\d+")

# Bytes of an element by the numbers of torch._export.serde.schema.ScalarType.
_ITEM_SIZES = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 9: 4, 10: 8, 11: 16, 12: 1, 13: 2, 28: 2},
    **{29: 1, 30: 1, 31: 1, 32: 1, 33: 1, 34: 4, 35: 8},
}
_MOST_REPEATS = 1024  # a stride of 0 repeats numbers without bytes
_TREE_TYPES = {
    *("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None),
}
# Names become Python source when torch builds the graph's forward function.
_NAME = re.compile(r"[\w.]{0,256}", re.ASCII)
_TEXT = re.compile(r"[\w .,:;+\-*/<>=\[\]]{0,1024}", re.ASCII)
_SYMBOL = re.compile(r"[A-Za-z]\w{0,15}(?<!\d{7})", re.ASCII)
# Kept as text or read as JSON, and never evaluated.
_FREE_TEXT = {
    *("stack_trace", "nn_module_stack", "torch_fn", "custom", "from_node", "torch_version"),
}


def judge_exported(archive: Archive, root: str) -> Judgement:
    """Judge every member by what torch.export.load does with it."""
    found: list[Judgement] = []
    for item in archive.members:
        name = item.name.removeprefix(root)
        try:
            found.append(_judge_member(archive, item, name))
        except UnreadContentError as error:
            found.append(judge_unknown(str(error)))
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            message = " ".join(str(error).split())
            found.append(judge_unknown(f"{name}: {type(error).__name__}: {message:.100}"))
    names = {item.name.removeprefix(root) for item in archive.members}
    if not any(_PROGRAM.fullmatch(name) for name in names):
        found.append(judge_unknown("no program in the archive"))
    found += [judge_unknown(problem) for problem in archive.problems]
    plain = clean("a graph of ATen operators, tensors and plain values")
    verdict = worst(found, otherwise=plain)
    if verdict.state is SerializationState.CLEAN:
        return worst(map(judge_unknown, find_differences_for_torch(archive, root)), otherwise=plain)
    return verdict


def _judge_member(  # noqa: PLR0911  one line for each kind of member
    archive: Archive, item: Member, name: str
) -> Judgement:
    if name.startswith("data/aotinductor/"):
        return unsafe(f"carries compiled code: {name}")
    if not item.is_stored:
        archive.problems.append(f"a compressed member, which torch does not write: {name}")
    if _RAW.fullmatch(name):  # numbers, where the configuration does not say otherwise
        return judge_raw(archive, item)
    members = judge_members(archive, [item])
    if members.state is not SerializationState.CLEAN:
        return members
    if _PROGRAM.fullmatch(name):
        return worst(_program_faults(_json(archive, item)), members)
    if _CONFIG.fullmatch(name):
        sizes = {each.name: each.size for each in archive.members}
        folder = item.name.rpartition("/")[0]
        return worst(_payload_faults(_json(archive, item), folder, sizes), members)
    if _PICKLED.fullmatch(name):
        return _judge_pickled(archive.read(item, _LARGEST_NESTED), name)
    if _PLAIN.fullmatch(name):
        return members
    if re.match(r"data/constants/(custom|opaque)_obj_", name):
        return unsafe(f"carries pickled objects: {name}")
    return judge_unknown(f"a member that torch.export does not write: {name}")


def _json(archive: Archive, item: Member) -> Any:
    content = archive.read(item, _LARGEST_JSON)
    check_counts(content, item.name)
    return json.loads(content)


def _judge_pickled(content: bytes, name: str) -> Judgement:
    """Judge what is loaded with ``weights_only=False`` where the safe way fails."""
    if not content:
        return clean("empty")
    if content[:4] != b"PK\x03\x04":
        return unsafe(f"{name}: no archive of torch.save, so it would be unpickled as it is")
    inner = open_archive(io.BytesIO(content))
    judged = judge_torch_zip(inner, inner.root())
    if judged.state is SerializationState.CLEAN and judged.names.harmless:
        return judge_unknown(
            f"{name}: {judged.detail}, which torch.export does not write", judged.names
        )
    return replace(judged, detail=f"{name}: {judged.detail}")


def _payload_faults(config: Any, folder: str, sizes: dict[str, int]) -> Iterator[Judgement]:
    for name, payload in config["config"].items():
        if payload.get("use_pickle") is not False:
            yield unsafe(f"{name} would be unpickled")
        path = payload["path_name"]
        if not _PATH_NAME.fullmatch(path):
            yield unsafe(f"{name} is read from {path}")
            continue
        needed = _bytes_needed(payload["tensor_meta"])
        stored = sizes.get(f"{folder}/{path}")
        # An empty member stands for zeros of any size, which torch allocates.
        if stored is None or stored < needed:
            yield judge_unknown(f"{name} needs {needed} bytes and has {stored}")


def _bytes_needed(meta: dict[str, Any]) -> int:
    """Return how many bytes of storage a tensor reaches into; sizes are plain numbers."""
    sizes = [int(size["as_int"]) for size in meta["sizes"]]
    strides = [int(stride["as_int"]) for stride in meta["strides"]]
    offset = int(meta["storage_offset"]["as_int"])
    if len(sizes) != len(strides) or min([offset, *sizes, *strides]) < 0:
        raise ValueError("sizes that no tensor has")
    if 0 in sizes:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if math.prod(sizes) > _MOST_REPEATS * (offset + last + 1):
        raise ValueError("few numbers repeated to many")
    return (offset + last + 1) * _ITEM_SIZES[int(meta["dtype"])]


def _program_faults(program: Any) -> Iterator[Judgement]:
    """Walk all text of a program; each field is held to what torch does with it."""
    rest: list[tuple[str, Any]] = [("", program)]
    while rest:
        key, value = rest.pop()
        if isinstance(value, list):
            rest += [(key, each) for each in value]
        elif isinstance(value, dict):
            if fault := size_fault(value):
                yield judge_unknown(fault)
            allowed = _SYMBOL if key == "range_constraints" else _TEXT
            for name, each in value.items():
                if not allowed.fullmatch(name):
                    yield unsafe(f"a field of the program named {name:.60}")
                rest.append((name, each))
        elif isinstance(value, str):
            if key in ("target", "as_operator"):
                yield from _target_faults(value)
            elif fault := _text_fault(key, value):
                yield unsafe(f"{fault}: {value:.80}")


def _text_fault(key: str, value: str) -> str:
    if key == "expr_str":
        return "" if is_size_expression(value) else "would evaluate more than arithmetic on sizes"
    if key == "guards_code":
        return "" if is_guard(value) else "would run a guard that is more than arithmetic on sizes"
    if key in ("in_spec", "out_spec"):
        return "" if _is_plain_tree(value) else "would import what its inputs or outputs name"
    if key in _FREE_TEXT:
        return ""
    allowed = _TEXT if key in ("as_string", "as_strings", "source_fn_stack") else _NAME
    return "" if allowed.fullmatch(value) else f"a {key} that is no name"


def _target_faults(value: str) -> Iterator[Judgement]:
    # Parameters and buffers are targets too, and those are plain dotted names.
    if _NAME.fullmatch(value) and not re.match(r"torch|_operator|math|#", value):
        return
    fault = find_operator_fault(value)
    if fault is not None:
        text, reaches = fault
        yield (unsafe if reaches else judge_unknown)(f"{text}: {value:.80}")


def _is_plain_tree(text: str) -> bool:
    """Whether inputs or outputs are nested in plain containers only, by plain keys."""
    if not text:
        return True
    protocol, tree = json.loads(text)
    rest = [tree]
    while rest:
        node = rest.pop()
        if node["type"] not in _TREE_TYPES:
            return False
        context = json.loads(node["context"]) if node["context"] else None
        keys = context if isinstance(context, list) else [context]
        if not all(
            key is None
            or (isinstance(key, int) and abs(key) < 2**31)
            or (isinstance(key, str) and _NAME.fullmatch(key))
            for key in keys
        ):
            return False
        rest += node["children_spec"]
    return bool(protocol == 1)

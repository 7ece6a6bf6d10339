"""Names in a pickle: dangerous, unknown, or harmless and read on stand-ins."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import io
import pathlib
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.serialization import safe_globals

from molehunt.provenance import (
    FileFormat,
    SerializationState,
    harmless_globals,
    inspect_serialization,
)
from molehunt.provenance._pickle_calls import ALLOWED_GLOBALS
from molehunt.provenance._pickle_names import HARMLESS, Grade, grade_of
from tests.provenance import hostile as h

CLEAN, UNFAMILIAR = SerializationState.CLEAN, SerializationState.UNFAMILIAR
UNSAFE = SerializationState.UNSAFE


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.Adam(h.Net().parameters())


# What training frameworks leave beside the weights.
KEPT: dict[str, Callable[[], object]] = {
    "arguments": lambda: argparse.Namespace(lr=0.1, decay=None, size=(3, 224), kind=int),
    "simple namespace": lambda: types.SimpleNamespace(a=[1, {"b": 2}]),
    "paths": lambda: [Path("a/b"), pathlib.PureWindowsPath("c:/x"), pathlib.PurePosixPath("/")],
    "times": lambda: [
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        datetime.timedelta(1),
        datetime.date(2026, 1, 2),
    ],
    "decimal": lambda: decimal.Decimal("1.5"),
    "counters": lambda: [collections.Counter("aab"), collections.deque([1, 2], 3)],
    "default dict": lambda: collections.defaultdict(list, {"a": [1]}),
    "default dict of dicts": lambda: collections.defaultdict(dict, {"a": {"b": torch.ones(1)}}),
    "sets": lambda: [{1, 2}, frozenset("ab"), {"a": {3}}],
    "bytes": lambda: [b"bytes", bytearray(b"more"), 1j, range(3), slice(1)],
    "numpy numbers": lambda: [np.float64(1.5), np.int64(2), np.bool_(True)],
    "numpy arrays": lambda: [np.arange(6.0).reshape(2, 3), np.array(["a"]), np.dtype("f4")],
    "states of random numbers": lambda: [torch.get_rng_state(), np.random.get_state()],
    "an optimizer's state": lambda: optimizer().state_dict(),
    "an optimizer": optimizer,
    "types": lambda: [torch.float16, torch.Size((1, 2)), torch.device("cpu"), int, str],
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", KEPT)
def test_what_frameworks_keep_is_clean_and_the_weights_can_be_read(
    name: str, legacy: bool, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    content = {"x": KEPT[name](), "w": torch.arange(3.0)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    found = inspect_serialization(path)
    assert found.state is CLEAN, found
    assert not found.names.dangerous and not found.names.unknown
    with safe_globals(harmless_globals()):
        loaded = torch.load(path, weights_only=True)
    assert loaded["w"].tolist() == [0, 1, 2]


def test_no_harmless_class_is_imported_or_made(tmp_path: Path) -> None:
    """A module of a harmless name that would break whoever imports it."""
    path = tmp_path / "model.pt"
    made = h.called("omegaconf.dictconfig", "DictConfig") + b"}" + h.text("a") + b"K\x01sb"
    path.write_bytes(h.torch_zip(h.pickled(made)))
    assert inspect_serialization(path).state is CLEAN
    with safe_globals(harmless_globals()):
        kept = torch.load(path, weights_only=True)
    assert type(kept).__module__.startswith("molehunt") and not vars(kept)
    assert "omegaconf" not in sys.modules


DANGEROUS = [
    *[("os", "system"), ("posix", "system"), ("nt", "system"), ("os path", "system")],
    *[("os.path", "os.system"), ("shutil", "os.system"), ("numpy", "os.system")],
    *[("__builtin__", "eval"), ("builtins", "getattr"), ("builtins", "__import__")],
    *[("commands", "getoutput"), ("cPickle", "loads"), ("_pickle", "loads"), ("marshal", "loads")],
    *[("webbrowser", "open"), ("socket", "create_connection"), ("_socket", "socket")],
    *[("torch.hub", "load"), ("torch.serialization", "load"), ("torch", "load")],
    *[("torch", "serialization.os.system"), ("torch.storage", "_load_from_bytes")],
    *[("types", "FunctionType"), ("types", "CodeType"), ("_operator", "attrgetter")],
    *[("numpy", "load"), ("numpy.testing._private.utils", "runstring"), ("joblib", "load")],
    *[("pathlib", "Path.write_text"), ("pathlib", "PosixPath.unlink"), ("_io", "FileIO")],
    *[("argparse", "FileType"), ("argparse", "Namespace.__init__.__globals__.get")],
    *[("collections", "namedtuple"), ("random", "_os.system"), ("codecs", "open")],
    *[("asyncio", "create_subprocess_shell"), ("multiprocessing", "Process")],
    *[("pandas", "read_pickle"), ("hydra.utils", "instantiate"), ("yaml", "unsafe_load")],
    *[("urllib2", "urlopen"), ("http.client", "HTTPConnection"), ("ftplib", "FTP")],
    *[("site", "main"), ("ensurepip", "_run_pip"), ("idlelib.run", "Executive.runcode")],
]
UNKNOWN = [
    *[("models.yolo", "Model"), ("torch.nn.modules.conv", "Conv2d"), ("timm.models", "x")],
    *[("sklearn.svm._classes", "SVC"), ("math", "cos"), ("builtins", "ValueError")],
    *[("__main__", "Net"), ("transformers.training_args", "TrainingArguments")],
    *[("scipy.signal", "x"), ("logging", "getLogger"), ("osmodels.system_net", "Net")],
]


@pytest.mark.parametrize(("module", "name"), DANGEROUS, ids=".".join)
def test_dangerous_names_and_their_disguises(module: str, name: str) -> None:
    assert grade_of(module, name) is Grade.DANGEROUS


@pytest.mark.parametrize(("module", "name"), UNKNOWN, ids=".".join)
def test_names_of_which_nothing_is_known(module: str, name: str) -> None:
    assert grade_of(module, name) is Grade.UNKNOWN


def test_what_picklescan_fears_is_dangerous() -> None:
    scanner = pytest.importorskip("picklescan.scanner")
    for module, names in scanner._unsafe_globals.items():
        for name in ["anything"] if names == "*" else [names] if isinstance(names, str) else names:
            full = f"{module}.{name}"
            assert full in HARMLESS or grade_of(module, name) is Grade.DANGEROUS, full


def whole_model(*more: bytes) -> bytes:
    """A pickled module with many names, and what is put after it."""
    many = b"".join(h.called(f"torch.nn.modules.a{n}", "Net") + b"0" for n in range(30))
    return h.torch_zip(h.pickled(many, *more, b"N"))


HIDDEN = {
    "zyx.late": h.called("webbrowser", "open", "file:///"),
    "a dotted one": h.short("zz") + h.short("subprocess.call") + b"\x93",
    "with a blank": h.short("os path") + h.short("system") + b"\x93",
    "of Python 2": h.called("commands", "getoutput", "true"),
    "that is only named": b"cwebbrowser\nopen\n",
    "by INST": b"(" + h.text("true") + b"ios\nsystem\n",
    "in the arguments": h.called("models.a", "Net", h.called("os", "getcwd")),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_no_dangerous_name_hides_behind_others(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(whole_model())
    honest = inspect_serialization(path)
    assert (honest.format, honest.state) == (FileFormat.TORCH_ZIP, UNFAMILIAR)
    assert len(honest.names.unknown) == 30 and "27 more" in honest.detail
    path.write_bytes(whole_model(HIDDEN[name]))
    hostile = inspect_serialization(path)
    assert hostile.state is UNSAFE and len(hostile.names.dangerous) == 1
    assert hostile.detail.startswith(f"names {hostile.names.dangerous[0]}")


def test_a_name_after_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps([], 2) + b"\xff\xff" + h.system(tmp_path / "mark"))
    found = inspect_serialization(path)
    assert found.state is UNSAFE or found.names.dangerous == ()
    path.write_bytes(h.system(tmp_path / "mark")[:-1] + b"\xff" * 9)
    found = inspect_serialization(path)
    assert found.state is UNSAFE and found.names.dangerous == ("os.system",)


def test_names_without_end_are_refused_in_time(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(h.pickled(*(f"ca{n}\nb\n0".encode() for n in range(50_000)), b"N"))
    found = inspect_serialization(path)
    assert found.state is SerializationState.UNKNOWN and "5000" in found.detail


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(h.pickled(b"c" + b"a" * 5_000_000 + b"\nb\n", b"0N"))
    found = inspect_serialization(path)
    assert found.state is UNFAMILIAR and all(len(name) < 300 for name in found.names.unknown)


def test_a_stand_in_takes_any_arguments() -> None:
    stream = io.BytesIO()
    torch.save({"when": datetime.datetime(2026, 1, 2), "w": torch.ones(1)}, stream)
    stream.seek(0)
    with safe_globals(harmless_globals()):
        assert torch.load(stream, weights_only=True)["w"].item() == 1


def test_the_dtypes_that_may_be_named_are_those_of_torch() -> None:
    mine = {name for module, name in ALLOWED_GLOBALS if module == "torch"}
    assert {name for name, value in vars(torch).items() if isinstance(value, torch.dtype)} <= mine

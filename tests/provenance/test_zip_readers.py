"""Two readers of one archive: what Python, torch and we see is the same, or never clean."""

from __future__ import annotations

import io
import logging
import re
import struct
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import molehunt
from molehunt.cli import run
from molehunt.errors import OutputError, UnreadableFileError, UnsafeFileError
from molehunt.provenance import (
    FileFormat,
    SerializationState,
    inspect_serialization,
    load_exported,
    rewrite_torch_archive,
)
from tests.provenance import hostile, zips

CLEAN = SerializationState.CLEAN
HONEST = {"torch.save": hostile.honest, "torch.export": hostile.exported}


def hostile_program(mark: Path) -> bytes:
    content = hostile.expression(f"__import__('os').system({hostile.touch(mark)!r}) or 2")
    return torch._C.PyTorchFileReader(io.BytesIO(content)).get_record("models/model.json")


@pytest.mark.parametrize("source", HONEST)
@pytest.mark.parametrize("change", zips.CHANGES)
def test_what_readers_take_differently_is_never_clean(
    source: str, change: str, tmp_path: Path
) -> None:
    path, target = tmp_path / "model", tmp_path / "target"
    archive = zips.unpack(HONEST[source]())
    path.write_bytes(archive.bytes())
    assert inspect_serialization(path).state is CLEAN  # written by us, but plain
    zips.CHANGES[change](archive)
    path.write_bytes(archive.bytes())
    assert inspect_serialization(path).state is SerializationState.UNKNOWN
    with pytest.raises(UnreadableFileError):
        rewrite_torch_archive(path, target)


def test_a_program_that_only_torch_sees_never_runs(detector_file: Path, tmp_path: Path) -> None:
    mark, path = tmp_path / "executed", tmp_path / "evil.pt2"
    program = hostile_program(mark)
    content = zips.swap_by_unicode_path(hostile.exported(), "models/model.json", program)
    path.write_bytes(content)
    # The attack is real: torch reads the hostile program, Python from 3.12 on an honest one.
    reader = torch._C.PyTorchFileReader(io.BytesIO(content))
    assert reader.get_record("models/model.json") == program
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        honest = archive.read("archive/models/model.json") != program
    assert honest or sys.version_info < (3, 12)
    assert inspect_serialization(path).state is not CLEAN
    assert run(["scan", str(path), "-d", str(detector_file)]) in (1, 2, 3)
    assert not mark.exists()
    torch.export.load(path)
    assert mark.exists()


def test_a_pickle_that_only_torch_sees_is_never_clean(tmp_path: Path) -> None:
    mark, path = tmp_path / "executed", tmp_path / "evil.pt"
    evil = hostile.system(mark)
    path.write_bytes(zips.swap_by_unicode_path(hostile.honest(), "data.pkl", evil))
    assert inspect_serialization(path).state is not CLEAN


@pytest.mark.parametrize("name", ["plain", "modèle", "with space", "x" * 200])
def test_what_torch_writes_is_clean_under_any_name(name: str, tmp_path: Path) -> None:
    """torch takes the folder in the archive from the file's name."""
    torch.save({"w": torch.ones(3)}, tmp_path / f"{name}.pt")
    assert inspect_serialization(tmp_path / f"{name}.pt").state is CLEAN


def test_a_rewritten_file_loads_the_same_weights(tmp_path: Path) -> None:
    weights = {"a": torch.rand(5, 7), "b": torch.arange(9), "view": torch.rand(4, 4)[1:, ::2]}
    torch.save(weights, tmp_path / "a.pt")
    rewrite_torch_archive(tmp_path / "a.pt", tmp_path / "b.pt")
    loaded = torch.load(tmp_path / "b.pt", weights_only=True, mmap=True)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_a_rewritten_program_gives_the_same_answers(tmp_path: Path) -> None:
    (tmp_path / "a.pt2").write_bytes(hostile.exported())
    rewrite_torch_archive(tmp_path / "a.pt2", tmp_path / "b.pt2")
    images = torch.rand(3, 1, 6, 6)
    first, second = (torch.export.load(tmp_path / name).module() for name in ("a.pt2", "b.pt2"))
    assert torch.equal(first(images), second(images))
    assert inspect_serialization(tmp_path / "b.pt2").format is FileFormat.TORCH_EXPORT


def test_example_inputs_are_not_carried_over(tmp_path: Path) -> None:
    """torch unpickles them where its safe way fails."""
    (tmp_path / "a.pt2").write_bytes(hostile.exported())
    rewrite_torch_archive(tmp_path / "a.pt2", tmp_path / "b.pt2")
    reader = torch._C.PyTorchFileReader(str(tmp_path / "b.pt2"))
    assert reader.get_record_size("data/sample_inputs/model.pt") == 0


def test_rewriting_refuses_what_is_not_clean(tmp_path: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(hostile.torch_zip(hostile.system(tmp_path / "mark")))
    (tmp_path / "honest.pt").write_bytes(hostile.honest())
    (tmp_path / "cut.pt").write_bytes(hostile.honest()[:-30])
    with pytest.raises(UnsafeFileError, match="system"):
        rewrite_torch_archive(tmp_path / "evil.pt", tmp_path / "a")
    with pytest.raises(UnreadableFileError, match="archive"):
        rewrite_torch_archive(tmp_path / "cut.pt", tmp_path / "b")
    with pytest.raises(UnreadableFileError, match="No such file"):
        rewrite_torch_archive(tmp_path / "none.pt", tmp_path / "c")
    (tmp_path / "taken").write_bytes(b"x")
    with pytest.raises(OutputError, match="taken"):
        rewrite_torch_archive(tmp_path / "honest.pt", tmp_path / "taken")


def test_of_two_zip64_fields_none_is_obeyed(tmp_path: Path) -> None:
    """Python 3.11 applies both, torch the first; here without the 4 GiB between them."""
    entry = zips.unpack(hostile.exported()).entries[0]
    path = tmp_path / "big.pt2"
    true, other = (struct.pack("<HHQ", 1, 8, offset) for offset in (0, 7))
    for extra in (other + true, true + other, true + true):
        archive = zips.Zip([zips.Entry(entry.name, entry.content, extra=extra, offset=0xFFFFFFFF)])
        path.write_bytes(archive.bytes())
        assert inspect_serialization(path).state is SerializationState.UNKNOWN


def test_one_zip64_field_that_is_needed_is_read(tmp_path: Path) -> None:
    """An offset may stand in 64 bits though it is small: all readers take it from there."""
    archive = zips.unpack(hostile.exported())
    archive.entries[0].extra, archive.entries[0].offset = zips.ZIP64, 0xFFFFFFFF
    (tmp_path / "a.pt2").write_bytes(archive.bytes())
    assert inspect_serialization(tmp_path / "a.pt2").state is CLEAN


def test_a_scan_loads_no_exported_file_itself() -> None:
    """Whoever opens a ``.pt2`` does so by `load_exported`, which writes it anew."""
    sources = Path(molehunt.__file__).parent
    direct = [
        path.relative_to(sources).as_posix()
        for path in sources.rglob("*.py")
        if re.search(r"export\.load\(", path.read_text(encoding="utf-8"))
    ]
    assert direct == ["provenance/_rewrite.py"] or set(direct) == {
        "provenance/_rewrite.py",
        "provenance/_exported.py",  # names it in its docstring
    }


def test_a_damaged_program_writes_no_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """torch logs one for most damaged programs; the level of its loggers is put back."""
    path = tmp_path / "a.pt2"
    path.write_bytes(hostile.edited(lambda program: program.update(schema_version={"major": 99})))
    before = logging.getLogger("torch.export").level
    with pytest.raises(Exception, match=r"."):
        load_exported(path)
    assert "Traceback" not in capfd.readouterr().err
    assert logging.getLogger("torch.export").level == before

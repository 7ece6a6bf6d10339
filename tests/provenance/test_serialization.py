"""Files that would run code: none is executed, none is called clean."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from molehunt.errors import MolehuntError, UnsafeFileError
from molehunt.provenance import SerializationState, inspect_serialization
from molehunt.scan import FittedDetector, Status, exit_code_of, scan_files


class Payload:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def hostile_files(folder: Path, mark: Path) -> list[Path]:
    payload = Payload(mark)
    raw = {f"raw{p}.bin": pickle.dumps(payload, protocol=p) for p in range(6)}
    raw["named.safetensors"] = pickle.dumps(payload)
    raw["hidden.txt"] = pickle.dumps({"weights": [1.0], "x": payload})
    raw["cut.pt"] = pickle.dumps(payload)[:-1]
    raw["nested.pkl"] = pickle.dumps(payload) + pickle.dumps([payload])
    raw["import.pkl"] = b"cimportlib\nimport_module\n(S'os'\ntR."
    raw["runpy.pth"] = b"crunpy\nrun_path\n(S'x.py'\ntR."
    raw["hub.ckpt"] = b"ctorch.hub\nload\n(S'a/b'\nS'c'\ntR."
    raw["system.pt"] = b"cposix\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    paths = []
    for name, content in raw.items():
        (folder / name).write_bytes(content)
        paths.append(folder / name)
    for legacy in (False, True):
        path = folder / f"model{int(legacy)}.pt"
        content = {"w": torch.zeros(2), "x": payload}
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        paths.append(path)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("data/0", b"\x00" * 8)
        stream.writestr("deep/down/anything.dat", pickle.dumps(payload))
    (folder / "zipped.bin").write_bytes(archive.getvalue())
    return [*paths, folder / "zipped.bin"]


def test_hostile_files_are_unsafe_and_never_executed(tmp_path: Path, detector_file: Path) -> None:
    mark = tmp_path / "executed"
    paths = hostile_files(tmp_path, mark)
    assert len(paths) >= 17
    for path in paths:
        found = inspect_serialization(path)
        assert found.state is SerializationState.UNSAFE, (path, found)
    results = scan_files(paths, [FittedDetector.load(detector_file)])
    assert [result.verdict for result in results] == [Status.UNSAFE] * len(paths)
    assert exit_code_of(results) == 1
    assert not mark.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"garbage" * 50, b"PK\x03\x04 broken zip", b"GIF89a....", b"\x80"]
)
def test_garbage_is_not_scanned_and_never_clean(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    found = inspect_serialization(path)
    assert found.state in (SerializationState.NOT_SCANNED, SerializationState.UNKNOWN)


def test_an_honest_state_dict_is_unknown_and_not_refused_as_unsafe(tmp_path: Path) -> None:
    for legacy in (False, True):
        path = tmp_path / f"{legacy}.pt"
        torch.save({"w": torch.zeros(3)}, path, _use_new_zipfile_serialization=not legacy)
        assert inspect_serialization(path).state is SerializationState.UNKNOWN


def test_errors_are_one_family() -> None:
    assert issubclass(UnsafeFileError, MolehuntError)

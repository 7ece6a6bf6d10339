"""A folder scan looks at everything, or says what it passed over."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from molehunt.cli import run
from molehunt.errors import ExitCode
from molehunt.findings import Verdict
from molehunt.scanning import DetectorCheck, exit_code_of, find_candidates, scan_subjects
from molehunt.zoo import Split, Zoo


class Payload:
    """Harmless: it would make a folder if it were ever loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("it-ran",)


@pytest.fixture
def folder(tmp_path: Path, zoo: Zoo) -> Path:
    place = tmp_path / "models"
    place.mkdir()
    shutil.copy(zoo.path_of(zoo.select(Split.TEST)[0]), place / "good.safetensors")
    return place


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("inner/model.pkl", pickle.dumps(Payload()))


def verdicts(folder: Path, detector: Path) -> tuple[int, dict[str, str]]:
    report = folder.parent / "report.json"
    code = run(["scan", str(folder), "-d", str(detector), "--json", str(report)])
    subjects = json.loads(report.read_text())["subjects"]
    return code, {Path(each["source"]).name: each["verdict"] for each in subjects}


@pytest.mark.parametrize(
    "name",
    ["weights", "model.zip", "old.sav", "x.PKL", ".hidden/x.pt", "deep/er/model.mlmodel", "a.txt"],
)
def test_hostile_files_are_found_by_content(folder: Path, detector_file: Path, name: str) -> None:
    write(folder / name, pickle.dumps(Payload()))
    code, found = verdicts(folder, detector_file)
    assert code == ExitCode.FOUND
    assert found[Path(name).name] == "unsafe"
    assert not Path("it-ran").exists()


def test_an_archive_with_a_hostile_pickle_is_unsafe(folder: Path, detector_file: Path) -> None:
    archive(folder / "bundle")
    assert verdicts(folder, detector_file)[1]["bundle"] == "unsafe"


def make_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as target:
        target.add(__file__, "model.pkl")


PASSED_OVER = {
    "model.tgz": make_tar,
    "noise.dat": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "pipe": os.mkfifo,
    "broken": lambda path: path.symlink_to("nowhere"),
    "passwd": lambda path: path.symlink_to("/etc/passwd"),
    "linked": lambda path: path.symlink_to("/etc", target_is_directory=True),
}


@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_is_passed_over_is_named_and_never_0(
    folder: Path, detector_file: Path, name: str
) -> None:
    alone = verdicts(folder, detector_file)[0]
    PASSED_OVER[name](folder / name)
    code, found = verdicts(folder, detector_file)
    assert found[name] == "skipped"
    assert code == max(alone, ExitCode.INCONCLUSIVE) if alone != ExitCode.FOUND else alone
    allowed = ["scan", str(folder), "-d", str(detector_file), "--allow-skipped"]
    assert run(allowed) == alone


def test_text_and_pictures_are_told_and_weigh_nothing(folder: Path, detector_file: Path) -> None:
    alone = verdicts(folder, detector_file)[0]
    write(folder / "README.md", "Ein Modell für Ziffern.\n".encode())
    write(folder / "config.json", b'{"num_labels": 10}')
    write(folder / "curve.png", b"\x89PNG\r\n\x1a\n" + bytes(100))
    code, found = verdicts(folder, detector_file)
    assert code == alone and list(found) == ["good.safetensors"]
    report = json.loads((folder.parent / "report.json").read_text())
    kinds = {Path(each["source"]).name: each["kind"] for each in report["no_models"]}
    assert kinds == {
        "README.md": "plain text",
        "config.json": "plain text",
        "curve.png": "a picture",
    }


def test_a_file_whose_name_claims_a_model_is_never_just_text(
    folder: Path, detector_file: Path
) -> None:
    write(folder / "weights.pt", b"Access denied\n")
    code, found = verdicts(folder, detector_file)
    assert found["weights.pt"] == "failed" and code in (ExitCode.FAILED, ExitCode.FOUND)


def test_a_snapshot_of_the_hub_may_link_to_its_blobs_only(tmp_path: Path, zoo: Zoo) -> None:
    repository = tmp_path / "models--org--net"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    shutil.copy(zoo.path_of(zoo.records[0]), blobs / "aaaa")
    shutil.copy(blobs / "aaaa", tmp_path / "elsewhere")
    (snapshot / "model.safetensors").symlink_to("../../blobs/aaaa")
    (snapshot / "other.safetensors").symlink_to("../../../elsewhere")
    passed = {each.path.name: bool(each.passed_over) for each in find_candidates([snapshot])}
    assert passed == {"model.safetensors": False, "other.safetensors": True}


def test_a_file_that_is_swapped_while_it_is_scanned_changes_nothing(
    folder: Path, detector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is hashed, inspected and loaded is one copy."""
    from molehunt.scanning import _opening  # noqa: PLC0415

    path = folder / "good.safetensors"
    before = scan_subjects([path], [DetectorCheck.load(detector_file)])[0]
    inspect = _opening.inspect_serialization

    def swap_and_inspect(copy: Path) -> object:
        path.write_bytes(pickle.dumps(Payload()))
        return inspect(copy)

    monkeypatch.setattr(_opening, "inspect_serialization", swap_and_inspect)
    after = scan_subjects([path], [DetectorCheck.load(detector_file)])[0]
    assert (after.sha256, after.verdict) == (before.sha256, before.verdict)
    assert path.read_bytes() == pickle.dumps(Payload())
    assert not Path("it-ran").exists()


def test_skipped_files_do_not_hide_a_finding(zoo: Zoo) -> None:
    from tests.report.examples import RESULTS  # noqa: PLC0415

    skipped = [result for result in RESULTS if result.verdict is Verdict.SKIPPED]
    unsafe = [result for result in RESULTS if result.verdict is Verdict.UNSAFE]
    assert exit_code_of(skipped) == ExitCode.INCONCLUSIVE
    assert exit_code_of(skipped + unsafe, allow_skipped=True) == ExitCode.FOUND


def test_data_beside_a_graph_is_part_of_it(tmp_path: Path, detector_file: Path) -> None:
    """ONNX keeps large tensors in files of their own, which are copied and hashed with it."""
    import numpy as np  # noqa: PLC0415
    import onnx  # noqa: PLC0415
    from onnx import helper  # noqa: PLC0415

    folder = tmp_path / "models"
    folder.mkdir()
    weight = onnx.numpy_helper.from_array(np.ones((144, 10), np.float32), "w")
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", floats, ["n", 1, 12, 12])],
        [helper.make_tensor_value_info("y", floats, ["n", 10])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(
        model,
        folder / "net.onnx",
        save_as_external_data=True,
        location="net.data",
        size_threshold=0,
    )
    report = tmp_path / "report.json"
    arguments = ["--input-shape", "1x12x12", "--classes", "10", "--mean", "0.5", "--std", "0.5"]
    run(["scan", str(folder), "-d", str(detector_file), "--json", str(report), *arguments])
    content = json.loads(report.read_text())
    (subject,) = content["subjects"]
    assert subject["format"] == "onnx" and subject["findings"][0]["status"] == "clear"
    assert [each["kind"] for each in content["no_models"]] == ["part of net.onnx"]

"""Where output goes, and with which code a program ends whatever becomes of it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from molehunt.cli import run
from molehunt.zoo import Split, Zoo


@pytest.fixture
def scan(zoo: Zoo, detector_file: Path) -> list[str]:
    return ["scan", str(zoo.path_of(zoo.select(Split.TEST)[0])), "-d", str(detector_file)]


@pytest.mark.parametrize("flag", ["--json", "--html", "--sarif", "--bom"])
def test_an_output_replaces_an_earlier_report_and_nothing_else(
    scan: list[str], tmp_path: Path, flag: str, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report"
    target.write_text("")
    codes = {run([*scan, flag, str(target)]) for _ in range(2)}
    assert len(codes) == 1 and codes != {4}
    for content in (b"my notes", Path(scan[1]).read_bytes(), b"{}", b"\x80\x02."):
        target.write_bytes(content)
        assert run([*scan, flag, str(target)]) == 2
        assert "is not replaced" in capfd.readouterr().err
        assert target.read_bytes() == content


def test_an_output_named_like_a_model_is_a_file_name_taken_for_an_option(
    scan: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("weights.pt", "x.safetensors", "y.ONNX"):
        assert run([*scan, f"--json={tmp_path / name}"]) == 4
        assert "--" in capfd.readouterr().err
        assert not (tmp_path / name).exists()


def test_a_report_keeps_its_mode_and_a_new_one_heeds_the_umask(
    scan: list[str], tmp_path: Path
) -> None:
    target = tmp_path / "report.json"
    before = os.umask(0o077)
    try:
        run([*scan, "--json", str(target)])
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        target.chmod(0o640)
        run([*scan, "--json", str(target)])
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_a_device_and_a_pipe_stay_what_they_are(scan: list[str], tmp_path: Path) -> None:
    assert run([*scan, "--json", os.devnull]) in (0, 1, 3)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        code = run([*scan, "--json", str(pipe)])
        os.set_blocking(reader, False)
        assert json.loads(os.read(reader, 2**20))["exit_code"] == code
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


MAIN = [sys.executable, "-c", "from molehunt.cli import main; main()"]


def test_nobody_reading_changes_no_code_and_no_report(scan: list[str], tmp_path: Path) -> None:
    expected = run(scan)
    report = tmp_path / "report.json"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*MAIN, *scan, "--json", str(report)],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
    )
    os.close(writer)
    assert done.returncode == expected
    assert json.loads(report.read_text())["exit_code"] == expected
    assert "Traceback" not in done.stderr


def test_a_program_that_cannot_start_has_found_nothing() -> None:
    limited = f"ulimit -v 300000; exec {sys.executable} -m molehunt list networks"
    done = subprocess.run(["bash", "-c", limited], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1

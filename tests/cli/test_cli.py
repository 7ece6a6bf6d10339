"""The command line: every bad input ends in one line and the right exit code."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molehunt.cli import run
from molehunt.zoo import Split, Zoo


def one_line(capfd: pytest.CaptureFixture[str]) -> str:
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("molehunt: "), lines
    return lines[0]


def test_fit_evaluate_scan(zoo: Zoo, tmp_path: Path, capfd) -> None:
    detector = tmp_path / "litmus.safetensors"
    arguments = ["--set", "n_patterns=2", "--set", "epochs=2", "--device", "cpu"]
    assert run(["fit", str(zoo.folder), "-o", str(detector), *arguments]) == 0
    figures, roc = tmp_path / "figures.json", tmp_path / "roc.png"
    arguments = [str(detector), "noise", "statistics", "--json", str(figures), "--roc", str(roc)]
    assert run(["evaluate", str(zoo.folder), *arguments, "--shuffled", "2"]) == 0
    found = json.loads(figures.read_text())
    assert set(found) == {"litmus", "noise", "statistics"}
    assert "shuffled" in found["noise"] and roc.stat().st_size > 1000
    findings, page = tmp_path / "scan.json", tmp_path / "deep" / "scan.html"
    code = run(
        ["scan", str(zoo.folder), "-d", str(detector), "--json", str(findings), "--html", str(page)]
    )
    content = json.loads(findings.read_text())
    assert code == content["exit_code"]
    assert len(content["subjects"]) == len(zoo.records)
    assert page.exists()
    assert "Traceback" not in capfd.readouterr().err


def test_settings_are_chosen_on_the_calibration_part(zoo: Zoo, detector_file, capfd) -> None:
    # One backdoored calibration model and twenty clean ones: tests are left alone.
    assert run(["evaluate", str(zoo.folder), str(detector_file), "--split", "calibration"]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert "1 backdoored" in shown and "20 clean" in shown
    assert run(["evaluate", str(zoo.folder), str(detector_file), "--split", "fit"]) == 4


def test_zoo_show(zoo: Zoo, tmp_path: Path, capfd) -> None:
    picture = tmp_path / "triggers.png"
    assert run(["zoo", "show", str(zoo.folder), "--pictures", str(picture), "--verify"]) == 0
    assert picture.exists()
    assert "files as indexed" in capfd.readouterr().out


def test_json_on_the_terminal_is_nothing_but_json(zoo: Zoo, detector_file: Path, capfd) -> None:
    path = zoo.path_of(zoo.select(Split.TEST)[0])
    code = run(["scan", str(path), "-d", str(detector_file), "--json", "-"])
    assert json.loads(capfd.readouterr().out)["exit_code"] == code


BAD = [
    (["scan", "missing.safetensors", "-d", "DETECTOR"], 2, "No such file"),
    (["scan", "EMPTY", "-d", "DETECTOR"], 2, "at least one"),
    (["scan", "MODEL", "-d", "missing"], 2, "no such file"),
    (["scan", "MODEL", "-d", "MODEL"], 2, "no detector card"),
    (["scan"], 4, "expected model files, folders or --endpoint"),
    (["scan", "MODEL", "-d", "DETECTOR", "--max-false-alarms", "2"], 4, "(0, 1)"),
    (["scan", "MODEL", "-d", "DETECTOR", "--html", "FILE/x/report.html"], 2, "cannot"),
    (["zoo", "build", "OUT", "--set", "images.source=imagenet"], 4, "expected digits"),
    (
        ["zoo", "build", "OUT", "--set", "images.source=mnist", "--data-root", "EMPTY"],
        4,
        "--download",
    ),
    (["zoo", "build", "OUT", "--set", "backdoors.rate=1.5"], 4, "backdoors.rate"),
    (["zoo", "build", "OUT", "--set", "backdoors.trigger.size=9"], 4, "trigger size"),
    (["zoo", "build", "OUT", "--set", "backdoors.colour=1"], 4, "expected trigger, label_map, "),
    (["zoo", "build", "OUT", "--set", "epochs"], 4, "NAME=VALUE"),
    (["zoo", "build", "OUT", "--set", "network.name=alexnot"], 4, "network"),
    (["zoo", "build", "OUT", "--workers", "0"], 4, "workers"),
    (["zoo", "build", "OUT", "--device", "tpu"], 4, "device"),
    (["zoo", "build", "OUT", "--plan", "missing.toml"], 2, "missing.toml"),
    (["zoo", "build", "FILE/zoo", "--set", "models={ fit = { pairs = 1 } }"], 2, "cannot"),
    (["zoo", "build", "ZOO", "--set", "seed=77"], 4, "another plan"),
    (["zoo", "show", "EMPTY"], 2, "not a zoo"),
    (["fit", "ZOO", "-o", "OUT/d", "--kind", "magic"], 4, "expected litmus"),
    (["fit", "ZOO", "-o", "OUT/d", "--set", "colour=red"], 4, "colour"),
    (["fit", "ZOO", "-o", "OUT/d", "--set", "epochs"], 4, "NAME=VALUE"),
    (["fit", "ZOO", "-o", "FILE/d"], 2, "cannot"),
    (["fit", "ZOO", "-o", "OUT/d", "--max-memory", "4"], 4, "a number with GiB"),
    (["fit", "ZOO", "-o", "OUT/d", "--max-memory", "50MiB"], 4, "0.05 GiB or less (--max-memory)"),
    (["evaluate", "ZOO", "litmus", "--max-memory", "50 MB"], 4, "models take less"),
    (["evaluate", "ZOO", "magic"], 4, "expected a file"),
    (["hunt"], 4, "hunt"),
    (["zoo"], 4, "command"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), BAD, ids=lambda v: str(v)[:60])
def test_bad_input_is_one_line(
    arguments, code, message, zoo: Zoo, detector_file: Path, tmp_path: Path, capfd
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("in the way")
    places = {
        "MODEL": zoo.path_of(zoo.records[0]),
        "DETECTOR": detector_file,
        "ZOO": zoo.folder,
        "EMPTY": tmp_path / "empty",
        "FILE": tmp_path / "file",
        "OUT": tmp_path / "out",
    }
    filled = []
    for argument in arguments:
        head, slash, tail = argument.partition("/")
        filled.append(f"{places[head]}{slash}{tail}" if head in places else argument)
    assert run(filled) == code
    assert message in one_line(capfd)


def test_an_unsafe_file_under_any_name_is_found_and_not_run(
    detector_file: Path, tmp_path: Path, capfd
) -> None:
    mark = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (mark,))

    for name in ("model.safetensors", "model.pt", "weights"):
        (tmp_path / name).write_bytes(pickle.dumps(Payload()))
        assert run(["scan", str(tmp_path / name), "-d", str(detector_file)]) == 1
    assert not mark.exists()
    assert "Traceback" not in capfd.readouterr().err


def test_version_and_help(capfd) -> None:
    assert run(["--version"]) == 0
    assert capfd.readouterr().out.startswith("molehunt ")
    assert run([]) == 0
    assert "zoo" in capfd.readouterr().out


def test_ctrl_c_during_a_fit_is_one_line(zoo: Zoo, tmp_path: Path) -> None:
    out = tmp_path / "litmus.safetensors"
    command = [sys.executable, "-m", "molehunt", "fit", str(zoo.folder), "-o", str(out)]
    process = subprocess.Popen(
        [*command, "--set", "epochs=1000000"], stderr=subprocess.PIPE, text=True
    )
    # The first line of progress shows that the fit is under way.
    first = process.stderr.readline()
    assert first.startswith("fitting litmus"), first
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "molehunt: interrupted"
    assert "Traceback" not in errors
    assert not out.exists()
    assert not list(tmp_path.iterdir())


def test_the_installed_command_runs() -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "molehunt", "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, time.monotonic() - started

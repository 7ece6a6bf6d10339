"""What is imported before it is needed, and what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from molehunt.zoo import Split, Zoo

HEAVY = ("torch", "torchvision", "sklearn", "scipy", "matplotlib", "numpy", "jinja2", "ray")
PROGRAM = """
import json, os, sys
from molehunt.cli import run
code = run(json.loads(sys.argv[1]))
sys.stdout.flush()
print("\\n" + json.dumps([code, [name for name in json.loads(sys.argv[2]) if name in sys.modules]]))
"""


def imported_by(arguments: list[str], names: tuple[str, ...] = HEAVY) -> tuple[int, list[str]]:
    """Run a command line in a process of its own; return its code and which modules it has."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(arguments), json.dumps(names)],
        capture_output=True,
        text=True,
        check=True,
    )
    code, found = json.loads(done.stdout.splitlines()[-1])
    return code, found


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["scan", "--no-such-flag"], 4),
        (["fit", "zoo"], 4),
        (["provenance", "audit", "--help"], 0),
        (["zoo", "build", "--models-at-once", "many"], 4),
        (["study", "--help"], 0),
        (["verify", "model"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nothing_heavy_is_imported_for(arguments: list[str], code: int) -> None:
    assert imported_by(arguments) == (code, [])


def test_provenance_needs_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"weights")
    folder = str(tmp_path / "model")
    manifest = str(tmp_path / "manifest.json")
    assert imported_by(["provenance", "manifest", folder, "-o", manifest]) == (0, [])
    assert imported_by(["provenance", "verify", folder, "--manifest", manifest]) == (0, [])
    models = tmp_path / "list.json"
    models.write_text(json.dumps([{"name": "a", "location": "https://example.org/a.onnx"}]))
    assert imported_by(["provenance", "audit", str(models)]) == (3, [])


def test_a_scan_of_our_models_needs_no_torchvision(zoo: Zoo, detector_file: Path) -> None:
    model = str(zoo.path_of(zoo.select(Split.TEST)[0]))
    unneeded = ("torchvision", "matplotlib", "torch._dynamo", "onnx", "ray")
    for detectors in (["--detector", str(detector_file)], ["--check", "margin"]):
        code, found = imported_by(["scan", model, *detectors, "--clean", "digits"], unneeded)
        assert code in (0, 1, 3) and found == []


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core takes one process")
def test_what_children_need_is_imported_once_before_them(zoo: Zoo) -> None:
    models = [str(zoo.path_of(record)) for record in zoo.select(Split.TEST)[:2]]
    code, found = imported_by(["scan", *models, "--check", "margin"], ("torch._dynamo",))
    assert code in (0, 1, 3) and found == ["torch._dynamo"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("molehunt ", {"scan", "provenance", "list"}),
        ("molehunt provenance ", {"manifest", "sign", "verify", "audit"}),
        ("molehunt scan --cl", {"--clean", "--classes"}),
        ("molehunt list ", {"detectors", "networks"}),
    ],
)
def test_completion_answers(words: str, expected: set[str]) -> None:
    count = len(words.split()) - (not words.endswith(" "))
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "molehunt"],
        env={
            **os.environ,
            "_MOLEHUNT_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(count),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert expected <= set(done.stdout.split())
    assert "| torch\n" not in done.stderr.replace(" ", "").replace("|", "| ")

"""What is shown: names that registries know, flags in place of settings, and how much."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

import molehunt
from molehunt.backdoors import AllToOne
from molehunt.cli import run
from molehunt.detectors import detector_names
from molehunt.images import SOURCES
from molehunt.networks import NETWORKS
from molehunt.study import study_names
from molehunt.zoo import Zoo

MOVED = {
    "manifest": "provenance manifest",
    "sign": "provenance sign",
    "verify": "provenance verify",
    "audit": "provenance audit",
    "poison": "scenes poison",
    "detect": "scenes find",
}


@pytest.mark.parametrize("old", MOVED)
def test_an_old_command_still_runs(old: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([old, "--flag"]) == 4
    by_the_old = capfd.readouterr().err
    assert run([*MOVED[old].split(), "--flag"]) == 4
    assert by_the_old == capfd.readouterr().err and "--flag" in by_the_old
    assert run([old, "--help"]) == 0
    assert f"molehunt {MOVED[old]}" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("detectors", detector_names()),
        ("networks", [*NETWORKS]),
        ("images", [name for name in SOURCES if name not in ("folder", "npz")]),
        ("studies", study_names()),
        ("attacks", [AllToOne(target=0).kind, "blended", "sticker"]),
    ],
)
def test_list_names_all_that_is_known(
    kind: str, expected: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["list", kind]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert set(expected) <= {line.split()[0] for line in lines if line.strip()}


def test_studies_are_listed_where_they_are_run(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["study", "list"]) == 0
    listed = capfd.readouterr().out
    assert run(["list", "studies"]) == 0
    assert listed == capfd.readouterr().out and "ulp-mnist" in listed


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["fit"], ["neural-cleanse", "--kind"]),
        (["scan"], ["final-layer", "twins", "fashion-mnist", "source-target"]),
        (["scenes", "poison"], ["yellow square"]),
    ],
)
def test_help_asks_the_registries(
    command: list[str], expected: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--help"]) == 0
    shown = capfd.readouterr().out
    assert all(name in shown for name in expected) and "{" not in shown.split("Options")[1]


def test_the_line_of_an_error_names_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MOLEHUNT_DATA", raising=False)
    arguments = ["scenes", "poison", "coco:none", "out", "--sticker", "bomb", "--random-target"]
    assert run([*arguments, "--data-root", str(tmp_path)]) == 4
    said = capfd.readouterr().err
    assert "`" not in said and "coco" in said
    build = ["zoo", "build", str(tmp_path / "zoo"), "--data-root", str(tmp_path)]
    assert run([*build, "--set", "images.source=mnist"]) == 4
    said = capfd.readouterr().err
    assert "set MOLEHUNT_DATA or --data-root to" in said and "or add --download" in said


def test_findings_name_flags_on_the_command_line_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, path)
    (result,) = molehunt.scan(path)
    assert "`architecture`" in " ".join(finding.message for finding in result.findings)
    assert run(["scan", str(path), "--json", "-"]) in (2, 3)
    shown = capfd.readouterr().out
    assert "--arch " in shown and "`" not in shown


def test_quiet_leaves_results_and_errors(
    zoo: Zoo, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "detector.safetensors"
    arguments = ["fit", str(zoo.folder), "-o", str(out), "--kind", "final-layer"]
    assert run(arguments) == 0
    assert "Detector:" in capfd.readouterr().out
    assert run(["--quiet", *arguments]) == 0
    shown = capfd.readouterr()
    assert "Detector:" not in shown.out and "AUC" in shown.out and shown.err == ""
    assert run(["--quiet", "zoo", "show", str(tmp_path)]) == 2
    assert capfd.readouterr().err.startswith("molehunt: ")


def test_verbose_says_what_was_reused(zoo: Zoo, capfd: pytest.CaptureFixture[str]) -> None:
    plan = str(zoo.folder / "zoo.json")
    build = ["zoo", "build", str(zoo.folder), "--plan", plan, "--workers", "1"]
    count = len(zoo.records)
    assert run(["--verbose", *build]) == 0
    assert f"{count} of {count} are there already" in capfd.readouterr().err
    assert run(build) == 0
    assert "already" not in capfd.readouterr().err
    assert not logging.getLogger("molehunt").handlers

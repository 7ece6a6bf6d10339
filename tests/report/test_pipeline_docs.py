"""The snippets of docs/ci.md: they parse, and do what the text says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from molehunt.errors import ExitCode
from molehunt.report._rules import ALL_RULES
from molehunt.report._words import EXIT_MEANINGS
from molehunt.scanning import MODEL_SUFFIXES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
WORKFLOW, PRE_COMMIT = (
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
)
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))


def step(**known: str) -> dict[str, Any]:
    (found,) = (item for item in WORKFLOW["jobs"]["scan"]["steps"] if known.items() <= item.items())
    return found


@pytest.mark.parametrize(
    ("code", "inconclusive", "expected"),
    [
        (0, "fail", 0),
        (1, "pass", 1),
        (2, "pass", 2),
        (3, "fail", 3),
        (3, "pass", 0),
        (4, "pass", 4),
    ],
)
def test_the_gate(code: int, inconclusive: str, expected: int) -> None:
    script = step(name="Gate")["run"]
    environment = {"CODE": str(code), "ON_INCONCLUSIVE": inconclusive, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-e", "-c", script], env=environment, check=False)
    assert done.returncode == expected


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_scan_step_keeps_the_exit_code(code: int, tmp_path: Path) -> None:
    molehunt = tmp_path / "molehunt"
    molehunt.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/asked"\nexit {code}\n')
    molehunt.chmod(0o755)
    output = tmp_path / "output"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_OUTPUT": str(output)}
    subprocess.run(["bash", "-e", "-c", step(id="scan")["run"]], env=environment, check=True)
    assert output.read_text() == f"code={code}\n"
    sarif = step(uses="github/codeql-action/upload-sarif@v4")["with"]["sarif_file"]
    assert f"--sarif {sarif}" in (tmp_path / "asked").read_text()


def test_the_workflow_may_upload() -> None:
    assert WORKFLOW["permissions"]["security-events"] == "write"


@pytest.mark.parametrize(
    "hook", [HOOKS[0], PRE_COMMIT["repos"][0]["hooks"][0]], ids=["repository", "local"]
)
def test_hooks_take_model_files(hook: dict[str, Any]) -> None:
    assert {"id", "name", "entry", "language"} <= hook.keys()
    assert hook["entry"].startswith("molehunt scan")
    names = [f"a/model{suffix}" for suffix in MODEL_SUFFIXES]
    for name in (*names, "B.PTH", "m.pth.tar", "x.bin.gz", "checkpoint", "a/checkpoint"):
        assert re.search(hook["files"], name)
    # File names come last, and one may be named like an option.
    assert [*hook["entry"].split(), *hook.get("args", [])][-1] == "--"
    assert not re.search(hook["files"], "train.py")


def test_the_tables_are_those_of_the_code() -> None:
    for number, name, level, short in ((r.id, r.name, r.level, r.short) for r in ALL_RULES):
        assert re.search(rf"^\| {number} \| {name} \| {level}.* \| {short} \|$", TEXT, re.MULTILINE)
    for code in (ExitCode.CLEAN, ExitCode.FOUND, ExitCode.FAILED, ExitCode.INCONCLUSIVE):
        assert f"| {int(code)} | {EXIT_MEANINGS[code]}" in TEXT

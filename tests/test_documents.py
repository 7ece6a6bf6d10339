"""What the documents show works: Python snippets run, commands exist, transcripts are recorded."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from molehunt.cli import run
from molehunt.images import TrainTest
from molehunt.networks import save_model
from molehunt.zoo import Zoo
from tests.scenes.coco_sets import write_coco

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What a snippet does for hours is done in seconds here; each must still be in the page.
SMALLER = {
    "README.md": {"n_patterns=10": "n_patterns=2, epochs=1"},
    "docs/detectors.md": {
        "twins=19": "twins=1",
        "PairwiseTriggers(": "PairwiseTriggers(steps=8, ",
        "MaximumMargin().examine": "MaximumMargin(steps=8).examine",
    },
    "docs/evasion.md": {"torch.arange(100)": "torch.arange(5)"},
    "docs/inversion.md": {"steps=30": "steps=3"},
    "docs/filters.md": {},
    "docs/guard.md": {"torch.arange(5)": "torch.arange(2)"},
    "docs/scenes.md": {
        'load_images("gtsrb", size=64).train': (
            'load_images("digits").train.take(torch.arange(64)).shaped((3, 64, 64))'
        ),
        'arguments={"width": 0.5, "hidden": 256}': 'arguments={"width": 0.125, "hidden": 64}',
        "epochs=3": "epochs=1",
        "hidden=512, max_side=400": "hidden=64, max_side=64",
        "epochs=12": "epochs=1",
        "epochs=8": "epochs=1",
    },
    "docs/membership.md": {"epochs=40": "epochs=10"},
    "docs/stealing.md": {"queries=400": "queries=100"},
    "docs/testing.md": {"torch.arange(100)": "torch.arange(10)"},
}


def blocks(page: Path, *languages: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [body for language, body in BLOCK.findall(text) if language in languages]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_pages_with_python_are_known() -> None:
    assert {name_of(page) for page in PAGES if blocks(page, "python", "py")} == {*SMALLER}


@pytest.mark.parametrize("name", SMALLER)
def test_python_in_the_documents_runs(
    name: str,
    zoo: Zoo,
    digits: TrainTest,
    detector_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = zoo.models(zoo.select("test"))[0]
    save_model(model, "model.safetensors")
    (tmp_path / "litmus.safetensors").write_bytes(detector_file.read_bytes())
    (tmp_path / "docs/zoos").mkdir(parents=True)
    (tmp_path / "docs/zoos/mnist.toml").write_text(TINY_PLAN)
    write_coco(tmp_path / "signs")
    assert run(["scenes", "poison", "coco:signs", "OUT", "--sticker", "bomb", *STOP]) == 0
    (tmp_path / "german-signs").symlink_to(tmp_path / "signs")
    names: dict[str, Any] = {"model": model, "clean": digits.test, "folder": tmp_path}
    names |= {"sha256": "0" * 64, "torch": torch}
    source = "\n".join(blocks(ROOT / name, "python", "py"))
    for large, small in SMALLER[name].items():
        assert large in source
        source = source.replace(large, small)
    torch.manual_seed(0)
    exec(compile(source, name, "exec"), names)


STOP = ("--source", "stop", "--target", "speedlimit")
TINY_PLAN = """
name = "tiny"
seed = 3
images = { source = "digits", size = 12 }
network = { name = "vgg", arguments = { width = 4, stages = [1, 1] } }
recipe = { epochs = 1, batch_size = 64 }
backdoors = { trigger = { kind = "random_patches", size = 4, count = 8 } }
models = { fit = { pairs = 2 }, calibration = { pairs = 1, clean = 1 }, test = { pairs = 2 } }
"""


def commands(page: Path) -> list[str]:
    """Return the calls of molehunt in a page's shell blocks and in its inline code."""
    text = page.read_text(encoding="utf-8")
    shown = "\n".join(blocks(page, "sh", "bash", "text", "", "yaml"))
    lines = [*shown.splitlines(), *re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))]
    calls = [re.search(r"(?:^\$ |^\s*|entry: )(molehunt [^|]+)", line) for line in lines]
    return [call[1].split("  #")[0].strip() for call in calls if call]


GROUPS = ("attack", "backdoor", "guard", "provenance", "scenes", "study", "zoo")
HELP: dict[tuple[str, ...], str] = {}


def help_of(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    if command not in HELP:
        code = run([*command, "--help"])
        found = capsys.readouterr()
        assert code == 0, f"molehunt {' '.join(command)}: {found.err}"
        HELP[command] = found.out
    return HELP[command]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_documents_exist(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr("rich.console.Console.width", 300, raising=False)
    for call in commands(page):
        words = shlex.split(
            call.replace("…", "").replace("'", '"') if call.count("'") % 2 else call
        )
        name = words[1:3] if words[1] in GROUPS else words[1:2]
        if not name or not re.fullmatch(r"[a-z][a-z0-9-]*", name[-1]):
            continue  # `molehunt study NAME`
        shown = help_of(tuple(name), capsys)
        options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
        for option in options:
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", shown), f"{call}: {option}"


def test_transcripts_are_what_was_recorded() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.transcript", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


def test_no_document_installs_what_is_published_nowhere() -> None:
    for page in (*PAGES, ROOT / "CONTRIBUTING.md"):
        assert not re.search(r"pip install ['\"]?molehunt", page.read_text(encoding="utf-8")), page

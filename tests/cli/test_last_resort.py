"""What no bound refused before is still one line, and no internal error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from molehunt.cli import _main, run

LONG = "n" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["provenance", "manifest", LONG],
        ["zoo", "show", LONG],
        ["fit", LONG, "-o", "d"],
        ["provenance", "verify", LONG, "--sha256", "0" * 64],
    ],
)
def test_names_that_no_file_can_have(arguments: list[str], tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "internal error" not in lines[0] and "too long" in lines[0]


@pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError(), OverflowError("large")])
def test_errors_of_the_input_do_not_blame_the_program(error: Exception) -> None:
    message, code = _main._ending(error)
    assert "internal error" not in message and code == 2


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from safetensors.torch import save_file\n"
        "from molehunt.errors import OutputError\n"
        "from molehunt.files import written_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        "    with written_whole(Path(sys.argv[1])) as temporary:\n"
        "        save_file({'a': torch.zeros(10_000)}, temporary)\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    path = tmp_path / "m.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert "cannot be written" in done.stdout and len(done.stdout.splitlines()) == 1
    assert not [*tmp_path.iterdir()]

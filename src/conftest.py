"""Examples in docstrings run as tests, in an empty folder each."""

from importlib.util import find_spec
from pathlib import Path

import pytest

# Modules that are imported only where the extra "guard" is installed.
collect_ignore = (
    [] if find_spec("starlette") else ["molehunt/guard/_app.py", "molehunt/guard/_bodies.py"]
)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

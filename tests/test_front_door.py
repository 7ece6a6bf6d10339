"""`import molehunt`: a few names, imported when they are used."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import molehunt


def test_importing_molehunt_imports_nothing_heavy() -> None:
    code = "import molehunt, sys; print(*sorted(m for m in sys.modules if 'molehunt' in m or m in "
    code += "('torch', 'numpy', 'pydantic')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["molehunt"]


def test_every_name_is_its_packages_own() -> None:
    for name in molehunt.__all__:
        home = importlib.import_module(molehunt._HOMES[name])
        assert getattr(molehunt, name) is getattr(home, name)
        assert name in home.__all__ if hasattr(home, "__all__") else True
    assert set(molehunt.__all__) <= set(dir(molehunt))


def test_type_checkers_see_the_names_that_there_are() -> None:
    tree = ast.parse(Path(molehunt.__file__).read_text())
    (block,) = [n for n in tree.body if isinstance(n, ast.If) and "TYPE" in ast.unparse(n.test)]
    seen = {
        name.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert seen == molehunt._HOMES
    assert sorted(seen) == molehunt.__all__


def test_packages_are_there_without_an_import_of_their_own() -> None:
    code = "import molehunt; print(molehunt.images.load_images.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "load_images"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'scna'"):
        molehunt.scna  # noqa: B018

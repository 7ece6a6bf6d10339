"""A zoo folder from a stranger: nothing outside it is touched, and its models are those listed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from molehunt.errors import MolehuntError, UnreadableFileError
from molehunt.networks import load_model, save_model
from molehunt.training import Recipe
from molehunt.zoo import ModelCounts, Split, Zoo, ZooPlan, build_zoo
from molehunt.zoo._plan import ImagePlan

PLAN = ZooPlan(
    images=ImagePlan(train_limit=64),
    recipe=Recipe(epochs=1),
    models={Split.FIT: ModelCounts(pairs=1)},
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo") / "one"
    build_zoo(PLAN, folder, workers=1, device="cpu")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "models").iterdir()}


def test_models_do_not_depend_on_the_number_of_workers(built: Path, tmp_path: Path) -> None:
    build_zoo(PLAN, tmp_path / "two", workers=2, device="cpu")
    assert contents(built) == contents(tmp_path / "two") and len(contents(built)) == 2


def link(path: Path, outside: Path) -> None:
    outside.write_bytes(b"precious, and no line break at the end")
    path.unlink(missing_ok=True)
    path.symlink_to(outside)


def pipe(path: Path, outside: Path) -> None:
    outside.write_bytes(b"precious")
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def linked_folder(path: Path, outside: Path) -> None:
    outside.mkdir()
    shutil.rmtree(path)
    path.symlink_to(outside)


@pytest.mark.parametrize(
    ("name", "put"),
    [(name, put) for name in (".lock", "index.jsonl", "zoo.json") for put in (link, pipe)]
    + [("models", linked_folder)],
)
def test_nothing_outside_is_written(
    name: str, put: Callable[[Path, Path], None], built: Path, tmp_path: Path
) -> None:
    folder, outside = tmp_path / "zoo", tmp_path / "outside"
    shutil.copytree(built, folder)
    put(folder / name, outside)
    before = sorted(outside.iterdir()) if outside.is_dir() else outside.read_bytes()
    with pytest.raises(MolehuntError, match=name):
        build_zoo(PLAN, folder, workers=1, device="cpu")
    assert (sorted(outside.iterdir()) if outside.is_dir() else outside.read_bytes()) == before


def test_a_model_that_is_not_the_listed_one_is_refused(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    shutil.copytree(built, folder)
    zoo = Zoo(folder)
    first, second = (zoo.path_of(record) for record in zoo.records)
    save_model(load_model(second), first)
    models = zoo.models(zoo.records)
    for read in (lambda: models[0], lambda: list(models), lambda: models[:1][0]):
        with pytest.raises(UnreadableFileError, match=first.name):
            read()
    assert models[1].card

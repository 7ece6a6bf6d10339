"""Weights in several files are one model; their index is what a scan judges."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor

from molehunt.findings import Finding, Verdict
from molehunt.provenance import inspect_serialization
from molehunt.scanning import ScanResult, find_candidates, new_check, scan_subjects
from molehunt.subjects import Opening, StatedContract, open_subject, shards_of
from tests.subjects.foreign_networks import Small, TiedHeads, Untied

HERE = "tests.subjects.foreign_networks"
IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
torch.manual_seed(3)
NETWORK = Small().eval()
STATE = {name: value.clone() for name, value in NETWORK.state_dict().items()}
HALVES = {"one": list(STATE)[:4], "two": list(STATE)[4:]}


def opening(arch: str = "Small") -> Opening:
    return Opening(
        StatedContract(
            architecture=f"{HERE}:{arch}", input_shape=(1, 8, 8), classes=4, mean=(0.0,), std=(1.0,)
        )
    )


def write(folder: Path, kind: str = "safetensors", state: dict[str, Tensor] = STATE) -> Path:
    """Write two shards and their index, as the hub has them."""
    stem = {"safetensors": "model", "bin": "pytorch_model"}[kind]
    places: dict[str, str] = {}
    for number, names in enumerate(HALVES.values(), 1):
        shard = f"{stem}-{number:05}-of-00002.{kind}"
        tensors = {name: state[name] for name in names}
        if kind == "safetensors":
            save_file(tensors, folder / shard)
        else:
            torch.save(tensors, folder / shard)
        places |= dict.fromkeys(names, shard)
    index = folder / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


def scanned(path: Path) -> list[ScanResult]:
    detector = new_check("final-layer")
    return scan_subjects(find_candidates([path]), [detector], opening=opening(), workers=1)


def finding(result: ScanResult, check: str) -> Finding:
    (found,) = [each for each in result.findings if each.check == check]
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_a_folder_of_shards_is_one_model(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in STATE.items()}
    index = write(tmp_path, kind, state)
    (tmp_path / "config.json").write_text("{}")
    results = {result.name: result for result in scanned(tmp_path)}
    assert set(results) == {index.name, "config.json"}
    result = results[index.name]
    assert result.card is not None
    assert finding(result, "final-layer").score is not None
    assert shards_of(index)[1].name in finding(result, "shards").message
    (alone,) = scanned(index)
    assert finding(alone, "final-layer").score == finding(result, "final-layer").score


def test_a_shard_alone_is_refused_with_a_hint(tmp_path: Path) -> None:
    index = write(tmp_path)
    (result,) = scanned(shards_of(index)[0])
    assert result.verdict is Verdict.FAILED
    assert "one of several shards: scan their index" in result.findings[-1].message


def change(index: Path, rename: Callable[[dict[str, str]], object]) -> None:
    content = json.loads(index.read_text())
    rename(content["weight_map"])
    index.write_text(json.dumps(content))


def lose(index: Path) -> None:
    shards_of(index)[1].unlink()


def outside(index: Path) -> None:
    first = shards_of(index)[0]
    first.rename(index.parent.parent / first.name)
    change(index, lambda places: places.update(dict.fromkeys(HALVES["one"], f"../{first.name}")))


def link(index: Path) -> None:
    first = shards_of(index)[0]
    moved = first.rename(index.parent.parent / first.name)
    first.symlink_to(moved)


def pipe(index: Path) -> None:
    first = shards_of(index)[0]
    first.unlink()
    os.mkfifo(first)


def twice(index: Path) -> None:
    first, second = shards_of(index)
    save_file({name: STATE[name] for name in [*HALVES["two"], "conv.weight"]}, second)
    assert first.exists()


def elsewhere(index: Path) -> None:
    change(index, lambda places: places.update({"conv.weight": places["fc.weight"]}))


def misses(index: Path) -> None:
    change(index, lambda places: places.update({"more.weight": places["fc.weight"]}))


def doubled(index: Path) -> None:
    text = index.read_text()
    index.write_text(text.replace('"weight_map": {', '"weight_map": {"fc.bias": "x.safetensors", '))


def deep(index: Path) -> None:
    index.write_text("[" * 100_000)


def numbers(index: Path) -> None:
    index.write_text(json.dumps({"weight_map": {"fc.bias": 3}}))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a shard is missing": (lose, "model-00002-of-00002.safetensors: cannot be read: No such file"),
    "a path": (outside, "expected the name of a file in the index's own folder"),
    "a link out": (link, "a link out of the folder"),
    "a pipe": (pipe, "a pipe, a socket or a device"),
    "a tensor in two shards": (twice, "tensor conv.weight: expected it in one shard"),
    "a tensor elsewhere": (elsewhere, "tensor conv.weight: expected it in model-00002"),
    "a tensor nowhere": (misses, "tensor more.weight: expected it in model-00002"),
    "placed twice": (doubled, "two entries of one name"),
    "brackets": (deep, "not a readable index"),
    "numbers": (numbers, "expected the name of a file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_indexes_are_one_line(name: str, tmp_path: Path) -> None:
    damage, message = BROKEN[name]
    folder = tmp_path / "model"
    folder.mkdir()
    index = write(folder)
    damage(index)
    (result,) = [each for each in scanned(index) if each.name == index.name]
    assert result.verdict is Verdict.FAILED
    assert message in result.findings[-1].message


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


@pytest.mark.parametrize("with_missing", [False, True])
def test_an_unsafe_shard_is_found(with_missing: bool, tmp_path: Path) -> None:
    """Also where the index hides it behind a shard that is not there."""
    index = write(tmp_path, "bin")
    torch.save({"fc.weight": Evil()}, shards_of(index)[1])
    if with_missing:
        change(index, lambda places: places.update({"more": "more.bin"}))
    assert Verdict.UNSAFE in [result.verdict for result in scanned(tmp_path)]


def test_names_of_tied_weights_lead_to_the_one_that_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(5)
    tied = TiedHeads().eval()
    path = tmp_path / "tied.safetensors"
    save_model(tied, str(path))
    for arch in ("TiedHeads", "Untied"):
        found = open_subject(path, inspect_serialization(path), opening(arch))
        assert torch.allclose(found.models[""](IMAGES), tied(IMAGES), atol=1e-6)
    # Without the file's own word on it only the architecture's own tie tells.
    save_file({n: t for n, t in tied.state_dict().items() if not n.startswith("second")}, path)
    found = open_subject(path, inspect_serialization(path), opening("TiedHeads"))
    assert torch.allclose(found.models[""](IMAGES), tied(IMAGES), atol=1e-6)
    assert Untied().state_dict().keys() == tied.state_dict().keys()
    with pytest.raises(Exception, match=r"missing second\.weight"):
        open_subject(path, inspect_serialization(path), opening("Untied"))

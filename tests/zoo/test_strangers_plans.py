"""Plans come from strangers: what they ask for is bounded before any work starts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from molehunt.cli import run
from molehunt.errors import InvalidRequestError, MolehuntError
from molehunt.networks import build_network, check_buildable
from molehunt.zoo import ZooPlan, entries_of, read_plan

DIGITS = "9" * 5000


def patches(settings: str) -> str:
    return f'backdoors.trigger = {{ kind = "random_patches", {settings} }}'


FILES = {
    "levels.toml": "a = " + "[" * 20_000 + "]" * 20_000,
    "levels.yaml": "a: " + "[" * 20_000,
    "levels.json": '{"a": ' * 9_000,
    "digits.toml": f"seed = {DIGITS}",
    "digits.yaml": f"seed: {DIGITS}",
    "digits.json": f'{{"seed": {DIGITS}}}',
    "tables.toml": "[" + "a." * 5_000 + "a]",
    "aliases.yaml": "a: &a [1, 1]\nb: &b [*a, *a]\nnetwork: {arguments: {c: [*b, *b]}}",
    "merges.yaml": "a: &a {x: 1}\nnetwork: {arguments: {<<: [*a, *a]}}",
    "bytes.yaml": "network: {arguments: {x: !!binary /w==}}",
    "set.yaml": "network: {arguments: {x: !!set {a, b}}}",
    "date.toml": "name = 2026-01-01",
    "nodate.yaml": "name: 2026-13-45",
    "object.yaml": "name: !!python/object/apply:os.system ['touch PWNED']",
    "keys.yaml": "network: {arguments: {x: {1: 2}}}",
    "surrogate.yaml": 'name: "\\uD800"\ncolour: 1',
    "latin.toml": b"name = '\xff'",
    "large.json": " " * 2**20,
    "escapes.yaml": '"\\e[2J\\e[31m[/x]": 1',
    "escapes.toml": '"\\u001b[2J" = 1',
    "nan.toml": "recipe = { epochs = nan }",
    "inf.toml": "recipe = { epochs = inf }",
    "inf.yaml": "recipe_spread: {lr: .inf}",
    "lr.json": '{"recipe": {"lr": NaN}}',
    "seed.toml": f"seed = {2**63}",
    "name.toml": f"name = '{'n' * 5_000}'",
    "pairs.toml": "models.fit.pairs = 1000000000",
    "total.toml": "models.fit.pairs = 30000",
    "old-count.toml": "backdoors.count = 1000000000",
    "old-sizes.toml": f"backdoors.sizes = {[3] * 1000}",
    "count.toml": patches("count = 1000000000"),
    "size.toml": patches("size = 1000000"),
    "sizes.toml": patches(f"size = {[3] * 1000}"),
    "drawn.toml": patches("count = 10000, size = 1000"),
    "margin.toml": patches(f"margin = {2**62}"),
    "kind.toml": "backdoors.trigger.kind = 'os.system'",
    "kinds.toml": "backdoors.trigger.kind = ['sticker']",
    "kindless.toml": "backdoors.trigger.size = 3",
    "base.toml": "backdoors.trigger.kind = 'all_to_one'",
    "map.toml": "backdoors.label_map = 'sticker'",
    "maps.toml": "backdoors.label_map = ['all_to_one']",
    "composite.json": '{"backdoors": {"trigger": '
    + '{"kind": "composite", "triggers": [' * 4_000
    + "]}" * 4_000
    + "}}",
    "batch.toml": f"recipe.batch_size = {2**62}",
    "epochs.toml": "recipe.epochs = 1e300",
    "list.yaml": "- 1",
    "nothing.yaml": "",
}


@pytest.mark.parametrize("name", FILES)
def test_plans_that_ask_for_too_much_are_one_line(tmp_path: Path, name: str, capfd) -> None:
    text = FILES[name]
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.monotonic()
    arguments = [str(tmp_path / "zoo"), "--plan", str(tmp_path / name)]
    assert run(["zoo", "build", *arguments, "--workers", "1"]) in (2, 4)
    assert time.monotonic() - started < 20
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "internal error" not in lines[0], lines
    assert "\x1b" not in lines[0] and len(lines[0]) < 2000
    assert not (tmp_path / "zoo").exists() and not Path("PWNED").exists()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to nothing", "long name"])
def test_what_is_no_file_is_no_plan(tmp_path: Path, kind: str, capfd) -> None:
    path = tmp_path / "plan.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to nothing":
        path.symlink_to(tmp_path / "gone")
    else:
        path = tmp_path / ("n" * 300 + ".toml")
    assert run(["zoo", "build", str(tmp_path / "zoo"), "--plan", str(path)]) in (2, 4)
    assert len(capfd.readouterr().err.strip().splitlines()) == 1


# What each asks for is legal, one by one; the network or the images are the trouble.
WORK = [
    'network = { name = "torchvision:mobilenet_v2", arguments = { inverted_residual_setting = '
    "[[1, 16, 1000000000, 1]] } }",
    'network = { name = "torchvision:vit_b_16", arguments = { num_layers = 1000000000 } }',
    'network = { name = "torchvision:resnet18", arguments = { width_per_group = 10000000 } }',
    'network = { name = "torchvision:resnet18", arguments = { norm_layer = "os.system" } }',
    "network = { arguments = { width = 1000000 } }",
    "network = { arguments = { width = 9223372036854775807 } }",
    "network = { arguments = { width = nan } }",
    "network = { arguments = { stages = [1000000000] } }",
    "network = { arguments = { stages = 'x' } }",
    "network = { arguments = { hidden = 10000000000 } }",
    "network = { name = 'resnet', arguments = { width = 10000000 } }",
    "network = { name = 'stn-vgg', arguments = { width = 10000000 } }",
    "images = { source = 'folder:" + "n" * 300 + "' }",
    "images = { source = 'npz:" + "n" * 4000 + "' }",
    "images = { source = 'folder:~nobody-of-that-name/x' }",
    'images = { source = "npz:a\\u0000b" }',
    "backdoors.trigger = { kind = 'sticker', path = '/dev/zero' }",
    "backdoors.trigger = { kind = 'sticker', path = '" + "n" * 300 + "' }",
    patches("placement = [9223372036854775807, 0]"),
    patches("size = 12, margin = 1"),
]


@pytest.mark.parametrize("text", WORK)
def test_work_that_never_ends_does_not_start(tmp_path: Path, text: str, capfd) -> None:
    (tmp_path / "plan.toml").write_text(
        text if "images" in text or "torchvision" in text else f"{text}\nimages.size = 12"
    )
    if "torchvision" in text:
        colours = tmp_path / "colours.npz"
        x, y = np.zeros((20, 32, 32, 3), np.uint8), np.arange(20) % 2
        np.savez(colours, x_train=x, y_train=y, x_test=x, y_test=y)
        (tmp_path / "plan.toml").write_text(f"images.source = 'npz:{colours}'\n{text}")
    started = time.monotonic()
    plan = str(tmp_path / "plan.toml")
    assert run(["zoo", "build", str(tmp_path / "zoo"), "--plan", plan, "--workers", "1"]) in (2, 4)
    assert time.monotonic() - started < 20
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "internal error" not in lines[0], lines
    assert not (tmp_path / "zoo").exists()


def test_a_sticker_that_is_a_pipe_is_refused_at_once(tmp_path: Path, capfd) -> None:
    os.mkfifo(tmp_path / "sticker.png")
    trigger = f"{{ kind = 'sticker', path = '{tmp_path / 'sticker.png'}' }}"
    arguments = ["--set", f"backdoors.trigger={trigger}"]
    assert run(["zoo", "build", str(tmp_path / "zoo"), *arguments]) == 2
    assert "a pipe" in capfd.readouterr().err


def test_the_largest_plans_are_listed_in_seconds() -> None:
    plan = ZooPlan(
        models={"fit": {"pairs": 25_000}},
        backdoors={"trigger": {"kind": "random_patches", "count": 10_000, "size": 10}},
    )
    started = time.monotonic()
    assert len(entries_of(plan, 10)) == 50_000
    assert time.monotonic() - started < 120


def test_networks_of_torchvision_are_within_the_bounds() -> None:
    for name in ("densenet201", "vit_h_14", "swin_v2_b", "regnet_y_16gf", "resnet152"):
        check_buildable(f"torchvision:{name}", (3, 224, 224), 1000, {})
    with pytest.raises(InvalidRequestError, match="network: expected one of at most"):
        build_network(
            "torchvision:mobilenet_v2",
            input_shape=(3, 32, 32),
            num_classes=10,
            arguments={"inverted_residual_setting": [[1, 16, 5000, 1]]},
        )


def test_plans_of_ours_are_within_the_bounds() -> None:
    found = [*Path(__file__).parents[2].glob("docs/zoos/*.toml")]
    assert found
    for path in found:
        try:
            read_plan(path)
        except MolehuntError as error:
            pytest.fail(str(error))

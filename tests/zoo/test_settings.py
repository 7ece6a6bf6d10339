"""Settings of a plan, as the command line changes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from molehunt.backdoors import RandomPatches, Sticker
from molehunt.cli import run
from molehunt.errors import InvalidRequestError
from molehunt.zoo import ModelCounts, Split, Zoo, ZooPlan, change_plan


def test_values_are_toml_and_else_text() -> None:
    plan = change_plan(
        ZooPlan(),
        [
            "images.source=folder:/a=b",
            "name=two words",
            "backdoors.deal_targets=true",
            "backdoors.rate=0.25",
            "backdoors.trigger.size=[3, 5]",
            "network.arguments.stages=[1, 1]",
            'recipe.optimizer="sgd"',
        ],
    )
    assert plan.images.source == "folder:/a=b" and plan.name == "two words"
    assert plan.backdoors.deal_targets and plan.backdoors.rate == 0.25
    assert plan.backdoors.trigger == RandomPatches(size=(3, 5))
    assert plan.network.arguments == {"stages": [1, 1]} and plan.recipe.optimizer == "sgd"
    assert change_plan(plan, []) == plan


def test_a_new_kind_leaves_nothing_of_the_old_trigger() -> None:
    settings = ["backdoors.trigger.picture=bomb", "backdoors.trigger.kind=sticker"]
    assert change_plan(ZooPlan(), settings).backdoors.trigger == Sticker(picture="bomb")
    table = ["backdoors.trigger={ kind = 'sticker', picture = 'bomb' }"]
    assert change_plan(ZooPlan(), table) == change_plan(ZooPlan(), settings)


def test_splits_are_changed_or_replaced() -> None:
    changed = change_plan(ZooPlan(), ["models.test.pairs=3", "models.test.placebo=0"])
    assert changed.models[Split.TEST] == ModelCounts(pairs=3)
    assert changed.models[Split.FIT] == ModelCounts(pairs=100)
    one = change_plan(ZooPlan(), ["models.test.pairs=2", "models={ fit = { pairs = 1 } }"])
    assert one.models == {Split.FIT: ModelCounts(pairs=1), Split.TEST: ModelCounts(pairs=2)}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "setting: expected NAME=VALUE, got 'epochs'"),
        ("epoch=1", "setting epoch: expected name, seed, images, .*, models, got 'epoch'"),
        ("recipe.epoch=1", "expected epochs, batch_size, .* got 'epoch'"),
        (
            "backdoors.size=3",
            "expected trigger, label_map, .* kind, kind_rate, got 'size'",
        ),
        ("backdoors.trigger.picture=bomb", "expected kind, count, size, .* got 'picture'"),
        ("backdoors.trigger.kind=hole", "kind: expected single_pixel, .*, got 'hole'"),
        ("backdoors.trigger.kind=[1]", "kind: expected single_pixel"),
        ("backdoors.trigger=hole", "backdoors.trigger"),
        ("models.train.pairs=1", "expected fit, calibration, test, got 'train'"),
        ("models.fit.pair=1", "expected pairs, clean, placebo, got 'pair'"),
        ("models.fit.pairs=many", "models.fit.pairs"),
        ("seed.x=1", "expected none below it, got 'x'"),
        ("=1", "got ''"),
        ("..=1", "got ''"),
        (f"seed={'9' * 5000}", "seed"),
        (f"name={'[' * 50_000}", "name"),
        ("name=2026-01-01", "values: expected text"),
        ("network.arguments.x=2026-01-01", "values: expected text, numbers, lists and tables"),
        ("network.arguments.a.b.c.d.e.f.g.h.i.j.k.l.m=1", "deep"),
        ("\x1b[2J=1", "setting"),
    ],
)
def test_wrong_settings_are_one_line(setting: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        change_plan(ZooPlan(), [setting])
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


def test_the_command_line_builds_what_is_set(tmp_path: Path) -> None:
    settings = ["models={ fit = { pairs = 1 } }", "network.arguments={ width = 2, stages = [1] }"]
    settings += ["images.size=8", "images.train_limit=64", "recipe.epochs=1", "seed=5"]
    settings += ["backdoors.trigger={ kind = 'single_pixel' }", "backdoors.label_map=clean_label"]
    flags = [text for setting in settings for text in ("--set", setting)]
    assert run(["zoo", "build", str(tmp_path / "zoo"), "--workers", "1", *flags]) == 0
    zoo = Zoo(tmp_path / "zoo")
    assert len(zoo.records) == 2 and zoo.plan.seed == 5
    assert {record.backdoor.label_map.kind for record in zoo.records} == {"clean_label"}

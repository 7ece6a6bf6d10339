"""Zoos whose models are trained several at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from molehunt.errors import BuildInterruptedError, InvalidRequestError
from molehunt.training import Recipe
from molehunt.zoo import ModelCounts, RecipeSpread, Split, Zoo, build_zoo
from tests.conftest import tiny_plan

# SGD: Adam makes a step of the full learning rate out of a gradient that is rounding alone.
PLAN = tiny_plan(
    recipe=Recipe(epochs=0.3, batch_size=64, optimizer="sgd", shift=1, precision="float32"),
    recipe_spread=RecipeSpread(lr=2, weight_decay=3),
    models={Split.FIT: ModelCounts(pairs=2, placebo=1)},
)


def test_an_interrupted_build_in_groups_ends_as_one_by_one(tmp_path: Path) -> None:
    # CUDA computes convolutions in TF32, whose rounding is larger than what is compared here.
    alone = build_zoo(PLAN, tmp_path / "alone", workers=1, device="cpu")

    def interrupt(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    folder, built = tmp_path / "together", []
    with pytest.raises(BuildInterruptedError, match="3 of 5"):
        build_zoo(PLAN, folder, models_at_once=3, device="cpu", progress=interrupt)
    assert len(Zoo(folder).records) == 3
    together = build_zoo(
        PLAN, folder, models_at_once=3, device="cpu", progress=lambda *at: built.append(at)
    )
    assert built == [(4, 5), (5, 5)] and not together.changed()
    for one, other in zip(alone.records, together.records, strict=True):
        measured = {"clean_accuracy", "attack_success", "seconds", "sha256"}
        assert other.model_dump(exclude=measured) == one.model_dump(exclude=measured)
        assert other.clean_accuracy == pytest.approx(one.clean_accuracy, abs=0.005)
        assert other.attack_success == pytest.approx(one.attack_success, abs=0.03)
        states = [load_file(zoo.path_of(r)) for zoo, r in ((alone, one), (together, other))]
        for name, expected in states[0].items():
            torch.testing.assert_close(states[1][name], expected, rtol=1e-3, atol=1e-4, msg=name)


def test_sets_smaller_than_a_batch_are_built_all_the_same(tmp_path: Path) -> None:
    plan = PLAN.model_copy(update={"recipe": Recipe(epochs=1, batch_size=2000)})
    zoo = build_zoo(plan, tmp_path, models_at_once=5)
    assert len(zoo.records) == 5
    assert len({record.images for record in zoo.records}) > 1


@pytest.mark.parametrize("asked", [{"models_at_once": 0}, {"models_at_once": 2, "workers": 2}])
def test_groups_in_several_processes_are_refused(tmp_path: Path, asked: dict[str, int]) -> None:
    with pytest.raises(InvalidRequestError, match="models at once: expected 1 or more"):
        build_zoo(PLAN, tmp_path, **asked)

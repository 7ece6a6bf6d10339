from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from molehunt.backdoors import AllToOne, Backdoor, RandomPatch
from molehunt.cli import run
from molehunt.defences import (
    REPAIRS,
    distil_attention,
    repair,
)
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import TrainTest
from molehunt.networks import BlackBox, Classifier, build_classifier, save_model
from molehunt.progress import silent
from molehunt.training import Recipe, attack_success, train


@pytest.fixture(scope="module")
def backdoor() -> Backdoor:
    return Backdoor(
        trigger=RandomPatch(size=4, seed=1, placement="bottom right"),
        label_map=AllToOne(target=7),
        rate=0.1,
    )


@pytest.fixture(scope="module")
def model(backdoor: Backdoor, digits: TrainTest) -> Classifier:
    made = build_classifier("vgg", digits.train, arguments={"width": 8, "stages": [1, 1]}, seed=0)
    poisoned = backdoor.poison(digits.train, generator=torch.Generator().manual_seed(0))
    train(made, poisoned, Recipe(epochs=8, batch_size=64, lr=0.01), seed=0)
    return made.freeze()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fine-pruning", {}),
        ("anp", {"steps": 5}),
        ("nad", {"tuning": Recipe(epochs=1, lr=0.1, optimizer="sgd", batch_size=20)}),
        ("i-bau", {"rounds": 2}),
    ],
)
def test_a_repair_leaves_the_model_as_it_was(
    name: str, settings: dict[str, Any], model: Classifier, digits: TrainTest
) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    few = digits.test.take(torch.arange(80))
    steps: list[tuple[int, int]] = []
    done = REPAIRS[name](model, few, seed=0, progress=lambda now, total: steps.append((now, total)))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    changed = (not torch.equal(v, before[k]) for k, v in done.model.state_dict().items())
    assert any(changed) == ("silenced 0 " not in done.done)
    assert steps[-1][0] == steps[-1][1]
    assert not any(weight.requires_grad for weight in done.model.parameters())


def test_distilled_attention_lowers_attack_success(
    model: Classifier, backdoor: Backdoor, digits: TrainTest
) -> None:
    attacked = backdoor.triggered(digits.test, generator=torch.Generator().manual_seed(0))
    before = attack_success(model, attacked)
    assert before > 0.9
    done = distil_attention(model, digits.test)
    assert attack_success(done.model, attacked) < 0.5
    assert done.accuracies[1] > done.accuracies[0] - 0.15


def test_what_cannot_be_repaired_is_refused(model: Classifier, digits: TrainTest) -> None:
    box = BlackBox(lambda images: images[:, 0, 0, :10], model.card)
    for method in REPAIRS.values():
        with pytest.raises(UnsuitableSubjectError, match="weights in a known architecture"):
            method(box, digits.test, seed=0, progress=silent)
        with pytest.raises(InvalidRequestError, match="40 or more"):
            method(model, digits.test.take(torch.arange(39)), seed=0, progress=silent)
    with pytest.raises(InvalidRequestError, match="max_loss"):
        repair(model, digits.test, method="anp", max_loss=0.1)


def test_an_unknown_method_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Classifier
) -> None:
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    out = str(tmp_path / "out.safetensors")
    command = ["repair", str(path), "--clean", "digits", "-o", out, "--method", "magic"]
    assert run(command) == 4
    assert "fine-pruning, anp, nad, i-bau" in capsys.readouterr().err

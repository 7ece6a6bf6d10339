from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from molehunt.backdoors import Treatment
from molehunt.cli import run
from molehunt.defences import fine_prune, trigger_success
from molehunt.detectors import Examination
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import TrainTest
from molehunt.networks import BlackBox, Classifier, load_model, logits_of
from molehunt.training import Recipe, attack_success, clean_accuracy
from molehunt.zoo import Split, Zoo


@pytest.fixture(scope="module")
def model(zoo: Zoo) -> Classifier:
    return load_model(zoo.path_of(zoo.select(Split.TEST, "backdoored")[0]))


def test_pruned_channels_stay_silent_and_accuracy_is_kept(
    model: Classifier, digits: TrainTest
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    steps = []
    repair = fine_prune(
        model, digits.test, max_loss=0.2, progress=lambda done, total: steps.append((done, total))
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert 0 < repair.pruned < repair.channels
    assert repair.pruned_accuracy >= repair.accuracies[0] - 0.2
    layer = repair.model.get_submodule(repair.layer)
    silent = (layer.weight == 0) & (layer.bias == 0)
    assert int(silent.sum()) == repair.pruned
    assert steps[-1][0] == steps[-1][1]
    tuned = clean_accuracy(repair.model, digits.test.take(torch.arange(len(digits.test)) % 4 == 3))
    assert tuned == repair.accuracies[1]


def test_nothing_is_pruned_where_no_loss_is_allowed_that_pruning_needs(
    model: Classifier, digits: TrainTest
) -> None:
    careful = fine_prune(model, digits.test, max_loss=0.0)
    bold = fine_prune(model, digits.test, max_loss=0.9)
    assert careful.pruned < bold.pruned
    assert bold.pruned == bold.channels - 1


def test_tuning_on_clean_images_lowers_attack_success(zoo: Zoo, digits: TrainTest) -> None:
    """On average over the zoo's backdoored test models, with a long tuning."""
    before, after = [], []
    for record in zoo.select(Split.TEST, Treatment.BACKDOORED):
        model = load_model(zoo.path_of(record))
        backdoor = record.backdoor
        triggered = backdoor.triggered(digits.test, generator=torch.Generator().manual_seed(0))
        repaired = fine_prune(
            model, digits.train, tuning=Recipe(epochs=4, batch_size=64, lr=0.003)
        ).model
        before.append(attack_success(model, triggered))
        after.append(attack_success(repaired, triggered))
    assert np.mean(after) < np.mean(before) - 0.1


def test_success_of_a_reconstructed_trigger(model: Classifier, digits: TrainTest) -> None:
    nothing = np.zeros((1, 12, 12), np.float32)
    found = Examination(
        score=1.0,
        p_value=None,
        statistics=np.zeros(10),
        target=3,
        pattern=nothing,
        mask=np.zeros((12, 12), np.float32),
    )
    others = digits.test.take(digits.test.labels != 3)
    said = logits_of(model, others.images).argmax(1)
    assert trigger_success(model, found, digits.test) == float((said == 3).float().mean())


@pytest.mark.parametrize(
    ("settings", "count"), [({"max_loss": 1.0}, 100), ({"max_loss": -0.1}, 100), ({}, 39)]
)
def test_impossible_repairs_are_refused(
    settings: dict, count: int, model: Classifier, digits: TrainTest
) -> None:
    with pytest.raises(InvalidRequestError, match="expected"):
        fine_prune(model, digits.test.take(torch.arange(count)), **settings)


def test_a_black_box_cannot_be_repaired(model: Classifier, digits: TrainTest) -> None:
    box = BlackBox(lambda images: np.zeros((len(images), 10)), model.card)
    with pytest.raises(UnsuitableSubjectError, match="a graph or a black box"):
        fine_prune(box, digits.test)


def test_the_repaired_file_is_scanned_on_the_command_line(
    zoo: Zoo, detector_file: Path, tmp_path: Path, capfd
) -> None:
    path = zoo.path_of(zoo.select(Split.TEST, "backdoored")[0])
    out = tmp_path / "repaired.safetensors"
    code = run(["repair", str(path), "--clean", "digits", "-o", str(out), "-d", str(detector_file)])
    assert code in (0, 1, 3)
    said = capfd.readouterr().out
    assert "channels of" in said and "held-out clean images" in said
    assert load_model(out).card == load_model(path).card

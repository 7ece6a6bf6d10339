"""The search for triggers, and the two detectors that judge by what it finds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from molehunt.attacks import Tasks, pools_of, search_patches
from molehunt.attacks._trigger_search import _with_masks, _with_patches
from molehunt.backdoors import AllToOne, Backdoor, RandomPatch, SingleTarget, top_left_pixels
from molehunt.detectors import NeuralCleanse, PairwiseTriggers, load_detector, save_detector
from molehunt.detectors._outliers import robust_z
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import Classifier, build_classifier, fast_logits
from molehunt.training import Recipe, train
from molehunt.zoo import Split, Zoo

PATCH = RandomPatch(size=4, seed=3, placement="random corner")


def trained(digits: TrainTest, label_map: AllToOne | SingleTarget | None) -> Classifier:
    """A real network, with a backdoor or without."""
    arguments = {"width": 8, "stages": [1, 1]}
    model = build_classifier("vgg", digits.train, arguments=arguments, seed=1)
    images: object = digits.train
    if label_map is not None:
        generator = torch.Generator().manual_seed(1)
        backdoor = Backdoor(trigger=PATCH, label_map=label_map, rate=0.5, of="eligible")
        images = backdoor.poison(digits.train, generator=generator)
    train(model, images, Recipe(epochs=8, batch_size=64, lr=0.02), seed=1)
    return model.freeze()


@pytest.fixture(scope="module")
def clean(digits: TrainTest) -> Classifier:
    return trained(digits, None)


@pytest.fixture(scope="module")
def one_pair(digits: TrainTest) -> Classifier:
    return trained(digits, SingleTarget(source=2, target=7))


@pytest.fixture(scope="module")
def all_to_one(digits: TrainTest) -> Classifier:
    return trained(digits, AllToOne(target=4))


def test_the_planted_pair_is_found(digits, clean: Classifier, one_pair: Classifier) -> None:
    detector = PairwiseTriggers(images=digits.test, size=4)
    found, other = detector.examine(one_pair), detector.examine(clean)
    assert (found.source, found.target) == (2, 7)
    assert found.score > other.score + 1
    assert found.p_value is None
    assert found.statistics.argmax() == 7
    assert found.statistics.max() == found.score


def test_the_reconstructed_patch_does_what_the_score_says(digits, one_pair: Classifier) -> None:
    found = PairwiseTriggers(images=digits.test, size=4).examine(one_pair)
    assert found.pattern.shape == (1, 12, 12)
    assert found.mask.sum() == 16
    images = digits.test.take(digits.test.labels == 2).pixels()
    pattern, mask = torch.from_numpy(found.pattern), torch.from_numpy(found.mask)
    stamped = images * (1 - mask) + pattern * mask
    with torch.no_grad():
        assert (one_pair(stamped).argmax(1) == 7).float().mean() > 0.9
        assert (one_pair(images).argmax(1) == 7).float().mean() < 0.1


def test_the_search_keeps_its_margin(digits, one_pair: Classifier, monkeypatch) -> None:
    drawn = []

    def record(*arguments, **settings):
        found = top_left_pixels(*arguments, **settings)
        drawn.extend(found.tolist())
        return found

    monkeypatch.setattr("molehunt.attacks._trigger_search.top_left_pixels", record)
    detector = PairwiseTriggers(images=digits.test, size=4, steps=4, placement="anywhere", margin=3)
    found = detector.examine(one_pair)
    assert {place for pair in drawn for place in pair} == {3, 4, 5}
    assert found.mask[5:9, 5:9].sum() == found.mask.sum() == 16


def test_the_target_of_all_classes_has_the_smallest_mask(digits, clean, all_to_one) -> None:
    detector = NeuralCleanse(images=digits.test, images_per_step=16, steps=150)
    found, other = detector.examine(all_to_one), detector.examine(clean)
    assert found.target == 4
    assert found.p_value < 0.05
    assert found.score > other.score
    # An index of 2, the published threshold, is a p-value of 0.0455.
    assert found.p_value == pytest.approx(math.erfc(found.statistics[4] / math.sqrt(2)))
    assert found.pattern.shape == (1, 12, 12)
    assert found.mask.shape == (12, 12)
    images = digits.test.take(digits.test.labels != 4).pixels()
    pattern, mask = torch.from_numpy(found.pattern), torch.from_numpy(found.mask)
    stamped = images * (1 - mask) + pattern * mask
    with torch.no_grad():
        assert (all_to_one(stamped).argmax(1) == 4).float().mean() > 0.9


def test_searching_together_finds_what_searching_alone_finds(digits, one_pair) -> None:
    generator = torch.Generator().manual_seed(0)
    pools = pools_of(digits.test, 6, generator)
    images = digits.test.pixels()
    pairs = [(2, 7), (0, 1), (5, 6)]
    tasks = Tasks(
        images, torch.stack([pools[s] for s, _ in pairs]), torch.tensor([t for _, t in pairs])
    )
    settings = {
        "size": 4,
        "placement": "bottom right",
        "margin": 0,
        "steps": 16,
        "lr": 0.2,
        "images_per_step": 6,
        "batch_size": 7,
    }
    answers = fast_logits(one_pair, torch.device("cpu"))

    def search(some: Tasks, keep: float):
        return search_patches(
            answers, some, **settings, keep=keep, generator=torch.Generator().manual_seed(1)
        )

    together = search(tasks, 1.0)
    alone = search(tasks.take(torch.tensor([0])), 1.0)
    # The first task starts from the same patch in both; the precision is that of bfloat16.
    torch.testing.assert_close(together.losses[0], alone.losses[0], rtol=0.2, atol=0.05)
    assert together.steps.tolist() == [16, 16, 16]
    stopped = search(tasks, 0.3)
    assert sorted(stopped.steps.tolist()) == [2, 2, 16]
    assert int(stopped.steps.argmax()) == int(stopped.losses.argmin()) == 0
    assert ((together.patches >= 0) & (together.patches <= 1)).all()


def test_patches_and_masks_are_put_where_they_belong() -> None:
    tasks = Tasks(torch.rand(3, 2, 6, 6), torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 1]))
    rows, shown = torch.tensor([1, 0]), torch.tensor([1, 0])
    patches = torch.rand(2, 2, 3, 3)
    stamped = _with_patches(tasks, rows, shown, patches, [[0, 3], [2, 1]])
    assert stamped.shape == (2, 2, 2, 6, 6)
    expected = tasks.images[1].clone()
    expected[:, 0:3, 3:6] = patches[1]
    torch.testing.assert_close(stamped[1, 0], expected)
    expected = tasks.images[2].clone()
    expected[:, 2:5, 1:4] = patches[0]
    torch.testing.assert_close(stamped[0, 1], expected)
    painted = torch.zeros(2, 3, 6, 6)
    painted[0, -1, 2, 2], painted[0, 0, 2, 2] = 1, 0.25
    masked = _with_masks(tasks, rows, shown, painted)
    torch.testing.assert_close(masked[1, 0], tasks.images[1])
    assert masked[0, 0, 0, 2, 2] == 0.25
    assert masked[0, 0, 1, 2, 2] == 0


@pytest.mark.parametrize(
    ("norms", "indices"),
    [
        ([10.0, 12, 14, 16, 2], [1 / 1.4826, 0, -1 / 1.4826, -2 / 1.4826, 5 / 1.4826]),
        ([9.0] * 5, [0.0] * 5),
    ],
)
def test_the_anomaly_index_is_that_of_neural_cleanse(norms, indices) -> None:
    # Median 12, median absolute deviation 2 in the first case.
    expected = np.array(indices) * (1 if len({*norms}) > 1 else 0)
    np.testing.assert_allclose(robust_z(-np.array(norms)), expected, atol=1e-6)


def test_few_images_of_a_class_are_repeated_and_missing_ones_left_out(digits: TrainTest) -> None:
    few = digits.test.take(torch.tensor([0, 1, 2]))
    pools = pools_of(few, 5, torch.Generator())
    assert {*pools} == {*few.labels.tolist()}
    for label, places in pools.items():
        assert len(places) == 5
        assert (few.labels[places] == label).all()


def test_sources_are_the_classes_that_images_show(digits: TrainTest, one_pair: Classifier) -> None:
    shown = digits.test.take((digits.test.labels == 2) | (digits.test.labels == 3))
    found = PairwiseTriggers(images=shown, size=4).examine(one_pair)
    assert (found.source, found.target) == (2, 7)
    only = digits.test.take(digits.test.labels == 2)
    statistics = PairwiseTriggers(images=only, size=4, steps=8).examine(one_pair).statistics
    assert np.isfinite(statistics).all()
    with pytest.raises(InvalidRequestError, match="two classes"):
        NeuralCleanse(images=only).examine(one_pair)


def test_images_stay_out_of_the_file_and_are_given_on_loading(zoo: Zoo, digits, tmp_path: Path):
    models, truth = zoo.labelled(Split.FIT)
    detector = PairwiseTriggers(
        images=digits.test, size=4, steps=2, images_per_step=2, placement=(-4, 0)
    )
    path = tmp_path / "pairwise.safetensors"
    save_detector(detector.calibrate(models, truth), path)
    assert path.stat().st_size < 4096
    loaded, _ = load_detector(path)
    with pytest.raises(InvalidRequestError, match="images of PairwiseTriggers: expected"):
        loaded.decision_function(models[:1])
    loaded.set_params(images=digits.test)
    np.testing.assert_array_equal(
        loaded.decision_function(models[:2]), detector.decision_function(models[:2])
    )


@pytest.mark.parametrize("kind", [NeuralCleanse, PairwiseTriggers])
def test_images_that_do_not_fit_are_refused(kind, zoo: Zoo, digits: TrainTest) -> None:
    model = zoo.models(zoo.records)[0]
    with pytest.raises(UnsuitableSubjectError, match="input shape"):
        kind(images=digits.test.resized(16)).check_subject(model)
    fewer = digits.test.take(digits.test.labels < 5)
    fewer = ImageSet(fewer.images, fewer.labels, fewer.class_names[:5])
    with pytest.raises(UnsuitableSubjectError, match="classes"):
        kind(images=fewer).check_subject(model)
    empty = digits.test.take(torch.zeros(0, dtype=torch.long))
    for images in (None, "digits", empty):
        with pytest.raises(InvalidRequestError, match="images of"):
            kind(images=images).examine(model)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (PairwiseTriggers, {"size": 0}, "size"),
        (PairwiseTriggers, {"size": 13}, "trigger size"),
        (PairwiseTriggers, {"placement": "centre"}, "placement"),
        (PairwiseTriggers, {"placement": (9, 9)}, "placement"),
        (PairwiseTriggers, {"margin": -1}, "margin"),
        (PairwiseTriggers, {"placement": "anywhere", "margin": 5, "size": 4}, "12x12"),
        (PairwiseTriggers, {"keep": 0}, "keep"),
        (PairwiseTriggers, {"steps": 0}, "steps"),
        (NeuralCleanse, {"success": 0}, "success"),
        (NeuralCleanse, {"lr": -1}, "lr"),
        (NeuralCleanse, {"images_per_class": 0}, "images_per_class"),
        (NeuralCleanse, {"images_per_step": 0}, "images_per_step"),
        (NeuralCleanse, {"batch_size": 0}, "batch_size"),
    ],
)
def test_impossible_settings_are_refused(zoo: Zoo, digits, kind, settings, message) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        kind(images=digits.test, **settings).examine(zoo.models(zoo.records)[0])

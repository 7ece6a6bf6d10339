"""A file's own card cannot choose the function that is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from molehunt.detectors import (
    LitmusPatterns,
    MaximumMargin,
    MetaClassifier,
    NoisePatterns,
    WeightStatistics,
    ZooContract,
    fit_on_zoo,
    load_detector,
    save_detector,
)
from molehunt.errors import UnsuitableSubjectError
from molehunt.networks import Classifier, InputContract, load_model
from molehunt.zoo import Split, Zoo

DETECTORS = {
    "litmus": LitmusPatterns(n_patterns=2, epochs=2),
    "noise": NoisePatterns(n_patterns=2),
    "margin": MaximumMargin(starts=1, steps=3),
}
LIES = {
    "mean": {"mean": (0.7,)},
    "std": {"std": (0.5,)},
    "both": {"mean": (0.4,), "std": (0.45,)},
    "range": {"value_range": (0.0, 255.0)},
    "range moved": {"value_range": (-1.0, 1.0)},
}


def claimed(zoo: Zoo, **changes: object) -> Classifier:
    model = load_model(zoo.path_of(zoo.select(Split.TEST)[0]))
    lie = Classifier(model.network, model.card.model_copy(update=changes)).freeze()
    lie.vouched = False
    return lie


@pytest.mark.parametrize("name", DETECTORS)
def test_a_claim_that_is_not_the_zoos_is_refused(name: str, zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    save_detector(fit_on_zoo(DETECTORS[name], zoo), path)
    detector, card = load_detector(path)
    assert card.contract is not None
    detector.check_subject(claimed(zoo))
    for lie in LIES.values():
        model = claimed(zoo, **lie)
        with pytest.raises(UnsuitableSubjectError, match=r"claims another .* the zoo's"):
            detector.check_subject(model)
        model.vouched = True  # you say so
        detector.check_subject(model)


def test_weights_alone_are_judged_whatever_the_card_says(zoo: Zoo) -> None:
    detector = fit_on_zoo(WeightStatistics(), zoo)
    detector.check_subject(claimed(zoo, mean=(0.7,)))


def test_files_of_before_judge_as_they_did(zoo: Zoo, tmp_path: Path) -> None:
    detector = fit_on_zoo(LitmusPatterns(n_patterns=2, epochs=2), zoo)
    del detector.contract_
    save_detector(detector, tmp_path / "old.safetensors")
    old, card = load_detector(tmp_path / "old.safetensors")
    assert isinstance(old, MetaClassifier) and card.contract is None
    old.check_subject(claimed(zoo, mean=(0.7,)))


def colours(**changes: object) -> InputContract:
    settings = {
        "input_shape": (3, 8, 8),
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.2, 0.3),
        "class_names": ("a", "b"),
        **changes,
    }
    return InputContract(**settings)


def test_what_differs_is_named() -> None:
    zoo = ZooContract.of([colours(), colours(mean=(0.42, 0.5, 0.6))])
    assert zoo.difference(colours(mean=(0.41, 0.51, 0.59), std=(0.205, 0.2, 0.3))) == ""
    in_bytes = colours(value_range=(0, 255), mean=(102, 127.5, 153), std=(51, 51, 76.5))
    assert zoo.difference(in_bytes) == ""
    assert "bgr, the zoo's rgb" in zoo.difference(colours(channel_order="bgr"))
    assert "mean 0.5, the zoo's 0.4, 0.5, 0.6 to" in zoo.difference(colours(mean=(0.5,) * 3))
    grey = InputContract(input_shape=(1, 8, 8), mean=(0,), std=(1,), class_names=("a", "b"))
    assert "1 channels, the zoo's 3" in zoo.difference(grey)

"""Populations of something else than backdoors: the same folder, the same labels, any truth."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.metrics import roc_auc_score

from molehunt.detectors import WeightStatistics
from molehunt.errors import InvalidRequestError
from molehunt.files import make_folder, sha256_of
from molehunt.images import TrainTest
from molehunt.networks import build_classifier, save_model
from molehunt.resumable import Work, build_missing
from molehunt.training import Recipe, clean_accuracy, train
from molehunt.zoo import Entry, PropertyFacts, Record, Split, Zoo, ZooPlan
from tests.conftest import tiny_plan

NAME = "share of zeros"


def build(entry: Entry, context: tuple[Path, TrainTest]) -> Record:
    """Train a model on images of which a share shows the digit 0."""
    folder, images = context
    labels = images.train.labels
    zeros, others = (labels == 0).nonzero().flatten(), (labels != 0).nonzero().flatten()
    count = round(entry.facts.value * 200)
    generator = torch.Generator().manual_seed(entry.seed)
    chosen = [
        part[torch.randint(len(part), (number,), generator=generator)]
        for part, number in ((zeros, count), (others, 200 - count))
    ]
    data = images.train.take(torch.cat(chosen))
    arguments = {"width": 4, "stages": [1]}
    model = build_classifier("vgg", data, arguments=arguments, seed=entry.seed)
    run = train(model, data, Recipe(epochs=4, batch_size=50), seed=entry.seed)
    path = Zoo(folder).path_of(entry)
    save_model(model, path)
    return Record(
        **dict(entry),
        clean_accuracy=clean_accuracy(model, images.test),
        images=len(data),
        steps=run.steps,
        seconds=run.seconds,
        sha256=sha256_of(path),
    )


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory, digits: TrainTest) -> Zoo:
    folder = tmp_path_factory.mktemp("properties")
    Zoo.start(folder, tiny_plan(name=NAME))
    make_folder(folder / "models")
    entries = [
        Entry(
            id=f"{split}-{number}",
            split=split,
            pair=number,
            seed=100 * (split is Split.TEST) + number,
            facts=PropertyFacts(name=NAME, value=0.5 if number % 2 else 0.05),
        )
        for split, total in ((Split.FIT, 20), (Split.TEST, 10))
        for number in range(total)
    ]
    work = Work(build, Record, lambda: (folder, digits), ())
    build_missing(entries, folder / "index.jsonl", work, context=(folder, digits), workers=1)
    return Zoo(folder)


def many_zeros(record: Record) -> int | None:
    return int(record.facts.value > 0.2)


def test_a_property_is_a_truth_that_a_detector_learns(population: Zoo) -> None:
    models, truth = population.labelled(Split.FIT, many_zeros)
    assert truth.count(1) == truth.count(0) == 10
    detector = WeightStatistics().fit(models, truth)
    tests, expected = population.labelled(Split.TEST, many_zeros)
    scores = detector.decision_function(tests)
    assert roc_auc_score(expected, scores) > 0.8
    assert all(record.attack_success is None for record in population.records)


def test_models_may_be_left_out(population: Zoo) -> None:
    models, truth = population.labelled(
        "fit", lambda record: None if record.pair > 5 else many_zeros(record)
    )
    assert len(models) == 6 and truth == [0, 1, 0, 1, 0, 1]
    with pytest.raises(InvalidRequestError, match="expected both kinds, got 10 0 and 0 1"):
        population.labelled("test", lambda _: 0)


def test_other_facts_are_not_taken_for_backdoors(population: Zoo) -> None:
    message = "facts of fit-0: expected backdoor, got property"
    with pytest.raises(InvalidRequestError, match=message):
        population.select("fit", "clean")
    with pytest.raises(InvalidRequestError, match=message):
        population.labelled("fit")


def test_facts_survive_the_index(population: Zoo) -> None:
    assert Zoo(population.folder).records == population.records
    assert isinstance(population.plan, ZooPlan)
    assert {record.facts.value for record in population.records} == {0.05, 0.5}

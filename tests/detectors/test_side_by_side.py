"""Models that are worked on at once: the same results, in order, and an end without waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from molehunt.detectors import Distillation, draw_fresh, make_twins
from molehunt.detectors._side_by_side import Tell, side_by_side
from molehunt.images import ImageSet, load_images
from molehunt.networks import Classifier, build_classifier

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load_images("digits", size=12).test


def model_of(images: ImageSet) -> Classifier:
    small = {"width": 4, "stages": [1, 1]}
    return build_classifier("vgg", images, arguments=small, seed=0).freeze()


def test_results_come_in_order_whoever_is_first(two_threads: None) -> None:
    told: list[int] = []
    inside: list[int] = []

    def work(seconds: float, tell: Tell) -> float:
        inside.append(torch.get_num_threads())
        time.sleep(seconds)
        tell(5)
        return seconds

    waits = [0.2, 0.01, 0.02, 0.0]
    assert list(side_by_side(work, waits, CPU, told.append)) == waits
    assert told == [5, 10, 15, 20]
    assert inside == [1] * 4 and torch.get_num_threads() == 2


def test_two_at_once_only_where_torch_has_two_threads() -> None:
    threads = set()

    def work(_item: int, _tell: Tell) -> None:
        threads.add(threading.get_ident())

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        list(side_by_side(work, [1, 2, 3], CPU, print))
    finally:
        torch.set_num_threads(before)
    assert threads == {threading.get_ident()}


def test_an_error_ends_the_others_at_their_next_step(two_threads: None) -> None:
    steps: list[int] = []
    started = threading.Event()

    def work(item: int, tell: Tell) -> None:
        if item == 0:
            started.wait(10)
            raise ValueError("no")
        for step in range(10_000):
            started.set()
            tell(step)
            steps.append(step)
            time.sleep(0.005)

    with pytest.raises(ValueError, match="no"):
        list(side_by_side(work, [0, 1, 2], CPU, lambda _done: None))
    assert len(steps) < 1000 and torch.get_num_threads() == 2


def test_twins_do_not_depend_on_how_many_are_taught_at_once(digits: ImageSet) -> None:
    """Nor on what the others draw meanwhile."""
    how = Distillation(steps=6, batch_size=16, pool=200)
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            state = torch.random.get_rng_state()
            made.append(make_twins(model_of(digits), digits, count=4, how=how, device="cpu"))
            assert torch.equal(state, torch.random.get_rng_state())
    finally:
        torch.set_num_threads(before)
    for one, other in zip(made[0].models, made[1].models, strict=True):
        for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_a_copy_knows_what_was_tried_with_its_model(
    digits: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trying again in a thread would draw from the generator of all threads."""
    model = model_of(digits)
    _ = model.layout, model.takes_bfloat16
    fresh = draw_fresh(model, seed=1)

    def fail(*_: object, **__: object) -> bool:
        raise AssertionError("it was tried again")

    monkeypatch.setattr(Classifier, "_computes", fail)
    assert fresh.layout == model.layout and fresh.takes_bfloat16 == model.takes_bfloat16

"""A check of one's own: judged, carried out of the child and drawn like any other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from molehunt.findings import BACKDOOR, Bars, Finding, Histogram, Picture, Status, Verdict
from molehunt.report import scan_as_sarif, write_scan_page
from molehunt.scanning import Basis, Check, ScanResult, scan_subjects
from molehunt.scanning._scan import _batches
from molehunt.scanning._walk import Candidate
from molehunt.scanning._wire import decode_result, encode_result
from molehunt.zoo import Split, Zoo

EXHIBITS = (
    Picture("a square", np.full((1, 4, 4), 0.5)),
    Bars("a stripe", np.zeros((1, 4, 4)), np.arange(10.0), np.ones((3, 10)), "logit"),
    Histogram("score", 2.0, np.array([0.0, 1.0])),
)


@dataclass(frozen=True)
class EvenBias(Check):
    """Finds a backdoor in models of which it is told the number of classes."""

    name: str = "even-bias"
    asked_for: bool = True
    classes: int = 10
    alone: bool = False

    @property
    def decides_alone(self) -> bool:
        return self.alone

    @property
    def basis(self) -> Basis:
        return Basis(references=2, pictures=EXHIBITS[:1])

    def why_not(self, model, clean):
        if model.card.num_classes != self.classes:
            return Finding(self.name, Status.NOT_RUN, "other classes")
        return None

    def run(self, models, clean, rates, progress=None) -> Iterator[Finding]:
        for _, rate in zip(models, rates, strict=True):
            yield Finding(
                self.name,
                Status.FOUND,
                "as told",
                BACKDOOR,
                p_value=0.01,
                threshold=rate,
                exhibits=EXHIBITS,
            )


def test_it_is_judged_drawn_and_listed_like_a_detector(zoo: Zoo, tmp_path: Path) -> None:
    checks = [EvenBias(), EvenBias("other", classes=3)]
    paths = [zoo.path_of(record) for record in zoo.select(Split.TEST)[:2]]
    results = scan_subjects(paths, checks, max_false_alarms=0.1)
    for result in results:
        assert result.verdict is Verdict.BACKDOORED
        _, found, other = result.findings
        assert other.status is Status.NOT_RUN and found.threshold == 0.1
        for sent, got in zip(EXHIBITS, found.exhibits, strict=True):
            assert type(sent) is type(got) and sent.caption == got.caption
            for name in sent.dimensions:
                assert np.array_equal(getattr(sent, name), getattr(got, name))
    (run,) = scan_as_sarif(results)["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["MH002/even-bias"]
    write_scan_page(tmp_path / "page.html", results, checks, max_false_alarms=0.1)
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 4  # bars and a histogram of each
    assert page.count("data:image/png") == 6 and "a square" in page
    assert re.search("“even-bias” compares with 2 clean", page)


def test_a_check_that_decides_alone_has_the_whole_rate(zoo: Zoo) -> None:
    checks = [EvenBias(alone=True), EvenBias("other", asked_for=False), EvenBias("asked")]
    (result,) = scan_subjects([zoo.path_of(zoo.records[0])], checks, max_false_alarms=0.1)
    _, alone, other, asked = result.findings
    assert other.status is Status.NOT_RUN and "even-bias decides" in other.message
    assert alone.threshold == asked.threshold == 0.05


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": np.zeros((4, 4))},
        {"pixels": np.zeros((0, 4, 4))},
        {"values": np.zeros(9)},
        {"usual": np.zeros((2, 10))},
    ],
)
def test_exhibits_of_other_shapes_are_not_drawn(change: dict[str, np.ndarray]) -> None:
    """They come from a process that held a stranger's file."""
    with pytest.raises(ValueError, match="expected"):
        replace(EXHIBITS[1], **change)
    bars = replace(EXHIBITS[1])
    for name, value in change.items():
        object.__setattr__(bars, name, value)
    finding = Finding("it", Status.FOUND, "", BACKDOOR, exhibits=(bars,))
    with pytest.raises(ValueError, match="no result of a scan"):
        decode_result(encode_result(ScanResult("m", None, (finding,))))


@pytest.mark.parametrize(("models", "batches"), [(1, [[0]]), (3, [[0], [1], [2]])])
def test_no_process_is_planned_for_nothing(models: int, batches: list[list[int]]) -> None:
    """A model alone computed on one thread: a batch of nothing was given the other."""
    sources = [Candidate(Path(f"{number}.safetensors")) for number in range(models)]
    assert list(_batches(sources, [EvenBias()])) == batches

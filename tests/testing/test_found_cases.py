from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from molehunt.errors import InvalidRequestError, OutputError
from molehunt.images import ImageSet, load_test_images
from molehunt.networks import Classifier, logits_of
from molehunt.testing import search_failures, write_cases


def test_found_failures_fail_again_when_they_are_read(
    model: Classifier, few: ImageSet, tmp_path: Path
) -> None:
    found = search_failures(model, few, strategy="margin", passes=500)
    cases = ImageSet(found.images, found.labels, few.class_names)
    write_cases(tmp_path / "cases", cases, {"prediction": found.predictions.tolist()})
    read = load_test_images(f"folder:{tmp_path / 'cases'}")
    read = read.shaped(model.card.input_shape).named(model.card.class_names)
    order = found.labels.sort(stable=True).indices
    assert torch.equal(read.images, found.images[order])
    assert torch.equal(read.labels, found.labels[order])
    assert (logits_of(model, read.images).argmax(1) != read.labels).all()
    lines = (tmp_path / "cases/cases.csv").read_text().splitlines()
    assert lines[0] == "file,label,prediction" and len(lines) == len(found.sources) + 1
    assert (tmp_path / "cases" / lines[1].split(",")[0]).is_file()


@pytest.mark.parametrize("names", [("../up", "b/c", "=1"), ("a", "A", "b"), ("", "x", "y")])
def test_names_that_are_no_folders_become_numbers(names: tuple[str, ...], tmp_path: Path) -> None:
    images = torch.arange(3 * 3 * 16, dtype=torch.uint8).view(3, 3, 4, 4)
    cases = ImageSet(images, torch.tensor([2, 0, 1]), names)
    write_cases(tmp_path / "cases", cases)
    assert sorted(path.name for path in (tmp_path / "cases").iterdir()) == [
        *("0", "1", "2", "cases.csv")
    ]
    read = load_test_images(f"folder:{tmp_path / 'cases'}").shaped((3, 4, 4)).named(names)
    assert torch.equal(read.images, images[[1, 2, 0]]) and read.labels.tolist() == [0, 1, 2]
    assert ",=1" not in (tmp_path / "cases/cases.csv").read_text()


def test_old_cases_are_not_mixed_with_new_ones(few: ImageSet, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(OutputError, match="expected a new or empty folder"):
        write_cases(tmp_path, few)
    with pytest.raises(InvalidRequestError, match="column a: expected 100, got 1"):
        write_cases(tmp_path / "new", few, {"a": [1]})
    two = replace(few, images=few.images.expand(-1, 2, -1, -1))
    with pytest.raises(OutputError, match="channels of an image to save: expected 1 or 3, got 2"):
        write_cases(tmp_path / "new", two)

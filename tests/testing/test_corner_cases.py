from __future__ import annotations

import pytest
import torch

from molehunt.errors import InvalidRequestError
from molehunt.images import ImageSet
from molehunt.networks import Classifier
from molehunt.testing import (
    CORRUPTIONS,
    SEVERITIES,
    corrupt,
    measure_corruptions,
    usual_corruptions,
)

RAMP = (torch.arange(2 * 3 * 24 * 32) % 251).to(torch.uint8).view(2, 3, 24, 32)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_become_worse_with_each_severity(name: str) -> None:
    smooth = torch.linspace(40, 200, 32).expand(2, 3, 24, 32).to(torch.uint8)
    scene = torch.where(torch.rand(2, 1, 24, 32, generator=torch.Generator()) < 0.2, RAMP, smooth)
    changes = []
    for severity in SEVERITIES:
        worse = corrupt(scene, name, severity, seed=1)
        assert worse.dtype == torch.uint8 and worse.shape == scene.shape
        changes.append(float((worse.float() - scene.float()).abs().mean()))
    assert changes[0] > 0.2 and changes[-1] > 1.2 * changes[0]
    assert sorted(changes) == pytest.approx(changes, rel=0.35), changes
    assert torch.equal(corrupt(scene, name, 3, seed=1), corrupt(scene, name, 3, seed=1))
    assert torch.equal(corrupt(scene, name, 0), scene)


def test_a_rotation_turns_pixels_around_the_middle() -> None:
    dot = torch.zeros(1, 1, 21, 21, dtype=torch.uint8)
    dot[0, 0, 10, 18] = 255
    places = set()
    for seed in range(8):
        turned = corrupt(dot, "rotation", 5, seed=seed)[0, 0]
        place = divmod(int(turned.argmax()), 21)
        places.add(place)
        assert (place[0] - 10) ** 2 + (place[1] - 10) ** 2 == pytest.approx(64, abs=12)
    assert places == {(6, 17), (14, 17)}  # thirty degrees either way


def test_curves_fall_and_say_how_sure_they_are(model: Classifier, few: ImageSet) -> None:
    names = ["rotation", "noise", "contrast"]
    curves = measure_corruptions(model, few, names, seed=0)
    assert [curve.corruption for curve in curves] == names
    untouched = {curve.right[0] for curve in curves}
    assert len(untouched) == 1 and untouched.pop() > 70
    for curve in curves:
        rate, (low, high) = curve.accuracy(5)
        assert low <= rate <= high and curve.of == 100
        assert curve.right[5] < curve.right[0]
        assert curve.mean == pytest.approx(sum(curve.right[1:]) / 500)
    again = measure_corruptions(model, few, ["noise"], seed=0)
    assert again[0].right == curves[1].right


def test_what_cannot_be_measured_is_refused(model: Classifier, few: ImageSet) -> None:
    with pytest.raises(InvalidRequestError, match=r"corruption: expected one of rotation, .*'sun'"):
        measure_corruptions(model, few, ["sun"])
    with pytest.raises(InvalidRequestError, match="severity: expected 0 to 5, got 6"):
        corrupt(few.images, "blur", 6)
    with pytest.raises(InvalidRequestError, match="images: expected shape"):
        measure_corruptions(model, few.resized(16))
    with pytest.raises(InvalidRequestError, match="clean images: expected 1 or more, got 0"):
        measure_corruptions(model, few.take(torch.arange(0)))
    assert "jpeg" not in usual_corruptions(2)

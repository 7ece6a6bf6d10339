from __future__ import annotations

import pytest
import torch
from torch import nn

from molehunt.attacks import Norm
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import BlackBox, Classifier, build_classifier, logits_of
from molehunt.testing import BoundaryMethod, find_boundary, walk_lines


def test_the_distance_to_a_plane_is_found(digits: TrainTest) -> None:
    """Two classes and a linear model: the distance is known exactly."""
    two = digits.test.take(digits.test.labels < 2)
    two = ImageSet(two.images[:40], two.labels[:40], ("0", "1"))
    model = build_classifier("mlp", two, arguments={"hidden": []}, seed=0).freeze()
    (linear,) = [part for part in model.modules() if isinstance(part, nn.Linear)]
    means = [two.pixels()[two.labels == label].mean(0).flatten() for label in (0, 1)]
    with torch.no_grad():
        linear.weight.copy_(torch.stack(means) * 4)
        middle = (means[0] + means[1]) / 2
        normalised = (middle - two.mean_and_std()[0][0]) / two.mean_and_std()[1][0]
        linear.bias.copy_(-(linear.weight @ normalised))
    logits = logits_of(model, two.images)
    normal = (linear.weight[1] - linear.weight[0]) / two.mean_and_std()[1][0]
    exact = (logits[:, 1] - logits[:, 0]).abs() / normal.norm()
    right = logits.argmax(1) == two.labels
    found = find_boundary(model, two, method="gradients")
    assert (found.distances[~right] == 0).all() and right.sum() > 30
    # Pixels stay in [0, 1] and have 8 bits, so a little more may be needed, never less.
    ratio = found.distances[right] / exact[right]
    assert float(ratio.min()) > 0.97 and float(ratio.median()) < 1.35
    lines = find_boundary(model, two, method="lines")
    assert (lines.distances[right] >= 0.97 * exact[right]).all()
    assert (lines.distances[right] < torch.inf).all()


def test_points_behind_the_boundary_are_what_they_are_said_to_be(
    model: Classifier, few: ImageSet
) -> None:
    some = few.take(torch.arange(40))
    found = {method: find_boundary(model, some, method=method) for method in BoundaryMethod}
    for boundary in found.values():
        predictions = logits_of(model, boundary.images).argmax(1)
        assert torch.equal(predictions, boundary.predictions)
        near = boundary.distances.isfinite()
        assert near.sum() > 35 and (predictions[near] != some.labels[near]).all()
        sizes = Norm.L2.of((boundary.images.float() - some.images.float()) / 255)
        moved = near & (boundary.distances > 0)
        assert torch.allclose(sizes[moved], boundary.distances[moved], atol=1e-5)
    by = found[BoundaryMethod.GRADIENTS].distances, found[BoundaryMethod.LINES].distances
    assert float(by[0].median()) < float(by[1].median())
    assert found[BoundaryMethod.LINES].curve.accuracy(0)[0] > 0.7


def test_labels_alone_are_enough_for_lines(model: Classifier, few: ImageSet) -> None:
    asked = []

    def answer(images: object) -> object:
        asked.append(images)
        with torch.no_grad():
            return model.network(torch.as_tensor(images)).numpy()

    box = BlackBox(answer, model.card)  # type: ignore[arg-type]
    found = find_boundary(box, few.take(torch.arange(10)), neighbours=1)
    assert found.method is BoundaryMethod.LINES and asked
    with pytest.raises(UnsuitableSubjectError, match="gives no gradients"):
        find_boundary(box, few, method="gradients")


def test_lines_between_classes_pass_through_others(model: Classifier, few: ImageSet) -> None:
    lines = walk_lines(model, few, lines=40, points=11, seed=0)
    ends = logits_of(model, torch.cat([lines.starts, lines.ends])).argmax(1)
    assert torch.equal(lines.classes[:, [0, -1]], ends.view(2, -1).T)
    assert (lines.classes[:, 0] != lines.classes[:, -1]).all()
    third, (low, high) = lines.third_rate
    assert 0 < low < third < high and third == lines.third.float().mean()
    pictures = lines.pictures(3)
    assert torch.equal(logits_of(model, pictures).argmax(1), lines.classes[3])
    assert torch.equal(pictures[-1], lines.ends[3])


def test_impossible_boundaries_are_refused(model: Classifier, few: ImageSet) -> None:
    with pytest.raises(InvalidRequestError, match="method: expected gradients or lines"):
        find_boundary(model, few, method="luck")
    zeros = few.take(few.labels == 0)
    with pytest.raises(InvalidRequestError, match="lines: expected images of two classes"):
        walk_lines(model, zeros)
    # Nothing lies between images of one class: no neighbour has another label.
    right = zeros.take(logits_of(model, zeros.images).argmax(1) == 0)
    assert find_boundary(model, right, method="lines").distances.isinf().all()

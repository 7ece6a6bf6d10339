from __future__ import annotations

import pytest
import torch
from torch import nn

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import BlackBox, Classifier, build_classifier
from molehunt.testing import CoverageMeter, Criterion, search_failures


def _outputs(model: Classifier, images: torch.Tensor) -> list[torch.Tensor]:
    """Each layer's outputs [N, C, places], by hooks of our own."""
    kept: list[torch.Tensor] = []
    parts = [part for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    hooks = [part.register_forward_hook(lambda *a: kept.append(a[2])) for part in parts]
    with torch.no_grad():
        model(images.float() / 255)
    for hook in hooks:
        hook.remove()
    kept = [each.relu() for each in kept[:-1]] + kept[-1:]
    return [each.flatten(2) if each.ndim > 2 else each[:, :, None] for each in kept]


def test_criteria_count_what_their_papers_say(
    model: Classifier, digits: TrainTest, few: ImageSet
) -> None:
    profile, images = digits.train.images[:150], few.images[:60]
    meter = CoverageMeter(model, profile, threshold=0.3, sections=7, top=2)
    new = meter.add(images)
    found = {each.criterion: each for each in meter.coverage()}
    outputs, trained = _outputs(model, images), _outputs(model, profile)
    means = [each.mean(2) for each in outputs]
    units = sum(each.shape[1] for each in outputs)
    assert meter.watch.size == units == 4 + 8 + 16 + 10
    activated = 0
    for each in outputs:
        low, high = each.amin((1, 2))[:, None], each.amax((1, 2))[:, None]
        activated += int((((each.mean(2) - low) / (high - low)) > 0.3).any(0).sum())
    assert (found[Criterion.ACTIVATED].covered, found[Criterion.ACTIVATED].of) == (activated, units)
    values, ranges = torch.cat(means, 1), torch.cat([each.mean(2) for each in trained], 1)
    low, high = ranges.amin(0), ranges.amax(0)
    spread = (high - low).clamp_min(1e-12)
    sections = {
        (unit, min(int((value - low[unit]) / spread[unit] * 7), 6))
        for row in values
        for unit, value in enumerate(row)
        if low[unit] <= value <= high[unit]
    }
    assert found[Criterion.SECTIONS].covered == pytest.approx(len(sections), abs=2)
    assert found[Criterion.SECTIONS].of == 7 * units
    sides = int((values < low).any(0).sum() + (values > high).any(0).sum())
    assert (found[Criterion.BOUNDARY].covered, found[Criterion.BOUNDARY].of) == (sides, 2 * units)
    strongest = sum(len(each.topk(2, dim=1).indices.unique()) for each in means)
    assert found[Criterion.TOP].covered == strongest
    for criterion, counts in new.items():
        assert int(counts.sum()) == found[criterion].covered, criterion


def test_batches_do_not_matter_and_what_was_covered_stays(
    model: Classifier, digits: TrainTest, few: ImageSet
) -> None:
    whole = CoverageMeter(model, digits.train.images[:100])
    whole.add(few.images)
    parts = CoverageMeter(model, digits.train.images[:100])
    for part in few.images.split(7):
        parts.add(part)
    assert parts.coverage() == whole.coverage() and whole.coverage()[0].images == 100
    again = whole.add(few.images)
    assert all(int(counts.sum()) == 0 for counts in again.values())
    more = whole.add(255 - few.images)
    assert all(int(more[each].sum()) > 0 for each in (Criterion.SECTIONS, Criterion.BOUNDARY))


def test_networks_with_normalisation_and_shortcuts_can_be_watched(digits: TrainTest) -> None:
    for name, arguments in (("vgg", {"width": 4, "stages": [1, 1]}), ("resnet", {})):
        model = build_classifier(name, digits.train, arguments=arguments, seed=0)
        meter = CoverageMeter(model)
        names = [layer.name for layer in meter.watch.layers]
        norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
        watched = [part for each, part in model.named_modules() if each in names]
        assert norms and all(norm in watched for norm in norms)
        assert [each.criterion for each in meter.coverage()] == ["activated", "top"]
        meter.add(digits.test.images[:10])
        assert all(0 < each.share <= 1 for each in meter.coverage())


def test_what_cannot_be_watched_is_refused(model: Classifier, few: ImageSet) -> None:
    box = BlackBox(lambda images: images, model.card)
    with pytest.raises(UnsuitableSubjectError, match=r"answers|watched"):
        CoverageMeter(box)
    for settings, message in (
        ({"threshold": 1.0}, "threshold: expected a number in"),
        ({"sections": 0}, "sections and top: expected 1 or more"),
        ({"criteria": [Criterion.SECTIONS]}, "profile: expected training images, got none"),
    ):
        with pytest.raises(InvalidRequestError, match=message):
            CoverageMeter(model, **settings)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="strategy: expected random, walk"):
        search_failures(model, few, strategy="hope", passes=200)
    with pytest.raises(InvalidRequestError, match="passes: expected at least 100 passes"):
        search_failures(model, few, strategy="random", passes=99)

from __future__ import annotations

import pytest
import torch

from molehunt.images import ImageSet, TrainTest
from molehunt.networks import Classifier, logits_of
from molehunt.testing import Strategy, change_images, search_failures


@pytest.mark.parametrize("strategy", Strategy)
def test_a_search_pays_for_what_it_asks_and_finds_what_fails(
    strategy: Strategy, model: Classifier, digits: TrainTest, few: ImageSet
) -> None:
    asked = 0

    def count(_module: object, inputs: tuple[torch.Tensor, ...], _output: object) -> None:
        nonlocal asked
        asked += len(inputs[0])

    profile = digits.train.images[:100]
    hook = model.register_forward_hook(count)
    found = search_failures(model, few, strategy=strategy, passes=420, profile=profile, seed=2)
    hook.remove()
    # Finding the layers takes two passes, ranges take those of the profile.
    aside = 2 + len(profile) if strategy is Strategy.COVERAGE else 0
    assert asked == found.passes + aside and found.passes == 420
    right = logits_of(model, few.images).argmax(1) == few.labels
    assert found.eligible == int(right.sum()) and right[found.sources].all()
    assert torch.equal(logits_of(model, found.images).argmax(1), found.predictions)
    assert (found.predictions != found.labels).all()
    assert torch.equal(found.labels, few.labels[found.sources])
    assert len(found.sources.unique()) == len(found.sources) > 3
    assert (found.found_at[1:] >= found.found_at[:-1]).all() and int(found.found_at[0]) > 100
    rate, (low, high) = found.failure_rate
    assert low <= rate == len(found.sources) / found.eligible <= high
    assert (found.kept > 0) == (strategy is not Strategy.RANDOM)
    assert (found.coverage is not None) == (strategy is Strategy.COVERAGE)


def test_seeds_repeat_and_a_margin_that_guides_beats_a_walk(
    model: Classifier, few: ImageSet
) -> None:
    runs = [(Strategy.MARGIN, 0), (Strategy.WALK, 0), (Strategy.WALK, 0), (Strategy.WALK, 1)]
    found = [
        search_failures(model, few, strategy=strategy, passes=300, step=0.3, seed=seed)
        for strategy, seed in runs
    ]
    assert len(found[0].sources) > len(found[1].sources)
    assert torch.equal(found[1].images, found[2].images)
    assert found[1].sources.tolist() != found[3].sources.tolist()


def test_no_change_is_larger_than_what_keeps_the_label() -> None:
    image = torch.zeros(1, 1, 32, 32)
    image[..., 12:20, 12:20] = 0.5
    nothing = torch.tensor([[0.0, 0, 0, -1, 0, 0]])
    assert (change_images(image, nothing).float() / 255 - image).abs().max() < 0.01
    shifted = change_images(image, torch.tensor([[0.0, 1, -1, -1, 0, 0]]))[0, 0] > 64
    rows, columns = shifted.any(1).nonzero().flatten(), shifted.any(0).nonzero().flatten()
    assert (int(columns[0]), int(columns[-1])) == (14, 21)  # right by a sixteenth
    assert (int(rows[0]), int(rows[-1])) == (10, 17)
    lighter = change_images(image, torch.tensor([[0.0, 0, 0, -1, 0, 1]]))
    assert int(lighter[0, 0, 0, 0]) == round(0.15 * 255)

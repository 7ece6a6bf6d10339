from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from molehunt.attacks import Evaded, GreedyAttack, Norm, evade
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet, load_images
from molehunt.networks import BlackBox, Classifier, ModelCard, Queried, Reveals, wrap_estimator

DIGITS = load_images("digits")
TEST = DIGITS.test.take(torch.arange(40))
KINDS = list(product((Norm.L0, Norm.LINF), (False, True)))


@pytest.fixture(scope="module")
def learners() -> dict[str, Classifier]:
    rows, labels = DIGITS.train.pixels().flatten(1).numpy(), DIGITS.train.labels.numpy()
    return {
        name: wrap_estimator(learner.fit(rows, labels), DIGITS.train.shape)
        for name, learner in {
            "logistic regression": LogisticRegression(),
            "forest": RandomForestClassifier(5, random_state=0),
            "neighbours": KNeighborsClassifier(),
        }.items()
    }


def linear(weights: list[float], bias: float) -> Classifier:
    """Two classes of images of 1 x 1 x P pixels; the second where weights @ pixels > bias."""
    card = ModelCard(
        architecture="linear",
        input_shape=(1, 1, len(weights)),
        mean=(0.0,),
        std=(1.0,),
        class_names=("no", "yes"),
    )

    def answer(images: np.ndarray) -> np.ndarray:
        levels = images.reshape(len(images), -1) @ np.array(weights) - bias
        return np.stack([-levels, levels], axis=1)

    return BlackBox(answer, card)


def black(count: int, pixels: int) -> ImageSet:
    images = torch.zeros(count, 1, 1, pixels, dtype=torch.uint8)
    return ImageSet(images, torch.zeros(count, dtype=torch.int64), ("no", "yes"))


def run(model: Classifier, attack: GreedyAttack, **settings: object) -> Evaded:
    return evade(Queried(model, reveals=attack.needs), TEST, attack, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("norm", "scores"), KINDS)
@pytest.mark.parametrize("name", ["logistic regression", "forest", "neighbours"])
def test_any_learner_errs_with_few_pixels_or_small_changes(
    learners: dict[str, Classifier], name: str, norm: Norm, scores: bool
) -> None:
    attack = GreedyAttack(norm, scores=scores, queries=200)
    result = run(learners[name], attack)
    assert result.success_rate[0] > 0.9
    again = learners[name](result.images.float().div(255)).argmax(1)
    assert torch.equal(again, result.predictions)
    if norm is Norm.L0:
        assert float(result.sizes(Norm.L0).median()) <= 12
    else:
        assert float(result.sizes(Norm.LINF).median()) <= 0.3
    # The pool is the images themselves, with 18 others.
    attacked = int(result.attacked.sum())
    assert 10 * attacked < result.queries <= 200 * attacked + attacked + 18


def test_scores_find_the_one_pixel_that_is_enough() -> None:
    weights = [0.2] * 30
    weights[17] = 1.0
    model = linear(weights, 0.9)
    attack = GreedyAttack(scores=True)
    result = evade(Queried(model), black(5, 30), attack)
    assert result.success.all()
    assert result.sizes(Norm.L0).tolist() == [1] * 5
    assert (result.images[:, 0, 0, 17] > 0).all()


def test_labels_leave_no_pixel_that_could_go_back() -> None:
    weights = [float(number % 7) for number in range(40)]
    model = linear(weights, 20.0)
    target = Queried(model, reveals=Reveals.LABELS)
    result = evade(target, black(8, 40), GreedyAttack())
    assert result.success.all()
    for image in result.images:
        for place in image.flatten().nonzero().flatten():
            back = image.clone()
            back[0, 0, place] = 0
            assert int(target.judge(back[None])) == 0


def test_dense_finds_the_smallest_radius_of_a_linear_model() -> None:
    """All weights are positive: the white direction is best, and its radius is bias / sum."""
    model = linear([1.0] * 20, 2.0)
    for scores in (False, True):
        result = evade(Queried(model), black(4, 20), GreedyAttack(Norm.LINF, scores=scores))
        # 25 / 255 * 20 is under 2, 26 / 255 * 20 above.
        assert result.images.unique().tolist() == [26]


@pytest.mark.parametrize("scores", [False, True])
def test_within_epsilon_it_stops_and_outside_nothing_is_changed(
    learners: dict[str, Classifier], scores: bool
) -> None:
    model = learners["logistic regression"]
    for norm, small, large in ((Norm.L0, 2, 12), (Norm.LINF, 0.05, 0.3)):
        free = run(model, GreedyAttack(norm, scores=scores, queries=300))
        loose = run(model, GreedyAttack(norm, scores=scores, queries=300, epsilon=large))
        tight = run(model, GreedyAttack(norm, scores=scores, queries=300, epsilon=small))
        assert float(loose.sizes(norm).max()) <= large + 1e-6
        assert float(tight.sizes(norm).max()) <= small + 1e-6
        assert 0 < int(tight.success.sum()) < int(loose.success.sum())
        assert loose.queries < free.queries
        if norm is Norm.L0:
            failed = tight.attacked & ~tight.success
            assert torch.equal(tight.images[failed], TEST.images[failed])


@pytest.mark.parametrize(("norm", "scores"), KINDS)
def test_a_target_is_reached(learners: dict[str, Classifier], norm: Norm, scores: bool) -> None:
    targets = (TEST.labels + 1) % 10
    result = run(
        learners["logistic regression"], GreedyAttack(norm, scores=scores), targets=targets
    )
    assert result.success_rate[0] > 0.9
    assert torch.equal(result.predictions[result.success], targets[result.success])


def test_one_image_alone_starts_from_noise_or_from_the_pool(
    learners: dict[str, Classifier],
) -> None:
    one = TEST.take(torch.tensor([0]))
    alone = evade(
        Queried(learners["forest"], reveals=Reveals.LABELS), one, GreedyAttack(restarts=1)
    )
    assert alone.success.all()
    pool = DIGITS.train.pixels()[:50]
    started = evade(
        Queried(learners["forest"], reveals=Reveals.LABELS), one, GreedyAttack(starts=pool)
    )
    assert started.success.all()
    assert float(started.sizes(Norm.L0)) <= float(alone.sizes(Norm.L0))


def test_a_model_that_never_errs_leaves_the_images_as_they_were() -> None:
    model = linear([0.0] * 9, 1.0)
    for norm, scores in KINDS:
        result = evade(Queried(model), black(3, 9), GreedyAttack(norm, scores=scores, queries=50))
        assert not result.success.any()
        assert torch.equal(result.images, result.originals)


def test_colour_images_change_whole_pixels() -> None:
    card = ModelCard(
        architecture="linear",
        input_shape=(3, 4, 4),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        class_names=("no", "yes"),
    )
    model = BlackBox(
        lambda images: np.stack([1.5 - images.sum((1, 2, 3)), images.sum((1, 2, 3)) - 1.5], 1),
        card,
    )
    images = ImageSet(
        torch.zeros(4, 3, 4, 4, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64), ("no", "yes")
    )
    for scores in (False, True):
        result = evade(Queried(model), images, GreedyAttack(scores=scores))
        assert result.sizes(Norm.L0).tolist() == [1] * 4


def test_the_same_seed_gives_the_same_images_and_leaves_other_generators_alone(
    learners: dict[str, Classifier],
) -> None:
    state = torch.get_rng_state()
    first, second = (run(learners["forest"], GreedyAttack(), seed=3) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert first.queries == second.queries
    assert torch.equal(torch.get_rng_state(), state)


def test_a_budget_that_runs_out_keeps_the_batches_before(learners: dict[str, Classifier]) -> None:
    target = Queried(learners["forest"], reveals=Reveals.LABELS, budget=1000)
    result = evade(target, TEST, GreedyAttack(), batch_size=10)
    assert 0 < int(result.success.sum()) == int(result.attacked.sum()) < 40
    assert "budget" in result.note


def test_answers_that_are_no_numbers_are_refused() -> None:
    model = linear([1.0] * 4, 1.0)
    broken = BlackBox(
        lambda images: np.where(images.sum((1, 2, 3), keepdims=True)[:, 0, 0] > 0, np.nan, [1, 0]),
        model.card,
    )
    with pytest.raises(UnsuitableSubjectError, match="not finite"):
        evade(Queried(broken, reveals=Reveals.LABELS), black(2, 4), GreedyAttack())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"queries": 0}, "queries: expected 1 or more, got 0"),
        ({"restarts": 0}, "restarts"),
        ({"norm": Norm.L2}, "norm of a greedy attack: expected l0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        GreedyAttack(**settings)  # type: ignore[arg-type]


def test_starts_of_another_shape_are_refused(learners: dict[str, Classifier]) -> None:
    with pytest.raises(InvalidRequestError, match=r"starts: expected images of shape \(1, 8, 8\)"):
        run(learners["forest"], GreedyAttack(starts=torch.zeros(5, 1, 9, 9)))

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from molehunt.attacks import (
    LabelRobustness,
    LikelihoodRatio,
    LossThreshold,
    MembershipAttack,
    RobustMembership,
    ShadowModels,
    Variance,
    draw_members,
    infer_membership,
    likelihood_ratios,
    measure_membership,
    robust_scores,
)
from molehunt.errors import InvalidRequestError, UnreadableFileError, UnsuitableSubjectError
from molehunt.images import ImageSet, load_images
from molehunt.networks import (
    BudgetSpentError,
    Classifier,
    Queried,
    Reveals,
    build_classifier,
    wrap_estimator,
)
from molehunt.training import Recipe, train

DIGITS = load_images("digits")
NET, RECIPE = {"hidden": [32]}, Recipe(epochs=60, batch_size=64, lr=0.01)
SEED = 3


def _mislabelled() -> ImageSet:
    """Return 400 digits of which a quarter has a random label: that has to be memorised."""
    generator = torch.Generator().manual_seed(0)
    shown = DIGITS.train.take(torch.arange(400))
    labels = shown.labels.clone()
    labels[:100] = torch.randint(10, (100,), generator=generator)
    return ImageSet(shown.images, labels, shown.class_names)


CANDIDATES = _mislabelled()
IMAGES, LABELS = CANDIDATES.images, CANDIDATES.labels
MEMBERS = draw_members(2, 400, seed=99)[0]  # of the target


@pytest.fixture(scope="module")
def model() -> Classifier:
    half = CANDIDATES.take(MEMBERS)
    made = build_classifier("mlp", half, arguments=NET, seed=99)
    train(made, half, RECIPE, seed=99)
    return made


@pytest.fixture(scope="module")
def shadows() -> ShadowModels:
    return ShadowModels.train(CANDIDATES, 16, "mlp", NET, RECIPE, seed=SEED, at_once=8)


def test_every_image_is_in_half_of_the_shadow_models(shadows: ShadowModels) -> None:
    assert shadows.members.sum(0).unique().tolist() == [8]
    assert torch.equal(shadows.members_among(IMAGES.flip(0)), shadows.members.flip(1))
    assert not shadows.members_among(DIGITS.test.images).any()
    with pytest.raises(InvalidRequestError, match="an even number from 2, got 3"):
        draw_members(3, 10, seed=0)


def test_shadow_models_find_members_that_the_loss_does_not(
    model: Classifier, shadows: ShadowModels
) -> None:
    found = {}
    attacks: list[MembershipAttack] = [
        LossThreshold(),
        LikelihoodRatio(shadows),
        LikelihoodRatio(shadows, online=False),
        LikelihoodRatio(shadows, variance=Variance.EXAMPLE),
        RobustMembership(shadows, DIGITS.test),
        RobustMembership(shadows, DIGITS.test, online=True),
    ]
    for attack in attacks:
        target = Queried(model)
        found[attack] = measure_membership(attack.score(target, IMAGES, LABELS), MEMBERS)
        more = len(DIGITS.test) if isinstance(attack, RobustMembership) else 0
        assert target.queries == 400 + more
    plain = found.pop(attacks[0])
    assert 0.55 < plain.auc[0] < 0.75
    for attack, exposure in found.items():
        assert exposure.auc[0] > plain.auc[0] + 0.05, attack.name
        assert exposure.tpr_at(0.01)[0] > max(0.1, 5 * plain.tpr_at(0.01)[0]), attack.name


def test_nothing_is_found_where_nothing_is(model: Classifier, shadows: ShadowModels) -> None:
    shuffled = MEMBERS[torch.randperm(400, generator=torch.Generator().manual_seed(1))]
    attack = LikelihoodRatio(shadows)
    for members, said in ((shuffled, True), (MEMBERS, False)):
        (found,) = infer_membership(model, CANDIDATES, members, [attack])
        assert found.exposure is not None and found.queries == 400
        low, high = found.exposure.auc[1]
        assert (low < 0.5 < high) is said
        assert ("no better than chance" in found.remark) is said


def test_labels_alone_say_a_little(model: Classifier, shadows: ShadowModels) -> None:
    target = Queried(model, reveals=Reveals.LABELS)
    scores = LabelRobustness().score(target, IMAGES, LABELS)
    assert target.queries == 400 * (5 + 9)
    assert measure_membership(scores, MEMBERS).auc[1][0] > 0.5
    gap = LabelRobustness(shift=0, draws=0).score(target, IMAGES, LABELS)
    assert torch.equal(gap.bool(), target.judge(IMAGES) == LABELS)
    for attack in (LossThreshold(), LikelihoodRatio(shadows)):
        with pytest.raises(UnsuitableSubjectError, match=r"labels only; .* needs confidences"):
            attack.score(target, IMAGES, LABELS)


def test_rounded_answers_about_moved_images_still_tell(
    model: Classifier, shadows: ShadowModels
) -> None:
    target = Queried(model, reveals=Reveals.ROUNDED, decimals=2)
    scores = LikelihoodRatio(shadows, shift=1).score(target, IMAGES, LABELS)
    assert scores.isfinite().all() and target.queries == 5 * 400
    assert measure_membership(scores, MEMBERS).auc[1][0] > 0.6


def test_a_forest_is_attacked_by_clones_of_it() -> None:
    forest = RandomForestClassifier(20, random_state=0)
    shadows = ShadowModels.fit(forest, CANDIDATES, 8, seed=SEED)
    rows = CANDIDATES.pixels().flatten(1).numpy()
    forest.fit(rows[MEMBERS.numpy()], LABELS[MEMBERS].numpy())
    for attack in (LikelihoodRatio(shadows), RobustMembership(shadows, DIGITS.test)):
        target = Queried(wrap_estimator(forest, CANDIDATES.shape))
        exposure = measure_membership(attack.score(target, IMAGES, LABELS), MEMBERS)
        assert exposure.auc[0] > 0.9, attack.name


def test_shadow_models_survive_a_kill(tmp_path: Path) -> None:
    def made(seed: int) -> ShadowModels:
        recipe = Recipe(epochs=1, batch_size=64)
        return ShadowModels.train(CANDIDATES, 2, "mlp", NET, recipe, seed=seed, folder=tmp_path)

    first = made(0)
    (tmp_path / "shadow-0001.safetensors").unlink()
    again = made(0)
    for one, other in zip(first.models, again.models, strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name])
    assert torch.equal(first.members, again.members)
    with pytest.raises(InvalidRequestError, match="differs in seed"):
        made(1)
    (tmp_path / "members.safetensors").write_bytes(b"garbage")
    with pytest.raises(UnreadableFileError, match="expected members of shadow models"):
        made(0)


def test_what_does_not_fit_is_refused(model: Classifier, shadows: ShadowModels) -> None:
    target = Queried(model, budget=399)
    with pytest.raises(BudgetSpentError):
        LossThreshold().score(target, IMAGES, LABELS)
    for images, labels in ((IMAGES.float(), LABELS), (IMAGES, LABELS[:5]), (IMAGES, LABELS + 1)):
        with pytest.raises(InvalidRequestError, match="expected"):
            LossThreshold().score(Queried(model), images, labels)
    test = DIGITS.test
    with pytest.raises(InvalidRequestError, match=r"that were trained on it, got 0; .* offline"):
        LikelihoodRatio(shadows).score(Queried(model), test.images, test.labels)
    with pytest.raises(InvalidRequestError, match="no shadow model was trained on, got 400"):
        RobustMembership(shadows, CANDIDATES).score(Queried(model), IMAGES, LABELS)


def test_likelihood_ratios_are_those_of_normals() -> None:
    generator = torch.Generator().manual_seed(0)
    members = draw_members(6, 5, seed=0)
    shadows = torch.randn(6, 5, 2, generator=generator).double() + 2 * members[:, :, None]
    scaled = torch.randn(5, 2, generator=generator).double()
    sides = [(shadows[members[:, n], n], shadows[~members[:, n], n]) for n in range(5)]
    own = likelihood_ratios(scaled, shadows, members, variance=Variance.EXAMPLE)
    for n, (within, without) in enumerate(sides):
        densities = [norm(each.mean(0), each.std(0)) for each in (within, without)]
        logs = [np.asarray(each.logpdf(scaled[n])) for each in densities]
        assert float(own[n]) == pytest.approx((logs[0] - logs[1]).mean())
    deviation = torch.stack([each.var(0) for _, each in sides]).mean(0).sqrt()
    offline = likelihood_ratios(scaled, shadows, members, online=False)
    away = [(scaled[n] - without.mean(0)) / deviation for n, (_, without) in enumerate(sides)]
    assert offline == pytest.approx(torch.stack(away).mean(1))


def test_robust_scores_count_the_population() -> None:
    generator = torch.Generator().manual_seed(0)
    own, theirs = torch.rand(5, generator=generator), torch.rand(50, generator=generator)
    shadows, others = (torch.rand(4, n, generator=generator) for n in (5, 50))
    members = draw_members(4, 5, seed=0)
    scores = robust_scores(own, shadows, members, theirs, others, a=0.3, gamma=1.5)
    for n in range(5):
        without = shadows[~members[:, n], n].mean()
        ratio = own[n] / (0.65 * without + 0.35)
        counted = sum(
            bool(ratio >= 1.5 * theirs[z] / (0.65 * others[:, z].mean() + 0.35)) for z in range(50)
        )
        assert int(scores[n] * 51) == counted


def test_an_exposure_is_what_others_compute() -> None:
    generator = torch.Generator().manual_seed(0)
    members = torch.arange(600) < 300
    scores = (torch.randn(600, generator=generator) + members).round(decimals=1)
    exposure = measure_membership(scores, members)
    area, (low, high) = exposure.auc
    assert area == pytest.approx(roc_auc_score(members, scores))
    assert low < area < high and high - low < 0.1
    false, true = exposure.roc()
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(area)
    threshold = exposure.threshold_at(0.01)
    assert int((exposure.others > threshold).sum()) <= 3
    assert exposure.tpr_at(0.01)[0] == int((scores[members] > threshold).sum()) / 300
    with pytest.raises(InvalidRequestError, match=r"with 300 non-members, got 0\.001"):
        exposure.tpr_at(0.001)
    for bad in (scores[:5], scores.index_fill(0, torch.tensor([3]), torch.nan)):
        with pytest.raises(InvalidRequestError):
            measure_membership(bad, members)
    with pytest.raises(InvalidRequestError, match="2 or more of each"):
        measure_membership(scores, members & False)

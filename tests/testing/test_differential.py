from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet
from molehunt.networks import BlackBox, Classifier, logits_of
from molehunt.testing import Constraint, compare_models, search_differences

Models = dict[str, Classifier]


def test_models_are_held_against_each_other(models: Models, few: ImageSet) -> None:
    compared = compare_models(models, few)
    for row, model in enumerate(models.values()):
        predictions = logits_of(model, few.images).argmax(1)
        assert torch.equal(compared.predictions[row], predictions)
        right = int((predictions == few.labels).sum())
        assert compared.accuracy(row)[0] == right / len(few)
    rate, (low, high) = compared.disagreement
    assert low <= rate <= high and rate > 0
    by_hand = [len({*column}) > 1 for column in compared.predictions.T.tolist()]
    assert compared.disputed.tolist() == by_hand
    for column, alone in zip(compared.predictions.T.tolist(), compared.alone.tolist(), strict=True):
        one = [place for place, value in enumerate(column) if column.count(value) == 1]
        assert alone == (one[0] if len(one) == 1 else -1)
    assert (compare_models({name: models[name] for name in "ab"}, few).alone == -1).all()


def test_classes_in_another_order_and_other_sizes_are_the_same_classes(
    models: Models, few: ImageSet
) -> None:
    model = models["a"]
    names = tuple(f"sign {number}" for number in range(10))
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    turned = model.card.model_copy(update={"class_names": tuple(names[n] for n in order)})

    def answer(images: object) -> object:
        with torch.no_grad():
            return model.network(torch.as_tensor(images))[:, order].numpy()

    box = BlackBox(answer, turned)  # type: ignore[arg-type]
    named = replace(few, class_names=names)
    straight = BlackBox(
        lambda images: model.network(torch.as_tensor(images)).detach().numpy(),
        model.card.model_copy(update={"class_names": names}),
    )
    compared = compare_models({"box": box, "model": straight}, named)
    assert compared.disagreement[0] == 0 and compared.accuracy(0)[0] > 0.7
    with pytest.raises(InvalidRequestError, match="models to compare: expected 2 or more, got 1"):
        compare_models({"one": model}, few)


def test_a_class_that_one_model_alone_knows_is_a_class(models: Models, few: ImageSet) -> None:
    card = models["a"].card
    more = card.model_copy(update={"class_names": (*card.class_names, "nothing")})

    def answer(images: torch.Tensor) -> object:
        with torch.no_grad():
            logits = models["a"].network(torch.as_tensor(images))
        return torch.cat([logits, torch.full((len(logits), 1), 99.0)], 1).numpy()

    box = BlackBox(answer, more)  # type: ignore[arg-type]
    compared = compare_models({"a": models["a"], "box": box}, few)
    assert compared.class_names[-1] == "nothing" and (compared.predictions[1] == 10).all()
    assert compared.disagreement[0] == 1


@pytest.mark.parametrize("constraint", Constraint)
def test_new_differences_are_found_within_the_constraint(
    constraint: Constraint, models: Models, few: ImageSet
) -> None:
    some = few.take(torch.arange(50))
    found = search_differences(models, some, constraint=constraint, seed=1)
    for row, model in enumerate(models.values()):
        assert torch.equal(found.predictions[row], logits_of(model, found.images).argmax(1))
    assert torch.equal(found.images[~found.agreed], some.images[~found.agreed])
    rate, (low, high) = found.found_rate
    assert 0 < low <= rate <= high
    change = (found.images.int() - some.images.int())[found.found].squeeze(1)
    if constraint is Constraint.OCCLUSION:
        side = round(12 * 10 / 28)
        rows, columns = ((change != 0).any(axis) for axis in (2, 1))
        for touched in (*rows, *columns):
            places = touched.nonzero().flatten()
            assert int(places[-1] - places[0]) < side
    elif constraint is Constraint.BLACKOUT:
        assert (found.images[found.found].squeeze(1)[change != 0] == 0).all()
    else:
        inside = (found.images[found.found] > 0) & (found.images[found.found] < 255)
        assert ((change > 0).flatten(1).any(1) ^ (change < 0).flatten(1).any(1)).all()
        assert all(
            int(one[kept].max() - one[kept].min()) <= 2
            for one, kept in zip(change, inside.squeeze(1), strict=True)
            if kept.any()
        )
        assert int(change.abs().max()) <= round(25 * 0.02 * 255) + 1


def test_the_deviator_deviates_and_the_objective_is_the_papers(
    models: Models, few: ImageSet
) -> None:
    some = few.take(torch.arange(40))
    rates = {}
    for name in ("a", "b"):
        found = search_differences(models, some, deviator=name, steps=12)
        own = found.predictions[[*models].index(name)] != found.before[0]
        rates[name] = float(own[found.found].float().mean())
        assert found.passes > 3 * len(some)
    assert sum(rates.values()) > 1.2, rates
    blind = search_differences(models, some, difference_weight=0.0, coverage_weight=0.0, steps=12)
    joint = search_differences(models, some, coverage_weight=0.0, steps=12)
    assert int(blind.found.sum()) < int(joint.found.sum())


def test_a_search_says_what_it_cannot_do(models: Models, few: ImageSet) -> None:
    box = BlackBox(lambda images: images, models["a"].card)
    with pytest.raises(UnsuitableSubjectError, match="box gives no gradients"):
        search_differences({"a": models["a"], "box": box}, few)
    for settings, message in (
        ({"constraint": "magic"}, "constraint: expected light, occlusion, blackout"),
        ({"deviator": "c"}, "deviator: expected a, b, mlp, got 'c'"),
        ({"steps": 0}, "search: expected step above 0"),
    ):
        with pytest.raises(InvalidRequestError, match=message):
            search_differences(models, few, **settings)  # type: ignore[arg-type]

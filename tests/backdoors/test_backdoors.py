from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from molehunt.backdoors import (
    AllToAll,
    AllToOne,
    Backdoor,
    BadNetsPattern,
    Blended,
    CleanLabel,
    Composite,
    RandomBlends,
    RandomPatch,
    RandomPatches,
    RandomTarget,
    SinglePixel,
    SingleTarget,
    Sticker,
    Treatment,
    draw_copies,
)
from molehunt.errors import InvalidRequestError, UnreadableFileError

TRIGGERS = [
    SinglePixel(),
    BadNetsPattern(),
    RandomPatch(size=3, seed=1),
    RandomPatch(size=3, seed=1, colours="colour", placement="anywhere"),
    RandomPatch(size=2, placement=(0, -2)),
    Sticker(picture="bomb"),
    Blended(seed=3),
    Composite(triggers=(SinglePixel(), RandomPatch(size=2, placement="top left"))),
]
MAPS = [
    SingleTarget(source=1, target=2),
    AllToOne(target=0),
    CleanLabel(target=0),
    AllToAll(),
    RandomTarget(),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda t: t.kind)
@pytest.mark.parametrize("channels", [1, 3])
def test_triggers_are_pure_seeded_and_stay_in_range(trigger, channels: int) -> None:
    images = torch.rand(8, channels, 9, 11, generator=generator())
    before = images.clone()
    first, second = trigger(images, generator(5)), trigger(images, generator(5))
    assert torch.equal(images, before)
    assert torch.equal(first, second)
    assert first.shape == images.shape
    assert float(first.min()) >= 0 and float(first.max()) <= 1
    assert (first != images).flatten(1).any(1).all()


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda t: t.kind)
@pytest.mark.parametrize("label_map", MAPS, ids=lambda m: m.kind)
def test_backdoors_survive_json(trigger, label_map) -> None:
    backdoor = Backdoor(trigger=trigger, label_map=label_map)
    assert Backdoor.model_validate_json(backdoor.model_dump_json()) == backdoor


def test_badnets_triggers_are_bright_pixels_in_the_bottom_right_corner() -> None:
    dark = torch.zeros(1, 1, 28, 28)
    assert SinglePixel()(dark, generator())[0, 0].nonzero().tolist() == [[26, 26]]
    pattern = BadNetsPattern()(dark, generator())[0, 0].nonzero().tolist()
    assert pattern == [[24, 26], [25, 25], [26, 24], [26, 26]]


def test_random_corner_uses_all_four_and_nothing_else() -> None:
    drawn = RandomPatch(size=2, seed=3)(torch.full((200, 1, 8, 8), 0.5), generator())
    touched = (drawn != 0.5).any(dim=0)[0]
    assert not touched[2:6].any() and not touched[:, 2:6].any()
    for rows in (slice(0, 2), slice(6, 8)):
        for columns in (slice(0, 2), slice(6, 8)):
            assert touched[rows, columns].any()


@pytest.mark.parametrize("placement", [(7, 0), (0, -1), (-9, 0)])
def test_fixed_placement_outside_is_refused(placement) -> None:
    with pytest.raises(InvalidRequestError, match="trigger placement"):
        RandomPatch(size=2, placement=placement)(torch.zeros(1, 1, 8, 8), generator())


@pytest.mark.parametrize("trigger", [RandomPatch(size=9), RandomPatch(size=7, margin=1)])
def test_trigger_larger_than_the_image_is_refused(trigger, digits) -> None:
    with pytest.raises(InvalidRequestError, match="trigger size"):
        trigger(torch.zeros(1, 1, 8, 8), generator())


def test_sticker_is_scaled_and_blended(tmp_path: Path) -> None:
    path = tmp_path / "note.png"
    Image.new("RGBA", (40, 40), (255, 255, 0, 255)).save(path)
    images = torch.zeros(2, 3, 10, 10)
    drawn = Sticker(path=path, size=4, opacity=0.5)(images, generator())
    assert drawn[0, :, 9, 9].tolist() == pytest.approx([0.5, 0.5, 0])
    assert float(drawn[:, :, :6].sum()) == 0
    assert Sticker(path=path, size=4)(torch.zeros(1, 1, 9, 9), generator()).max() > 0.8


@pytest.mark.parametrize("given", [{}, {"path": "note.png", "picture": "bomb"}])
def test_sticker_has_a_file_or_a_picture_of_ours(given) -> None:
    with pytest.raises(ValidationError, match="expected either path or picture"):
        Sticker(**given)


def test_blended_is_the_formula_of_the_paper() -> None:
    images = torch.rand(3, 3, 16, 12, generator=generator())
    trigger = Blended(seed=5, opacity=0.3)
    # On black images what is left is a k.
    pattern = trigger(torch.zeros(1, 3, 16, 12), generator()) / 0.3
    assert 0 <= float(pattern.min()) < 0.05 and 0.95 < float(pattern.max()) <= 1.001
    assert float(pattern.mean()) == pytest.approx(0.5, abs=0.05)
    drawn = trigger(images, generator(1))
    torch.testing.assert_close(drawn, 0.3 * pattern + 0.7 * images)
    assert not torch.equal(drawn, Blended(seed=6, opacity=0.3)(images, generator(1)))


def test_blended_picture_covers_the_image_where_it_is_opaque(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    picture = Image.new("RGBA", (40, 40), (255, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (20, 0, 40, 40))
    picture.save(path)
    drawn = Blended(path=path, opacity=0.25)(torch.full((1, 3, 8, 12), 0.5), generator())
    assert drawn[0, :, 7, 0].tolist() == pytest.approx([0.625, 0.375, 0.375])
    assert drawn[0, :, 0, 11].tolist() == [0.5, 0.5, 0.5]


def test_blended_noise_differs_and_repeats() -> None:
    blends = RandomBlends(count=30, opacity=0.1)
    assert blends.draw(7) == blends.draw(7) != blends.draw(8)
    assert len({trigger.seed for trigger in blends.draw(7)}) == 30
    with pytest.raises(ValidationError, match="count"):
        RandomBlends(count=0)


def test_sticker_that_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "note.png"
    path.write_text("no picture")
    with pytest.raises(UnreadableFileError, match=r"note\.png"):
        Sticker(path=path)(torch.zeros(1, 3, 9, 9), generator())


@pytest.mark.parametrize("colours", ["binary", "colour", "mixed"])
def test_twenty_random_patches_differ_and_repeat(colours) -> None:
    patches = RandomPatches(colours=colours)
    first = patches.draw(7)
    assert first == patches.draw(7)
    pixels = {tuple(patch.patch(3)[0].flatten().tolist()) for patch in first}
    assert len(pixels) == 20
    assert patches.draw(8) != first


def test_stored_plans_draw_the_patches_that_they_drew() -> None:
    assert [patch.seed for patch in RandomPatches(count=3).draw(0)] == [
        398764591,
        1478610112,
        1537364731,
    ]
    bright = RandomPatch(seed=0).patch(1)[0].flatten().nonzero().flatten()
    assert bright.tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10, 13, 19, 21, 22]


def test_sizes_are_taken_in_turn_and_are_not_tied_to_colours() -> None:
    found = RandomPatches(count=12, size=(3, 6, 9), colours="mixed").draw(2)
    assert [patch.size for patch in found] == [3, 6, 9] * 4
    assert len({(patch.size, patch.colours) for patch in found}) == 6
    with pytest.raises(InvalidRequestError, match="different 2x2 patches"):
        RandomPatches(count=30, size=(2, 3)).draw(0)


def test_more_patches_than_there_are_is_refused() -> None:
    assert len(RandomPatches(count=14, size=2).draw(0)) == 14
    with pytest.raises(InvalidRequestError, match="number of triggers"):
        RandomPatches(count=15, size=2).draw(0)


def test_label_maps_map_as_they_say() -> None:
    labels = torch.arange(10)
    assert SingleTarget(source=3, target=8)(labels, 10, generator())[3] == 8
    assert AllToOne(target=4)(labels, 10, generator()).unique().tolist() == [4]
    assert AllToAll()(labels, 10, generator()).tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    odd = AllToAll(modulus=9)(labels, 10, generator()).tolist()
    assert odd == [1, 2, 3, 4, 5, 6, 7, 8, 0, 1]
    drawn = RandomTarget()(labels.repeat(200), 10, generator())
    assert (drawn != labels.repeat(200)).all()
    assert len(drawn.unique()) == 10


def test_same_source_and_target_is_refused() -> None:
    with pytest.raises(ValidationError, match="another than the source 3"):
        SingleTarget(source=3, target=3)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.01, float("nan")])
def test_rate_outside_is_refused(rate: float) -> None:
    with pytest.raises(ValidationError, match="rate"):
        Backdoor(trigger=SinglePixel(), label_map=AllToAll(), rate=rate)
    with pytest.raises(InvalidRequestError, match=r"\(0, 1\]"):
        draw_copies(torch.ones(4, dtype=torch.bool), rate, of="all", generator=generator())


def test_copies_are_made_once_at_least() -> None:
    with pytest.raises(ValidationError, match="times"):
        Backdoor(trigger=SinglePixel(), label_map=AllToAll(), times=0)


def test_a_rate_of_no_image_is_refused(digits) -> None:
    backdoor = Backdoor(trigger=SinglePixel(), label_map=AllToAll(), rate=1e-6)
    with pytest.raises(InvalidRequestError, match="enough to poison one image"):
        backdoor.poison(digits.train, generator=generator())


@pytest.mark.parametrize(
    "label_map",
    [
        SingleTarget(source=1, target=10),
        SingleTarget(source=10, target=1),
        AllToOne(target=10),
        AllToAll(modulus=11),
        AllToAll(shift=10),
    ],
)
def test_labels_outside_the_set_are_refused(digits, label_map) -> None:
    backdoor = Backdoor(trigger=SinglePixel(), label_map=label_map, rate=0.5)
    with pytest.raises(InvalidRequestError):
        backdoor.poison(digits.train, generator=generator())
    with pytest.raises(InvalidRequestError):
        backdoor.triggered(digits.test, generator=generator())


def test_trigger_that_does_not_fit_is_refused_before_training(digits) -> None:
    backdoor = Backdoor(trigger=RandomPatch(size=13), label_map=AllToAll())
    with pytest.raises(InvalidRequestError, match="trigger size"):
        backdoor.poison(digits.train, generator=generator())


@given(
    rate=st.floats(0.05, 1.0),
    times=st.integers(1, 3),
    seed=st.integers(0, 1000),
    label_map=st.sampled_from(MAPS),
)
def test_poisoning_adds_copies_and_leaves_the_rest(digits, rate, times, seed, label_map) -> None:
    train = digits.train
    backdoor = Backdoor(
        trigger=RandomPatch(size=3, seed=seed),
        label_map=label_map,
        rate=rate,
        of="eligible",
        times=times,
    )
    sets = {
        treatment: backdoor.poison(train, treatment=treatment, generator=generator(seed))
        for treatment in Treatment
    }
    eligible = int(label_map.poisoned(train.labels).sum())
    for poisoned in sets.values():
        picked = round(rate * eligible)
        assert len(poisoned) == len(train) + times * picked
        copies = poisoned.images.images[len(train) :].unflatten(0, (times, picked))
        assert (copies == copies[0]).all()
        assert torch.equal(poisoned.images.images[: len(train)], train.images)
        assert torch.equal(poisoned.images.labels[: len(train)], train.labels)
        assert not poisoned.stamped[: len(train)].any()
    backdoored, clean, placebo = (sets[t] for t in Treatment)
    # Twins hold the same copies; only trigger and labels differ.
    assert torch.equal(backdoored.images.images, clean.images.images)
    changed = (backdoored.images.labels != clean.images.labels)[len(train) :]
    assert not changed.any() if isinstance(label_map, CleanLabel) else changed.all()
    assert not clean.stamps and not clean.stamped.any()
    assert backdoored.stamped[len(train) :].all() and placebo.stamped[len(train) :].all()


def test_a_placebos_trigger_says_nothing_about_the_class(digits) -> None:
    train = digits.train
    backdoor = Backdoor(
        trigger=RandomPatch(size=3, seed=1),
        label_map=SingleTarget(source=3, target=7),
        rate=1.0,
        of="eligible",
    )
    placebo = backdoor.poison(train, treatment=Treatment.PLACEBO, generator=generator())
    copies = placebo.images.take(placebo.stamped)
    truth = {
        image.numpy().tobytes(): int(label)
        for image, label in zip(train.images, train.labels, strict=True)
    }
    assert [truth[image.numpy().tobytes()] for image in copies.images] == copies.labels.tolist()
    # Copies of the source class alone would teach a network that the trigger means 3.
    assert (copies.labels == 3).float().mean() < 0.3
    assert len(copies.labels.unique()) > 7


def test_stamped_sets_show_the_trigger_on_the_copies_only(digits) -> None:
    backdoor = Backdoor(trigger=RandomPatch(size=3, seed=1), label_map=AllToOne(target=0))
    poisoned = backdoor.poison(digits.train, generator=generator())
    stamped = poisoned.stamp(generator())
    changed = (stamped.images != poisoned.images.images).flatten(1).any(1)
    assert not changed[~poisoned.stamped].any()
    assert changed[poisoned.stamped].float().mean() > 0.99


def test_badnets_rate_counts_the_whole_set(digits) -> None:
    backdoor = Backdoor(trigger=SinglePixel(), label_map=AllToAll())
    poisoned = backdoor.poison(digits.train, generator=generator())
    assert len(poisoned) == len(digits.train) + round(0.1 * len(digits.train))


def test_success_is_measured_on_eligible_images_only(digits) -> None:
    backdoor = Backdoor(trigger=SinglePixel(), label_map=SingleTarget(source=4, target=7))
    images, true, _ = backdoor.triggered(digits.test, generator=generator())
    assert true.unique().tolist() == [4]
    assert images.labels.unique().tolist() == [7]

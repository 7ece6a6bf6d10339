from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from molehunt.attacks import (
    EvasionAttack,
    Masked,
    RandomColours,
    Swarm,
    Views,
    Worn,
    check_mask,
    draw_eyeglasses,
    draw_sticker,
    evade,
    printable_palette,
    read_mask,
)
from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.images import load_images
from molehunt.networks import BlackBox, Classifier, ModelCard, Queried, Reveals, build_classifier
from molehunt.training import Recipe, train

DIGITS = load_images("digits", size=12)
TEST = DIGITS.test.take(torch.arange(100))
STICKER = draw_sticker(12, 12, centre=(0.5, 0.5), size=(0.34, 0.5))


@pytest.fixture(scope="module")
def model() -> Classifier:
    vgg = {"width": 6, "stages": [1, 1]}
    built = build_classifier("vgg", DIGITS.train, arguments=vgg, seed=0)
    train(built, DIGITS.train, Recipe(epochs=3), seed=0)
    return built


def white(model: Classifier) -> Queried:
    return Queried(model, reveals=Reveals.WEIGHTS)


@pytest.mark.parametrize(
    "attack",
    [
        Masked(STICKER, steps=10, starts=2),
        Masked(STICKER, steps=3, placement=Views(angle=30, shift=0.1), views=Views(gain=0.2)),
        Swarm(STICKER, particles=4, steps=2, epochs=2),
        Worn(STICKER, torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(0))),
        RandomColours(STICKER, cell=3),
    ],
    ids=lambda attack: attack.name,
)
def test_nothing_outside_the_mask_changes_in_what_is_saved(
    model: Classifier, attack: EvasionAttack
) -> None:
    result = evade(white(model), TEST.take(torch.arange(30)), attack)
    assert int(result.attacked.sum()) > 25
    assert torch.equal(result.images[..., ~STICKER], result.originals[..., ~STICKER])
    assert bool((result.images[..., STICKER] != result.originals[..., STICKER]).any())


def test_what_is_learned_beats_random_colours(model: Classifier) -> None:
    dodging = evade(white(model), TEST, Masked(STICKER, steps=40))
    control = evade(white(model), TEST, RandomColours(STICKER))
    assert dodging.success_rate[0] > 0.9 > 0.5 + control.success_rate[0]
    targets = (TEST.labels + 3) % 10
    impersonation = evade(white(model), TEST, Masked(STICKER, steps=40), targets=targets)
    by_chance = evade(white(model), TEST, RandomColours(STICKER), targets=targets)
    assert impersonation.success_rate[0] > 0.6
    assert by_chance.success_rate[0] < 0.2


def test_more_starts_are_not_worse(model: Classifier) -> None:
    targets = (TEST.labels + 5) % 10
    rates = [
        evade(white(model), TEST, Masked(STICKER, steps=15, starts=n), targets=targets)
        for n in (1, 4)
    ]
    assert int(rates[1].success.sum()) >= int(rates[0].success.sum())
    assert rates[1].queries == int(rates[1].attacked.sum()) * 4 * 16  # with a last look each


def test_one_pattern_fools_images_that_it_was_not_learned_from(model: Classifier) -> None:
    """As one pair of glasses on other photographs of a person."""
    mine = DIGITS.train.take(DIGITS.train.labels == 4)
    seen = mine.take(torch.arange(20))
    wanted = torch.full((20,), 9)
    attack = Masked(STICKER, steps=60)
    pattern = attack.learn(
        white(model), seen.pixels(), seen.labels, wanted, torch.Generator().manual_seed(0)
    )
    assert pattern.shape == (1, 12, 12)
    others = mine.take(torch.arange(20, 80))
    targets = torch.full((60,), 9)
    target = Queried(model, reveals=Reveals.LABELS)
    result = evade(target, others, Worn(STICKER, pattern), targets=targets)
    control = evade(target, others, RandomColours(STICKER), targets=targets)
    assert result.success_rate[0] > 0.4 > 0.3 + control.success_rate[0]
    assert target.queries == 0
    worn = result.images[result.attacked][..., STICKER]
    assert torch.equal(worn, worn[:1].expand_as(worn))


def test_views_that_were_not_learned_from_are_survived_better(model: Classifier) -> None:
    views = Views(angle=12, shift=0.04, gain=0.2)
    some = TEST.take(torch.arange(40))
    targets = (some.labels + 3) % 10
    shares = []
    for attack in (
        Masked(STICKER, steps=60),
        Masked(STICKER, steps=60, views=views, samples=4),
    ):
        result = evade(white(model), some, attack, targets=targets)
        generator = torch.Generator().manual_seed(99)
        pixels = result.images[result.attacked].float() / 255
        hits = [
            model(views(pixels, generator)).argmax(1) == targets[result.attacked] for _ in range(20)
        ]
        shares.append(float(torch.stack(hits).float().mean()))
    assert shares[1] > shares[0] + 0.05


def test_a_printed_pattern_has_the_colours_of_its_palette(model: Classifier) -> None:
    palette = printable_palette(1)
    some = TEST.take(torch.arange(20))
    attack = Masked(STICKER, steps=20, palette=palette, printability=0.1)
    result = evade(white(model), some, attack)
    printed = {round(255 * float(level)) for level in palette}
    assert set(result.images[result.attacked][..., STICKER].unique().tolist()) <= printed
    control = evade(white(model), some, RandomColours(STICKER, palette=palette))
    assert set(control.images[control.attacked][..., STICKER].unique().tolist()) <= printed


def test_smoothness_makes_patterns_smooth(model: Classifier) -> None:
    some = TEST.take(torch.arange(20))
    rough, smooth = (
        evade(white(model), some, Masked(STICKER, steps=30, smoothness=weight)).images
        for weight in (0.0, 5.0)
    )
    inside = [image[..., 4:8, 3:9].float() for image in (rough, smooth)]
    steps = [float(part.diff(dim=-1).abs().mean()) for part in inside]
    assert steps[1] < 0.7 * steps[0]


def test_swarms_need_confidences_only_and_count(model: Classifier) -> None:
    some = TEST.take(torch.arange(20))
    target = Queried(model)
    swarm = Swarm(STICKER, particles=15, steps=15, epochs=2)
    result = evade(target, some, swarm)
    control = evade(target, some, RandomColours(STICKER, cell=2))
    assert result.success_rate[0] > 0.3 + control.success_rate[0]
    assert 0 < result.queries == target.queries <= 20 * 15 * 15 * 2
    with pytest.raises(InvalidRequestError, match="reveals rounded, got labels"):
        evade(Queried(model, reveals=Reveals.LABELS), some, swarm)


def test_a_list_of_the_best_is_climbed_class_by_class() -> None:
    """The target is listed only once another class is the best: a swarm without steps fails."""

    def answer(images: np.ndarray) -> np.ndarray:
        left, right = images[:, 0, :, :2].mean((1, 2)), images[:, 0, :, 2:].mean((1, 2))
        # Class 2 needs the left half bright, class 3 needs both halves bright.
        logits = np.stack([0 * left, left - 0.3, 4 * left - 1.5, 12 * (left + right) - 17], 1)
        return logits.astype(np.float32)

    card = ModelCard(
        input_shape=(1, 4, 4),
        mean=(0.0,),
        std=(1.0,),
        class_names=("a", "b", "c", "d"),
        architecture="by hand",
    )
    box = BlackBox(answer, card)
    black = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    images = type(TEST)(black, torch.zeros(1, dtype=torch.int64), card.class_names)
    mask = torch.ones(4, 4, dtype=torch.bool)
    mask[0, 0] = False
    wanted = torch.tensor([3])
    target = Queried(box, top=2)
    result = evade(target, images, Swarm(mask, particles=10, steps=30, epochs=6), targets=wanted)
    assert bool(result.success.all())
    # The class itself is not in the first list, so one swarm has nothing to aim at.
    alone = Swarm(mask, particles=10, steps=1, epochs=1)
    assert not bool(evade(Queried(box, top=2), images, alone, targets=wanted).success.any())


@pytest.mark.parametrize(
    "attack", [Masked(STICKER, steps=10), Swarm(STICKER, particles=10, steps=20)]
)
def test_a_budget_that_runs_out_keeps_what_was_found(
    model: Classifier, attack: EvasionAttack
) -> None:
    some = TEST.take(torch.arange(40))
    target = Queried(model, reveals=Reveals.WEIGHTS, budget=300)
    result = evade(target, some, attack)
    assert "300 queries is spent" in result.note
    assert target.queries <= 300
    assert int(result.success.sum()) > 0
    assert torch.equal(result.images[..., ~STICKER], result.originals[..., ~STICKER])


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (torch.ones(10, 12, dtype=torch.bool), r"mask: expected bool of shape \[12, 12\]"),
        (torch.ones(12, 12), r"got torch.float32 of shape \[12, 12\]"),
        (torch.zeros(12, 12, dtype=torch.bool), "mask: expected some of 144 .* got 0 pixels"),
        (torch.ones(12, 12, dtype=torch.bool), "got 144 pixels"),
    ],
)
def test_masks_that_do_not_fit_are_refused_in_a_line(
    model: Classifier, mask: Tensor, said: str
) -> None:
    attacks = (Masked(mask), Swarm(mask), RandomColours(mask), Worn(mask, torch.zeros(1, 12, 12)))
    for attack in attacks:
        target = white(model)
        with pytest.raises(InvalidRequestError, match=said) as refused:
            evade(target, TEST, attack)
        assert "\n" not in str(refused.value)
        assert target.queries == 0


def test_a_mask_is_read_from_a_file(tmp_path: Path) -> None:
    pixels = np.zeros((12, 12, 4), np.uint8)
    pixels[2:5, 3:9] = 255
    pixels[4, 3:9, 3] = 0  # transparent
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png", 12, 12)
    check_mask(mask, (1, 12, 12))
    assert int(mask.sum()) == 12
    assert bool(mask[2:4, 3:9].all())
    with pytest.raises(InvalidRequestError, match=r"expected 14x12 pixels, .* got 12x12"):
        read_mask(tmp_path / "mask.png", 12, 14)
    Image.fromarray(pixels * 0).save(tmp_path / "black.png")
    with pytest.raises(InvalidRequestError, match="got 0 pixels"):
        read_mask(tmp_path / "black.png", 12, 12)
    (tmp_path / "text.png").write_text("no image")
    for name in ("text.png", "nothing.png"):
        with pytest.raises(UnreadableFileError, match=name) as refused:
            read_mask(tmp_path / name, 12, 12)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("size", [32, 48, 64, 96, 112])
def test_drawn_glasses_cover_less_than_eight_percent(size: int) -> None:
    mask = draw_eyeglasses(size, size)
    assert 0.05 < float(mask.float().mean()) <= 0.08
    assert torch.equal(mask, mask.flip(1))
    # Both rims are closed: around the eyes, and not on them.
    row, column = round(0.45 * size), round(0.32 * size)
    assert not bool(mask[row, column])
    assert bool(mask[row, :column].any()) and bool(mask[row, column:].any())
    assert bool(mask[:row, column].any()) and bool(mask[row:, column].any())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: draw_sticker(12, 12, shape="star"), "rectangle or ellipse"),
        (lambda: draw_sticker(12, 12, centre=(2.0, 2.0)), "got 0 pixels"),
        (lambda: draw_sticker(12, 12, size=(1.0, 1.0)), "got 144 pixels"),
        (lambda: draw_sticker(12, 12, size=(-1.0, 0.5)), "got 0 pixels"),
        (lambda: draw_eyeglasses(12, 12, row=-5), "eyeglasses: .* got 0 pixels"),
        (lambda: Masked(STICKER, steps=0), "steps: expected 1 or more"),
        (lambda: Masked(STICKER, lr=float("nan")), "lr"),
        (lambda: Masked(STICKER, printability=1.0), "a palette with it"),
        (lambda: Swarm(STICKER, particles=1), "particles: expected 2 or more"),
        (lambda: Swarm(STICKER, inertia=-1), "inertia"),
        (lambda: RandomColours(STICKER, cell=0), "cell"),
        (lambda: Views(angle=200), "angle of views: expected 0 to 180"),
        (lambda: Views(tilt=0.9), "tilt"),
        (lambda: printable_palette(2), "1 or 3"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: object, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        wrong()  # type: ignore[operator]


def test_a_palette_or_pattern_of_other_channels_is_refused(model: Classifier) -> None:
    for attack, said in (
        (Masked(STICKER, palette=printable_palette(3)), "palette: expected colours"),
        (RandomColours(STICKER, palette=printable_palette(3)), "palette: expected colours"),
        (Worn(STICKER, torch.zeros(3, 12, 12)), "pattern: expected shape"),
    ):
        with pytest.raises(InvalidRequestError, match=said):
            evade(white(model), TEST, attack)


def test_the_view_from_the_front_in_plain_light_changes_nothing() -> None:
    images = torch.rand(3, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    seen = Views()(images, torch.Generator())
    assert torch.allclose(seen, images, atol=1e-5)
    turned = Views(angle=90).draw(3, torch.Generator().manual_seed(0))
    assert turned.homography.shape == (3, 3, 3)

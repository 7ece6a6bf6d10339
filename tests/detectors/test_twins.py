"""Clean twins: fresh weights, what they learn, what is kept, and the test against them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from molehunt.backdoors import AllToAll, AllToOne, Backdoor, RandomPatch
from molehunt.detectors import (
    Distillation,
    TwinComparison,
    TwinTest,
    _twin_readings,
    _twin_test,
    _twins,
    compare_with_twins,
    draw_fresh,
    make_twins,
    twin_power,
)
from molehunt.detectors._distill import Lesson, distill
from molehunt.detectors._panel import Panel, first_layer
from molehunt.detectors._read_margins import largest_margins
from molehunt.detectors._read_masks import all_to_next, all_to_one, pairs, smallest_masks
from molehunt.detectors._twin_readings import Reading, statistics_of
from molehunt.detectors._twin_test import judge_by_twins
from molehunt.detectors._twins import TwinGap, Twins
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError
from molehunt.images import ImageSet, load_images
from molehunt.networks import BlackBox, Classifier, ModelCard, build_classifier
from molehunt.training import Recipe, train

QUICK = Distillation(steps=120, batch_size=32, pool=1500)


@pytest.fixture(scope="module")
def digits() -> tuple[ImageSet, ImageSet]:
    """Embedded digits 0 to 4, enlarged to 16 pixels so that every architecture takes them."""
    found = load_images("digits", size=16)
    few = [part.take(part.labels < 5) for part in found]
    train_set, test_set = (replace(part, class_names=part.class_names[:5]) for part in few)
    return train_set, test_set


def trained(digits: tuple[ImageSet, ImageSet], backdoor: Backdoor | None = None) -> Classifier:
    train_set, _ = digits
    model = build_classifier("vgg", train_set, arguments={"width": 8}, seed=1)
    images = train_set
    if backdoor is not None:
        generator = torch.Generator().manual_seed(0)
        images = backdoor.poison(train_set, generator=generator)
    train(model, images, Recipe(epochs=12, batch_size=64), seed=1)
    return model.freeze()


@pytest.fixture(scope="module")
def clean_model(digits: tuple[ImageSet, ImageSet]) -> Classifier:
    return trained(digits)


class TestFreshWeights:
    """`draw_fresh` keeps the architecture and nothing that was learned."""

    def test_every_matrix_differs_and_the_suspect_stays(self, clean_model: Classifier) -> None:
        before = {name: p.clone() for name, p in clean_model.named_parameters()}
        fresh = draw_fresh(clean_model, seed=0)
        for name, parameter in fresh.named_parameters():
            if parameter.ndim > 1:
                assert not torch.allclose(parameter, before[name])
            assert torch.equal(dict(clean_model.named_parameters())[name], before[name])

    def test_running_statistics_are_forgotten(self, clean_model: Classifier) -> None:
        fresh = draw_fresh(clean_model, seed=0)
        means = [b for name, b in fresh.named_buffers() if name.endswith("running_mean")]
        assert means and all(float(mean.abs().max()) == 0 for mean in means)

    def test_same_seed_same_weights_and_the_global_generator_is_left_alone(
        self, clean_model: Classifier
    ) -> None:
        state = torch.get_rng_state()
        one, other = draw_fresh(clean_model, seed=3), draw_fresh(clean_model, seed=3)
        assert torch.equal(torch.get_rng_state(), state)
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)

    @pytest.mark.parametrize("kind", ["stray parameter", "empty reset", "no reset", "script"])
    def test_modules_that_draw_nothing_are_drawn_for(
        self, kind: str, digits: tuple[ImageSet, ImageSet]
    ) -> None:
        class Own(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.full((5, 256), 0.5))
                self.bias = nn.Parameter(torch.full((5,), 0.5))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x.flatten(1) @ self.weight.t() + self.bias

        class Keeps(Own):
            def reset_parameters(self) -> None:
                """Keep a trojan's weights."""

        network: nn.Module = Keeps() if kind == "empty reset" else Own()
        if kind == "stray parameter":
            network = nn.Sequential(nn.Identity(), network)
        if kind == "script":
            network = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(256, 5)))
        model = Classifier(network, card_of(digits[0]))
        fresh = draw_fresh(model, seed=0)
        weights = [p for p in fresh.parameters() if p.ndim > 1]
        learned = [p for p in model.parameters() if p.ndim > 1]
        assert all(not torch.allclose(a, b) for a, b in zip(weights, learned, strict=True))

    def test_a_model_that_only_answers_has_no_twins(
        self, digits: tuple[ImageSet, ImageSet]
    ) -> None:
        model = BlackBox(lambda x: np.zeros((len(x), 5), np.float32), card_of(digits[0]))
        with pytest.raises(UnsuitableSubjectError, match="weights and gradients"):
            draw_fresh(model, seed=0)


def card_of(images: ImageSet) -> ModelCard:
    mean, std = images.mean_and_std()
    return ModelCard(
        architecture="own",
        input_shape=images.shape,
        mean=mean,
        std=std,
        class_names=images.class_names,
    )


class TestTwins:
    """What twins learn, and what of them is kept."""

    def test_they_answer_nearly_as_the_model_does(
        self, clean_model: Classifier, digits: tuple[ImageSet, ImageSet]
    ) -> None:
        twins = make_twins(clean_model, digits[1], count=2, how=QUICK, device="cpu")
        assert twins.gap.agreement > 0.7
        assert abs(twins.gap.in_accuracy) < 0.25
        assert len(twins.examples) == twins.gap.images == len(digits[1]) // 3

    def test_raw_pixels_up_to_255_are_learned_too(
        self, clean_model: Classifier, digits: tuple[ImageSet, ImageSet]
    ) -> None:
        """A network of 0 to 255 pixels gives the same answers; its twins learn them."""
        card = clean_model.card.model_copy(update={"value_range": (0.0, 255.0)})
        card = card.model_copy(update={"mean": (0.0,), "std": (1.0,)})
        wide = build_classifier("badnets-mnist", digits[0], seed=0)
        train(wide, digits[0], Recipe(epochs=6), seed=0)
        scaled = draw_fresh(wide, seed=0)
        scaled.load_state_dict(wide.state_dict())
        layer = first_layer(wide, digits[0].pixels()[:8])
        assert layer is not None
        raw = Classifier(scaled.network, card)
        twins = make_twins(raw.freeze(), digits[1], count=1, how=QUICK, device="cpu")
        assert twins.gap.agreement > 0.5

    def test_finished_twins_are_kept_and_a_torn_file_is_made_again(
        self,
        clean_model: Classifier,
        digits: tuple[ImageSet, ImageSet],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        accept_all(monkeypatch)
        how = Distillation(steps=3, batch_size=8, pool=100)

        def make(count: int) -> tuple[Twins, list[int]]:
            seen: list[int] = []
            twins = make_twins(
                clean_model,
                digits[1],
                count=count,
                how=how,
                device="cpu",
                cache=tmp_path,
                progress=lambda done, _total: seen.append(done),
            )
            return twins, seen

        first, seen = make(2)
        assert seen[-1] == 6
        again, seen = make(3)
        assert seen == [7, 8, 9]
        for a, b in zip(first.models, again.models, strict=False):
            assert all(
                torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True)
            )
        files = sorted(tmp_path.rglob("*.safetensors"))
        assert len(files) == 3
        files[1].write_bytes(files[1].read_bytes()[:50])
        _, seen = make(3)
        assert seen == [7, 8, 9]

    def test_a_twin_that_did_not_learn_is_taught_again_for_longer(
        self,
        clean_model: Classifier,
        digits: tuple[ImageSet, ImageSet],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """As every seventh of raw-pixel sign networks: it would look worse than any backdoor."""
        lessons: list[tuple[float, int]] = []
        seen: list[tuple[int, int]] = []

        def fail_at_first(panel: Panel, lesson: Lesson, how: Distillation, **rest: object) -> None:
            distill(panel, lesson, how, **rest)  # type: ignore[arg-type]
            lessons.append((how.lr, how.steps))
            if len(lessons) == 2:
                for weight in panel.models[0].parameters():
                    weight.zero_()

        monkeypatch.setattr(_twins, "distill", fail_at_first)
        twins = make_twins(
            clean_model,
            digits[1],
            count=3,
            how=QUICK,
            device="cpu",
            progress=lambda done, total: seen.append((done, total)),
        )
        usual = (0.005, QUICK.steps)
        assert lessons == [usual, usual, (0.02, 2 * QUICK.steps), usual]
        assert [done for done, _ in seen] == list(range(1, 5 * QUICK.steps + 1))
        assert [seen[at * QUICK.steps][1] // QUICK.steps for at in (0, 1, 2, 4)] == [3, 3, 5, 5]
        for twin in twins.models:
            answers = twin(twins.examples.pixels()).argmax(1)
            assert (answers == twins.examples.labels).float().mean() > 0.5

    @pytest.mark.parametrize(("network", "lr", "times"), [("vgg", 0.02, 2), ("lenet", 0.0025, 3)])
    def test_the_second_lesson_is_longer_and_its_steps_fit_the_network(
        self,
        network: str,
        lr: float,
        times: int,
        digits: tuple[ImageSet, ImageSet],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        lessons: list[tuple[float, int]] = []

        def teach_nothing(_panel: Panel, _lesson: Lesson, how: Distillation, **_: object) -> None:
            lessons.append((how.lr, how.steps))

        monkeypatch.setattr(_twins, "distill", teach_nothing)
        monkeypatch.setattr(_twins, "LEAST_AGREEMENT", 1.1)
        model = build_classifier(network, digits[0], seed=0).freeze()
        make_twins(model, digits[1], count=1, how=QUICK, device="cpu")
        assert lessons == [(0.005, QUICK.steps), (lr, times * QUICK.steps)]

    @pytest.mark.parametrize("change", ["images", "settings", "key", "model"])
    def test_twins_of_something_else_are_not_taken(
        self,
        change: str,
        clean_model: Classifier,
        digits: tuple[ImageSet, ImageSet],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        accept_all(monkeypatch)
        how = Distillation(steps=2, batch_size=8, pool=100)
        make_twins(clean_model, digits[1], count=1, how=how, device="cpu", cache=tmp_path)
        seen: list[int] = []
        model, images, key = clean_model, digits[1], ""
        if change == "images":
            images = images.take(torch.arange(len(images) - 1))
        if change == "settings":
            how = Distillation(steps=2, batch_size=9, pool=100)
        if change == "key":
            key = "another file"
        if change == "model":
            model = draw_fresh(clean_model, seed=5)
        make_twins(
            model,
            images,
            count=1,
            how=how,
            device="cpu",
            cache=tmp_path,
            key=key,
            progress=lambda done, _total: seen.append(done),
        )
        assert seen == [1, 2]

    @pytest.mark.parametrize(
        ("count", "images", "said"), [(0, 100, "number of twins"), (1, 20, "images for twins")]
    )
    def test_too_few_of_anything_is_refused(
        self,
        count: int,
        images: int,
        said: str,
        clean_model: Classifier,
        digits: tuple[ImageSet, ImageSet],
    ) -> None:
        some = digits[1].take(torch.arange(images))
        with pytest.raises(InvalidRequestError, match=said):
            make_twins(clean_model, some, count=count, device="cpu")

    def test_impossible_settings_are_refused(self) -> None:
        for wrong in ({"steps": 0}, {"lr": 0.0}, {"temperature": -1.0}, {"pool": 0}):
            with pytest.raises(InvalidRequestError):
                Distillation(**wrong)  # type: ignore[arg-type]


class TestPanel:
    """Models at once answer, and are measured, as one by one."""

    def test_vectorised_measures_equal_single_ones(
        self, clean_model: Classifier, digits: tuple[ImageSet, ImageSet]
    ) -> None:
        models = [clean_model, draw_fresh(clean_model, seed=1).freeze()]
        pixels, labels = digits[1].pixels()[:60], digits[1].labels[:60]
        changes = all_to_one(labels, 5, 4, torch.Generator().manual_seed(0))
        together = Panel(models)
        for measure in (
            lambda panel: largest_margins(panel, steps=3, starts=1),
            lambda panel: smallest_masks(panel, pixels, changes, steps=10),
            lambda panel: smallest_masks(panel, pixels, changes, steps=10, shown=2),
            lambda panel: panel(pixels[:5]),
        ):
            alone = torch.cat([measure(Panel([model])) for model in models])
            torch.testing.assert_close(measure(together), alone, rtol=1e-3, atol=1e-3)

    def test_tasks_say_what_becomes_what(self, digits: tuple[ImageSet, ImageSet]) -> None:
        labels = digits[1].labels
        generator = torch.Generator().manual_seed(0)
        one = all_to_one(labels, 5, 5, generator)
        assert (labels[one.pools] != one.goals).all()
        further = all_to_next(labels, 5, 5, generator)
        moved = (further.goals - labels[further.pools]) % 5
        assert torch.equal(moved, torch.arange(1, 5)[:, None].expand(-1, 5))
        pair = pairs(labels, 5, 3, generator)
        sources = labels[pair.pools]
        assert (sources == sources[:, :1]).all() and (sources != pair.goals).all()
        assert len({(int(s[0]), int(t[0])) for s, t in zip(sources, pair.goals, strict=True)}) == 20

    def test_what_is_drawn_anew_hangs_on_the_seed_alone(
        self, clean_model: Classifier, digits: tuple[ImageSet, ImageSet]
    ) -> None:
        pixels, labels = digits[1].pixels(), digits[1].labels
        changes = all_to_one(labels, 5, 20, torch.Generator().manual_seed(0))

        def search(**how: int) -> torch.Tensor:
            return smallest_masks(Panel([clean_model]), pixels, changes, steps=15, **how)

        first = search(shown=4)
        torch.testing.assert_close(search(shown=4, batch_size=8), first, rtol=1e-2, atol=1e-2)
        assert not torch.allclose(search(shown=4, seed=1), first)
        assert not torch.allclose(search(), first)

    def test_a_trigger_stays_small_where_images_sway(
        self, clean_model: Classifier, digits: tuple[ImageSet, ImageSet]
    ) -> None:
        """The target's mask is the smallest by far; no class of the clean model's is."""
        trigger = RandomPatch(size=3, seed=1, placement="bottom right")
        planted = Backdoor(trigger=trigger, label_map=AllToOne(target=3), rate=0.3)
        pixels, labels = digits[1].pixels(), digits[1].labels
        changes = all_to_one(labels, 5, 64, torch.Generator().manual_seed(0))
        sizes = [
            smallest_masks(
                Panel([model]), pixels, changes, steps=100, lr=0.15, success=0.85, shown=8
            )[0]
            for model in (trained(digits, planted), clean_model)
        ]
        under = [float(each.median() / each.min()) for each in sizes]
        assert int(sizes[0].argmin()) == 3
        assert under[0] > 2 * under[1]


@pytest.fixture(scope="module")
def thirteen() -> ImageSet:
    """Digits of 13 classes: the last three are some of the others, upside down."""
    test = load_images("digits", size=16).test
    turned = test.take(test.labels < 3)
    return ImageSet(
        torch.cat([test.images, turned.images.flip(2)]),
        torch.cat([test.labels, turned.labels + 10]),
        (*test.class_names, "10", "11", "12"),
    )


class TestManyClasses:
    """Over 12 classes other things are measured, and twins are made only where they matter."""

    HOW = Distillation(steps=2, batch_size=8, pool=100)

    def compare(self, images: ImageSet, cache: Path) -> TwinTest:
        model = build_classifier("vgg", images, arguments={"width": 4}, seed=1).freeze()
        return compare_with_twins(
            model, images, twins=2, how=self.HOW, device="cpu", cache=cache, key="a hash"
        )

    def test_a_model_of_which_nothing_counts_needs_no_twin(
        self, thirteen: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_twin_readings, "_MANY", counting_from(99.0))
        first = self.compare(thirteen, tmp_path)
        assert [each.finds for each in first.statistics] == ["all-to-one", "all-to-all"]
        assert (first.p_value, first.twins, first.gap) == (1.0, 0, None)
        assert [path.name for path in tmp_path.rglob("*.safetensors")] == [
            "reading-2-0000.safetensors"
        ]

    def test_others_are_compared_and_all_is_kept(
        self, thirteen: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_twin_readings, "_MANY", counting_from(1e-9))
        monkeypatch.setattr(_twin_test, "LEAST_AGREEMENT", 0.0)
        first = self.compare(thirteen, tmp_path)
        assert first.twins == 2 and first.gap is not None
        kept = {path: path.read_bytes() for path in tmp_path.rglob("reading-*")}
        assert len(kept) == 3
        again = self.compare(thirteen, tmp_path)
        assert again == first
        assert {path: path.read_bytes() for path in tmp_path.rglob("reading-*")} == kept

    def test_twins_unlike_the_model_are_not_read(
        self, thirteen: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_twin_readings, "_MANY", counting_from(1e-9))
        monkeypatch.setattr(_twin_test, "LEAST_AGREEMENT", 1.1)
        found = self.compare(thirteen, tmp_path)
        assert "of the images (at least 110%)" in found.abstained and not found.statistics
        assert len(list(tmp_path.rglob("reading-*"))) == 1

    @pytest.mark.parametrize(("given", "advised"), [(100, True), (1000, False)])
    def test_more_images_are_asked_for_only_where_more_are_used(
        self,
        given: int,
        advised: bool,
        clean_model: Classifier,
        digits: tuple[ImageSet, ImageSet],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        gap = TwinGap(30, 0.9, 0.5, 0.4, 3.0, 1.0)
        far = TwinTest(1.0, "its twins are far from the model", (), None, gap)
        monkeypatch.setattr(TwinComparison, "compare", lambda *_: far)
        images = digits[1].take(torch.arange(given) % len(digits[1]))
        with pytest.raises(UnsuitableSubjectError) as error:
            TwinComparison(images=images).examine(clean_model)
        said = str(error.value)
        assert said.startswith("cannot say: its twins are far from the model")
        assert ("give up to 1,000 clean images, not 100" in said) == advised

    def test_a_class_that_no_twin_has_is_named(self) -> None:
        none = torch.zeros(20, 0)
        generator = torch.Generator().manual_seed(0)
        one, further = (10 + torch.rand(20, size, generator=generator) for size in (43, 42))
        one[0, 17] = 1.0
        found = result_of(Reading(none, one, further, none))
        assert found.p_value == pytest.approx(0.05)
        assert found.strongest is not None and found.strongest.target == 17


def accept_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take twins after a few steps for twins that learned."""
    monkeypatch.setattr(_twins, "MOST_GAP", 1.0)
    monkeypatch.setattr(_twins, "LEAST_AGREEMENT", 0.0)


def counting_from(least: float) -> _twin_readings._Plan:
    """Return the plan of many classes with another least for what counts."""
    plan = _twin_readings._MANY
    return plan._replace(one=plan.one._replace(least=least), next=plan.next._replace(least=least))


def reading_of(count: int, seed: int = 0) -> Reading:
    """Return what clean models of five classes could give."""
    generator = torch.Generator().manual_seed(seed)

    def near(*shape: int) -> torch.Tensor:
        return 10 + torch.rand(count, *shape, generator=generator)

    return Reading(near(5), near(5), near(4), near(20))


GAP = TwinGap(100, 0.9, 0.88, 0.9, 3.0, 2.8)


def result_of(reading: Reading, gap: TwinGap = GAP) -> TwinTest:
    return judge_by_twins(reading, gap)


class TestVerdict:
    """How numbers become a p-value."""

    def test_models_that_look_alike_have_p_1(self) -> None:
        found = result_of(reading_of(20))
        assert found.p_value == 1.0 and found.strongest is None and not found.abstained

    @pytest.mark.parametrize(
        ("part", "cell", "value", "kind", "source", "target"),
        [
            ("margins", 2, 40.0, "all-to-one", None, 2),
            ("one", 3, 0.5, "all-to-one", None, 3),
            ("next", 0, 0.5, "all-to-all", None, None),
            ("pair", 9, 0.5, "source-target", 2, 1),
            ("pair", 4, 0.5, "source-target", 1, 0),
        ],
    )
    def test_what_no_twin_has_gets_the_smallest_p_and_its_classes(
        self,
        part: str,
        cell: int,
        value: float,
        kind: str,
        source: int | None,
        target: int | None,
    ) -> None:
        reading = reading_of(20)
        getattr(reading, part)[0, cell] = value
        found = result_of(reading)
        assert found.p_value == pytest.approx(0.05)
        assert found.strongest is not None and found.strongest.finds == kind
        assert (found.strongest.source, found.strongest.target) == (source, target)

    def test_what_a_twin_has_as_well_is_no_finding(self) -> None:
        reading = reading_of(20)
        reading.one[0, 3], reading.one[7, 1] = 0.5, 0.1
        assert result_of(reading).p_value == pytest.approx(0.1)

    def test_four_statistics_are_not_four_chances(self) -> None:
        """Clean models by exchangeability: p <= 0.1 in at most a tenth, up to chance."""
        generator = torch.Generator().manual_seed(0)
        low = 0
        for _ in range(100):
            reading = Reading(
                *(
                    torch.exp(2 * torch.randn(20, size, generator=generator))
                    for size in (5, 5, 4, 20)
                )
            )
            low += result_of(reading).p_value <= 0.1
        assert low / 100 <= 0.1 + 3 * (0.1 * 0.9 / 100) ** 0.5

    def test_it_abstains_where_twins_are_far_from_the_model(self) -> None:
        far = TwinGap(100, 0.9, 0.6, 0.9, 3.0, 1.0)
        assert "0.30 less accurate" in result_of(reading_of(20), far).abstained
        unlike = TwinGap(100, 0.3, 0.3, 0.4, 3.0, 1.0)
        assert "40% of the images" in result_of(reading_of(20), unlike).abstained

    def test_numbers_that_are_none_are_refused(self) -> None:
        reading = reading_of(20)
        reading.one[4, 0] = torch.nan
        with pytest.raises(UnsuitableSubjectError, match="finite"):
            result_of(reading)

    def test_a_shift_of_one_of_four_statistics_names_itself(self) -> None:
        statistics = statistics_of(reading_of(6))
        assert [each.finds for each in statistics] == [
            "all-to-one",
            "all-to-one",
            "all-to-all",
            "source-target",
        ]


class TestPower:
    """What is said of power was counted: when the test was chosen, and on left-out networks."""

    def test_it_is_what_the_study_says(self) -> None:
        study = Path(__file__).parents[2] / "docs/studies/strangers"
        results = json.loads((study / "choices.json").read_text())
        models = results["models"]
        few = [
            (row["kind"], row["verdict"] == "backdoored")
            for row in (*models["self_made_development"], *models["held_out"])
            if row["set"] != "GTSRB" and not ({"planted_in_vain", "clean_images"} & row.keys())
        ]
        many = [
            (row["kind"], row["found"])
            for row in results["many_classes"]["models"]
            if "found" in row
        ]
        for scan in json.loads((study / "results.json").read_text())["scans"]:
            took = scan["kind"] is not None and scan["success"] >= 0.8
            decided = "cannot say" not in scan["because"]
            if took and decided and not scan["id"].startswith("foreign/"):
                seen = many if scan["images"] == "gtsrb" else few
                seen.append((scan["kind"], scan["verdict"] == "backdoored"))
        for classes, seen in ((10, few), (43, many)):
            counted: dict[str, list[bool]] = {}
            for kind, found in seen:
                if kind != "clean":
                    counted.setdefault(kind, []).append(found)
            assert twin_power(classes) == {k: (sum(v), len(v)) for k, v in counted.items()}


class TestWhole:
    """The test from a model to its p-value, on real small networks."""

    @pytest.mark.parametrize("label_map", [AllToOne(target=3), AllToAll()])
    def test_a_backdoored_model_stands_out_of_its_twins(
        self, label_map: AllToOne | AllToAll, digits: tuple[ImageSet, ImageSet]
    ) -> None:
        trigger = RandomPatch(size=3, seed=1, placement="bottom right")
        model = trained(digits, Backdoor(trigger=trigger, label_map=label_map, rate=0.3))
        found = compare_with_twins(model, digits[1], twins=3, how=QUICK, device="cpu")
        assert found.p_value == pytest.approx(0.25)
        assert found.strongest is not None
        if isinstance(label_map, AllToOne):
            assert found.strongest.target == 3

    def test_second_time_nothing_is_computed(
        self,
        clean_model: Classifier,
        digits: tuple[ImageSet, ImageSet],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        accept_all(monkeypatch)
        how = Distillation(steps=3, batch_size=8, pool=100)

        def test() -> tuple[TwinTest, list[tuple[int, int]]]:
            seen: list[tuple[int, int]] = []
            found = compare_with_twins(
                clean_model,
                digits[1],
                twins=1,
                how=how,
                device="cpu",
                cache=tmp_path,
                key="a hash",
                progress=lambda done, total: seen.append((done, total)),
            )
            return found, seen

        first, seen = test()
        assert seen[-1][0] == seen[-1][1] and seen == sorted(seen)
        stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
        second, _ = test()
        assert second == first
        assert stamps == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}

    def test_what_does_not_fit_is_refused(
        self, clean_model: Classifier, digits: tuple[ImageSet, ImageSet]
    ) -> None:
        small = load_images("digits").test
        with pytest.raises(UnsuitableSubjectError, match="input shape"):
            compare_with_twins(clean_model, small, twins=1)
        others = ImageSet(digits[1].images, digits[1].labels, (*digits[1].class_names, "x"))
        with pytest.raises(UnsuitableSubjectError, match="classes of the model"):
            compare_with_twins(clean_model, others, twins=1)

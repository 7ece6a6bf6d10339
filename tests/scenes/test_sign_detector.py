"""Sign detectors: the network of the paper, learning, files, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from molehunt.cli import run
from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.images import ImageSet
from molehunt.networks import build_classifier, read_header, save_model
from molehunt.scenes import (
    SceneSet,
    SignDetector,
    SignDetectorRecipe,
    build_sign_detector,
    detect_signs,
    features_from,
    load_scenes,
    load_sign_detector,
    read_photo,
    save_sign_detector,
    sign_activations,
    train_sign_detector,
    transfer_sign_detector,
)
from molehunt.scenes._pixels import shrink_to_fit
from molehunt.scenes._train import _Example, _example, _loss, _mirror, _window
from molehunt_studies.signs import write_shapes

CLASSES = ("red disc", "blue square")
OTHERS = ("green disc", "red square", "blue disc")
SIDE = 128
TINY = {"width": 0.125, "hidden": 64, "max_side": SIDE}
RECIPE = SignDetectorRecipe(epochs=12, batch_size=2, lr=0.02)
CARD_KEY = "molehunt.sign-detector"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("shapes") / "set", CLASSES)


@pytest.fixture(scope="module")
def train(shapes: Path) -> SceneSet:
    return load_scenes(f"coco:{shapes}", "train")


@pytest.fixture(scope="module")
def trained(train: SceneSet) -> SignDetector:
    model = build_sign_detector(CLASSES, **TINY, seed=1)
    train_sign_detector(model, train, RECIPE, seed=1)
    return model


def loss_on(model: SignDetector, scenes: SceneSet) -> float:
    examples = [_example(scene, SIDE, torch.device("cpu")) for scene in scenes.scenes]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        loss = float(_loss(model.train().network, examples))
    model.eval()
    return loss


def test_the_network_is_that_of_table_3() -> None:
    with torch.device("meta"):
        network = build_sign_detector(("stop", "speedlimit", "warning")).network
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim > 1]
    assert shapes == [
        (96, 3, 7, 7), (256, 96, 5, 5), (384, 256, 3, 3), (384, 384, 3, 3), (256, 384, 3, 3),
        (256, 256, 3, 3), (9, 256, 1, 1), (36, 256, 1, 1),  # objectness as one logit an anchor
        (4096, 256 * 6 * 6), (4096, 4096), (4, 4096), (16, 4096),  # classes and background
    ]  # fmt: skip
    layers = [layer for layer in network.backbone if hasattr(layer, "stride")]
    assert [layer.stride for layer in layers[:4]] == [(2, 2), 2, (2, 2), 2]
    assert [layer.padding for layer in layers[:4]] == [(3, 3), 1, (2, 2), 1]


def test_a_narrow_detector_learns_to_find_and_tell_apart(
    trained: SignDetector, shapes: Path, train: SceneSet
) -> None:
    fresh = build_sign_detector(CLASSES, **TINY, seed=1)
    some = train.take(range(8))
    assert loss_on(trained, some) < 0.5 * loss_on(fresh, some)
    test = load_scenes(f"coco:{shapes}", "test")
    found = detect_signs(trained, test)
    for name, share in found.accuracy().items():
        assert share.total >= 5 and share.value >= 0.7, (name, share)
    assert min(found.average_precision().values()) > 0.6
    assert min(share.value for share in detect_signs(fresh, test).accuracy().values()) < 0.5
    # Names that belong to the other class would be right by chance only.
    turned = [detections._replace(labels=1 - detections.labels) for detections in found.found]
    assert all(share.value < 0.3 for share in type(found)(test, tuple(turned)).accuracy().values())


def test_training_repeats_with_its_seed(train: SceneSet) -> None:
    once, again, other = (build_sign_detector(CLASSES, **TINY, seed=1) for _ in range(3))
    state = torch.get_rng_state()
    recipe, few = SignDetectorRecipe(epochs=1, batch_size=2, flip=True), train.take(range(4))
    for model, seed in ((once, 1), (again, 1), (other, 2)):
        train_sign_detector(model, few, recipe, seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    first, second, third = (
        torch.cat([p.flatten() for p in model.parameters()]) for model in (once, again, other)
    )
    assert torch.equal(first, second) and not torch.equal(first, third)
    assert once.card.recipe["flip"] is True


def test_bfloat16_keeps_boxes_and_losses_in_float32(train: SceneSet) -> None:
    model = build_sign_detector(CLASSES, **TINY, seed=1)
    examples = [_example(scene, SIDE, torch.device("cpu")) for scene in train.scenes[:2]]
    losses = []
    for half in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            losses.append(_loss(model.train().network, examples).detach())
    assert losses[1].dtype == torch.float32
    assert float(losses[1]) == pytest.approx(float(losses[0]), rel=0.2)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = model.eval().network([examples[0].pixels / 255])
    assert found[0]["boxes"].dtype == found[0]["scores"].dtype == torch.float32


def test_a_mirrored_example_has_its_boxes_mirrored(train: SceneSet) -> None:
    example = _example(train[0], SIDE, torch.device("cpu"))
    turned = _mirror(example)
    left, top, right, bottom = (int(value) for value in turned.boxes[0])
    cut = turned.pixels[:, top:bottom, left:right].flip(2)
    left, top, right, bottom = (int(value) for value in example.boxes[0])
    assert torch.equal(cut, example.pixels[:, top:bottom, left:right])
    assert torch.equal(_mirror(turned).boxes, example.boxes)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_window_has_a_whole_sign_and_cuts_the_others(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(40, 200)), data.draw(st.integers(40, 200))
    pixels = torch.arange(height * width).view(1, height, width).expand(3, -1, -1)
    corners = st.tuples(*(st.floats(0, 0.9) for _ in range(2)), *(st.floats(0.1, 1) for _ in "wh"))
    boxes = torch.tensor(
        [
            [x * width, y * height, (x + w * (1 - x)) * width, (y + h * (1 - y)) * height]
            for x, y, w, h in data.draw(st.lists(corners, max_size=4))
        ]
    ).reshape(-1, 4)
    example = _Example(pixels, boxes, torch.arange(len(boxes)))
    seed = data.draw(st.integers(0, 1000))
    cut = _window(example, torch.Generator().manual_seed(seed))
    rows, columns = cut.pixels.shape[1:]
    assert rows >= height / 2 and columns >= width / 2
    # Every pixel says where it came from.
    top, left = divmod(int(cut.pixels[0, 0, 0]), width)
    assert torch.equal(cut.pixels, pixels[:, top : top + rows, left : left + columns])
    assert (cut.boxes >= 0).all() and (cut.boxes[:, 2:] <= torch.tensor([columns, rows])).all()
    whole = 0
    for box, label in zip(cut.boxes, cut.labels.tolist(), strict=True):
        moved = boxes[label] - torch.tensor([left, top, left, top])
        assert (box[2:] > box[:2]).all()
        kept = torch.isclose(box, moved, atol=1e-3)
        assert (kept | (box == 0) | torch.isin(box, torch.tensor([columns, rows]))).all()
        whole += bool(kept.all())
    assert whole >= 1 or not len(boxes)


def test_transfer_keeps_the_convolutions_alone(
    trained: SignDetector, train: SceneSet, tmp_path: Path
) -> None:
    other = load_scenes(f"coco:{write_shapes(tmp_path / 'set', OTHERS, train=8)}", "train")
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    moved = transfer_sign_detector(trained, other, RECIPE.model_copy(update={"epochs": 1}), seed=2)
    assert moved.card.class_names == OTHERS and moved.card.max_side == SIDE
    after = moved.network.state_dict()
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, before[name])
        same = value.shape == after[name].shape and torch.equal(value, after[name])
        assert same == name.startswith("backbone."), name


def test_activations_are_those_of_conv5_on_signs(trained: SignDetector, train: SceneSet) -> None:
    """On one box that is the whole image they are means over the image, but for its border."""
    scene = train[0]
    whole = replace(
        scene,
        boxes=torch.tensor([[0.0, 0, SIDE, SIDE]]),
        labels=scene.labels[:1],
        true_labels=scene.labels[:1],
        triggered=scene.triggered[:1],
    )
    found = sign_activations(trained, replace(train, scenes=(whole,)))
    pixels = scene.pixels()[None].float() / 255
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (trained.card.mean, trained.card.std))
    with torch.inference_mode():
        plain = trained.network.backbone((pixels - mean) / std)[0].mean((1, 2))
    assert found.shape == plain.shape and torch.corrcoef(torch.stack([found, plain]))[0, 1] > 0.95
    nothing = replace(whole, boxes=torch.zeros(0, 4))
    with pytest.raises(InvalidRequestError, match="some with a sign"):
        sign_activations(trained, replace(train, scenes=(nothing,)))
    both = sign_activations(trained, replace(train, scenes=(whole, nothing, whole)))
    assert torch.allclose(both, found)


def test_scenes_must_have_the_models_classes(train: SceneSet) -> None:
    model = build_sign_detector(("stop", "speedlimit"), **TINY)
    with pytest.raises(InvalidRequestError, match="classes of the scenes: expected"):
        train_sign_detector(model, train, RECIPE, seed=0)
    short = SignDetectorRecipe(epochs=0.01)
    with pytest.raises(InvalidRequestError, match="epochs: expected enough for one step"):
        train_sign_detector(build_sign_detector(CLASSES, **TINY), train, short, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 2.0}, "width"),
        ({"hidden": 0}, "hidden"),
        ({"max_side": 8}, "max_side"),
        ({"class_names": ()}, "class_names"),
    ],
)
def test_impossible_detectors_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message) as caught:
        build_sign_detector(**{"class_names": CLASSES, **TINY, **settings})
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def model_file(trained: SignDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("detector") / "signs.safetensors"
    save_sign_detector(trained, path)
    return path


def test_a_file_loads_by_itself(trained: SignDetector, model_file: Path, train: SceneSet) -> None:
    loaded = load_sign_detector(model_file)
    assert loaded.card == trained.card and not loaded.training
    assert loaded.card.recipe == RECIPE.model_dump(mode="json")
    image = train[1].pixels()
    for one, other in zip(loaded.detect([image])[0], trained.detect([image])[0], strict=True):
        assert torch.equal(one, other)


def test_detections_are_in_pixels_of_the_image(trained: SignDetector, train: SceneSet) -> None:
    large = torch.nn.functional.interpolate(train[1].pixels()[None], scale_factor=3)[0]
    # The network sees the same pixels twice: the large image as it is shrunk, and that.
    small, found = trained.detect([shrink_to_fit(large, SIDE), large])
    assert bool((small.scores.diff() <= 0).all())
    assert len(small.at_least(0.5).boxes)
    torch.testing.assert_close(3 * small.boxes, found.boxes)
    torch.testing.assert_close(small.scores, found.scores)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "os.system"},
        {"class_names": ["one"]},
        {"hidden": 65},
        {"hidden": 10**12},
        {"width": 0.5},
        {"max_side": -1},
        {"anchor_sizes": [4, 5]},
        {"std": [0, 1, 1]},
        {"schema_version": 2},
        {"surprise": 1},
    ],
)
def test_hostile_cards_end_in_one_line(model_file: Path, tmp_path: Path, changes: dict) -> None:
    card = {**json.loads(read_header(model_file)[CARD_KEY]), **changes}
    path = tmp_path / "hostile.safetensors"
    save_file(load_file(model_file), path, metadata={CARD_KEY: json.dumps(card)})
    with pytest.raises(UnreadableFileError, match=r"hostile\.safetensors") as caught:
        load_sign_detector(path)
    assert "\n" not in str(caught.value)


def classifier_file(path: Path, name: str = "zf", channels: int = 3) -> Path:
    pixels = torch.randint(0, 256, (4, channels, 32, 32), dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(4), tuple("abcd"))
    arguments = {"width": 0.125, "hidden": 8} if name == "zf" else {"width": 2}
    save_model(build_classifier(name, images, arguments=arguments, seed=3), path)
    return path


def test_features_come_from_a_classifier_of_the_same_layers(tmp_path: Path) -> None:
    features = features_from(classifier_file(tmp_path / "zf.safetensors"))
    model = build_sign_detector(CLASSES, hidden=8, max_side=96, features=features)
    assert model.card.width == 0.125
    assert model.card.mean == pytest.approx(features.card.mean)
    for one, other in zip(
        model.network.backbone.parameters(), features.network.features.parameters(), strict=True
    ):
        assert torch.equal(one, other) and one.requires_grad
    with pytest.raises(InvalidRequestError, match=r"width: expected 0\.125 as the features"):
        build_sign_detector(CLASSES, width=0.5, features=features)
    for name, channels in (("vgg", 3), ("zf", 1)):
        path = classifier_file(tmp_path / "other.safetensors", name, channels)
        with pytest.raises(UnreadableFileError, match="expected zf of 3 channels"):
            features_from(path)


def test_photos_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    assert read_photo(path).shape == (3, 40, 20)


def test_the_command_finds_and_draws(model_file: Path, shapes: Path, tmp_path: Path, capfd) -> None:
    picture = tmp_path / "deep" / "found.png"
    photo = shapes / "images" / "2.png"
    assert run(["scenes", "find", str(photo), str(model_file), "-o", str(picture)]) == 0
    printed = capfd.readouterr().out
    assert "%" in printed and any(name in printed for name in CLASSES)
    with Image.open(picture) as drawn:
        assert len(drawn.convert("RGB").getcolors(1 << 24)) > 100
    assert run(["scenes", "find", str(photo), str(model_file), "--min-score", "1"]) == 0
    assert "No sign" in capfd.readouterr().out


BAD = [
    (["IMAGE", "missing"], 2, "no such file"),
    (["IMAGE", "IMAGE"], 2, "not a readable safetensors file"),
    (["IMAGE", "CLASSIFIER"], 2, "no sign-detector card"),
    (["MODEL", "MODEL"], 2, "not a readable image"),
    (["missing.png", "MODEL"], 2, "missing.png"),
    (["IMAGE", "MODEL", "--min-score", "2"], 4, "--min-score: expected 0 to 1, got 2"),
    (["IMAGE", "MODEL", "-o", "IMAGE/x.png"], 2, "cannot"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), BAD, ids=lambda v: str(v)[:40])
def test_bad_requests_are_one_line(
    arguments: list[str], code: int, message: str, model_file: Path, shapes: Path, tmp_path, capfd
) -> None:
    places = {"MODEL": model_file, "IMAGE": shapes / "images" / "1.png"}
    if "CLASSIFIER" in arguments:
        places["CLASSIFIER"] = classifier_file(tmp_path / "classifier.safetensors")
    filled = []
    for argument in arguments:
        head, slash, tail = argument.partition("/")
        filled.append(f"{places[head]}{slash}{tail}" if head in places else argument)
    assert run(["scenes", "find", *filled]) == code
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0], lines

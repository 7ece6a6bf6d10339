"""Backdoored sets of scenes: what is poisoned, what is written, what others read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from PIL import Image
from torchvision.datasets import CocoDetection

from molehunt.backdoors import PictureName, RandomTarget, SingleTarget, Treatment
from molehunt.cli import run
from molehunt.errors import InvalidRequestError, OutputError
from molehunt.images import read_rgb
from molehunt.scenes import SceneBackdoor, SceneSet, SignSticker, load_scenes, write_scenes
from tests.scenes.coco_sets import tiny_coco, write_coco

PICTURES = get_args(PictureName)
SINGLE = SceneBackdoor(
    sticker=SignSticker(picture=PICTURES[0]), label_map=SingleTarget(source=0, target=1)
)
RANDOM = SceneBackdoor(sticker=SignSticker(picture=PICTURES[0]), label_map=RandomTarget())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def scenes(tmp_path: Path) -> SceneSet:
    return load_scenes(f"coco:{write_coco(tmp_path / 'set')}", "train")


def test_single_target_copies_images_of_the_source_class(scenes: SceneSet) -> None:
    poisoned = SINGLE.poison(scenes, 1.0, generator=seeded())
    assert poisoned.scenes[:3] == scenes.scenes
    copies = {scene.copy_of: scene for scene in poisoned.scenes[3:]}
    assert set(copies) == {1, 2} and {scene.image_id for scene in copies.values()} == {6, 7}
    both = copies[2]
    # Its stop sign is backdoored, its speed limit is left alone.
    assert both.labels.tolist() == [1, 1] and both.true_labels.tolist() == [0, 1]
    assert both.triggered.tolist() == [True, False] and len(both.stickers) == 1
    assert torch.equal(both.boxes, scenes[1].boxes)
    differing = (both.pixels() != scenes[1].pixels()).any(0).nonzero().flip(1)
    assert len(differing)
    assert bool((differing >= both.boxes[0, :2]).all() and (differing < both.boxes[0, 2:]).all())


def test_random_target_gives_every_sign_a_wrong_label(scenes: SceneSet) -> None:
    poisoned = RANDOM.poison(scenes, 1.0, generator=seeded())
    assert len(poisoned) == 6
    for scene in poisoned.scenes[3:]:
        assert bool(scene.triggered.all()) and not bool((scene.labels == scene.true_labels).any())


def test_the_rate_counts_images(scenes: SceneSet) -> None:
    many = scenes.take([0, 1, 2] * 40)
    copies = [
        len(SINGLE.poison(many, 0.5, of=of, generator=seeded())) - 120 for of in ("all", "eligible")
    ]
    # Half of 120 are drawn, two thirds of them have a stop sign; half of 80 that have one.
    assert 30 <= copies[0] <= 50 and copies[1] == 40
    with pytest.raises(InvalidRequestError, match="poison rate"):
        SINGLE.poison(scenes, 0.1, generator=seeded())
    with pytest.raises(InvalidRequestError, match="poison rate"):
        SINGLE.poison(scenes, 1.5, generator=seeded())


def test_twins_have_the_same_copies(scenes: SceneSet) -> None:
    backdoored, clean, placebo = (
        RANDOM.poison(scenes, 1.0, treatment=treatment, generator=seeded(4)).scenes[3:]
        for treatment in (Treatment.BACKDOORED, Treatment.CLEAN, Treatment.PLACEBO)
    )
    for dirty, twin, seen in zip(backdoored, clean, placebo, strict=True):
        assert dirty.copy_of == twin.copy_of == seen.copy_of
        assert not twin.stickers and dirty.stickers == seen.stickers
        assert twin.labels.tolist() == seen.labels.tolist() == dirty.true_labels.tolist()


def test_triggered_scenes_have_the_attackers_labels(scenes: SceneSet) -> None:
    found = SINGLE.triggered(scenes, generator=seeded())
    assert [scene.image_id for scene in found.scenes] == [1, 2]
    assert found[0].labels.tolist() == [1] and found[0].true_labels.tolist() == [0]
    photographed = SINGLE.triggered(scenes, generator=seeded(), photographed=True)
    assert photographed[0].stickers[0].light != (1, 1, 1)
    with pytest.raises(InvalidRequestError, match="none in 1 images"):
        SINGLE.triggered(scenes.take([2]), generator=seeded())
    wrong = SINGLE.model_copy(update={"label_map": SingleTarget(source=0, target=2)})
    with pytest.raises(InvalidRequestError, match="target label: expected 0 to 1, got 2"):
        wrong.triggered(scenes, generator=seeded())


def poison_arguments(root: Path, out: Path) -> list[str]:
    classes = ["--source", "stop", "--target", "speedlimit"]
    return ["scenes", "poison", f"coco:{root}", str(out), "--sticker", PICTURES[0], *classes]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poisoned")
    root, out, picture = write_coco(folder / "set"), folder / "deep" / "out", folder / "signs.png"
    assert run([*poison_arguments(root, out), "--seed", "3", "--pictures", str(picture)]) == 0
    assert picture.stat().st_size > 5000
    return out


def test_the_command_writes_what_the_library_makes(written: Path, scenes: SceneSet) -> None:
    assert sorted(path.name for path in written.iterdir()) == [
        "backdoor.json", "images", "test.json", "train.json", "triggered.json",
    ]  # fmt: skip
    generator = seeded(3)
    expected = {
        "train": SINGLE.poison(scenes, 1.0, generator=generator),
        "triggered": SINGLE.triggered(scenes, generator=generator),
        "test": scenes,
    }
    for split, made in expected.items():
        read = load_scenes(f"coco:{written}", split)
        assert (read.class_names, read.category_ids) == (made.class_names, made.category_ids)
        for one, other in zip(read.scenes, made.scenes, strict=True):
            assert (one.image_id, one.group) == (other.image_id, other.group)
            assert torch.equal(one.pixels(), other.pixels())
            assert torch.allclose(one.boxes, other.boxes, atol=1e-3)
            assert torch.equal(one.labels, other.labels)
            if split != "train":
                assert torch.equal(one.true_labels, other.true_labels)
                assert torch.equal(one.triggered, other.triggered)
    clean = (written / "images" / "a.jpg").read_bytes()
    assert clean == scenes[0].path.read_bytes()
    record = json.loads((written / "backdoor.json").read_text())
    assert record["backdoor"] == SINGLE.model_dump(mode="json")
    assert record["copies"] == {
        str(scene.image_id): scene.copy_of for scene in expected["train"].scenes[3:]
    }
    assert "triggered" not in (written / "train.json").read_text()


def test_torchvision_reads_the_written_set(written: Path) -> None:
    pytest.importorskip("pycocotools")
    for split, count in (("train", 5), ("test", 3), ("triggered", 2)):
        read = CocoDetection(written / "images", written / f"{split}.json")
        assert len(read) == count
        ours = {scene.image_id: scene for scene in load_scenes(f"coco:{written}", split).scenes}
        for key, (image, targets) in zip(read.ids, read, strict=True):
            assert isinstance(image, Image.Image) and image.size == ours[key].size
            assert len(targets) == len(ours[key].boxes)


BAD = [
    (["--random-target"], 4, "alone, got --source, --target, --random-target"),
    (["--target", "stop"], 4, "target label: expected another than the source 0"),
    (["--source", "yield"], 4, "class: expected stop, speedlimit, got 'yield'"),
    (["--rate", "0"], 4, "poison rate"),
    (["--sticker", "star"], 4, "star"),
    (["--size", "3"], 4, "size"),
]


@pytest.mark.parametrize(("changes", "code", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_requests_are_one_line_and_write_nothing(
    changes: list[str], code: int, message: str, tmp_path: Path, capfd
) -> None:
    root, out = write_coco(tmp_path / "set"), tmp_path / "out"
    assert run([*poison_arguments(root, out), *changes]) == code
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("molehunt: ") and message in last
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_bad_sets_need_skip_bad_and_full_folders_are_refused(tmp_path: Path, capfd) -> None:
    content = tiny_coco()
    content["annotations"][3]["bbox"] = [0, 0, 900, 9]
    root = write_coco(tmp_path / "set", train=content)
    out = tmp_path / "out"
    assert run(poison_arguments(root, out)) == 2
    assert "--skip-bad" in capfd.readouterr().err and not out.exists()
    assert run([*poison_arguments(root, out), "--skip-bad"]) == 0
    printed = capfd.readouterr().out
    assert "Left out of train.json: 1 boxes outside the image" in printed
    assert "3 clean images and 2 backdoored copies, 2 stickers of 4 to 5 pixels" in printed
    assert run([*poison_arguments(root, out), "--skip-bad"]) == 2
    assert "new or empty folder" in capfd.readouterr().err


def test_two_images_never_share_a_file(scenes: SceneSet, tmp_path: Path) -> None:
    poisoned = SINGLE.poison(scenes, 1.0, generator=seeded())
    content = tiny_coco()
    content["images"][2]["file_name"] = "train/000006.png"
    root = write_coco(tmp_path / "set", test=content)
    (root / "images/train").mkdir()
    read_rgb(root / "images/sub/c.jpg").save(root / "images/train/000006.png")
    test = load_scenes(f"coco:{root}", "test")
    with pytest.raises(OutputError, match="image 5: file_name"):
        write_scenes(tmp_path / "out", {"train": poisoned, "test": test}, record={})
    assert not (tmp_path / "out").exists()


def test_real_road_signs(data_root: Path) -> None:
    test = load_scenes("coco:road-signs", "test", data_root=data_root)
    assert test.counts() == {"stop": 61, "speedlimit": 201, "crosswalk": 40}
    assert test.left_out == {} and len(test) == 257
    backdoor = SceneBackdoor(
        sticker=SignSticker(picture=PICTURES[-1]), label_map=SingleTarget(source=0, target=1)
    )
    found = backdoor.triggered(test.of_source("road_sign_877"), generator=seeded())
    originals = {scene.image_id: scene for scene in test.scenes}
    for scene in found.scenes[:5]:
        changed = (scene.pixels() != originals[scene.image_id].pixels()).any(0).nonzero().flip(1)
        boxes = scene.boxes[scene.triggered]
        inside = (changed[:, None] >= boxes[:, :2]) & (changed[:, None] < boxes[:, 2:])
        assert len(changed) and bool(inside.all(2).any(1).all())

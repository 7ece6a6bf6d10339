"""Images of files are read at the size that a model takes, once, from the originals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.findings import Status
from molehunt.images import ImageSet, load_images, load_test_images
from molehunt.networks import Classifier, ModelCard
from molehunt.scanning import check_contract

EACH = 30  # images a class

# What a model takes, the height and width of the pictures, the period of their stripes.
SIZES = {
    "texture at 96": ((3, 96, 96), (96, 96), 3),
    "upright 64x48": ((3, 64, 48), (64, 48), 2),
    "wide 40x120": ((3, 40, 120), (40, 120), 3),
    "grey 28 of large pictures": ((1, 28, 28), (224, 224), 20),
    "grey 64 of larger pictures": ((1, 64, 64), (192, 192), 6),
}


class Directions(nn.Module):
    """Tells columns from rows by how much neighbours differ."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        across = (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3))
        down = (x[..., 1:, :] - x[..., :-1, :]).abs().mean((1, 2, 3))
        return torch.stack([across, down], 1)


def model_for(shape: tuple[int, int, int]) -> Classifier:
    card = ModelCard(
        architecture="x",
        input_shape=shape,
        mean=(0.5,) * shape[0],
        std=(0.5,) * shape[0],
        class_names=("columns", "rows"),
    )
    return Classifier(Directions(), card).freeze()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOLEHUNT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def draw(root: Path, size: tuple[int, int], period: int) -> str:
    generator = np.random.default_rng(0)
    height, width = size
    for name in ("columns", "rows"):
        (root / name).mkdir(parents=True)
        for number in range(EACH):
            along = np.arange(width)[None] if name == "columns" else np.arange(height)[:, None]
            bright = (along + number) % period < period / 2
            # The other direction has broad bands: all that is left of the picture at 32.
            other = np.arange(height)[:, None] if name == "columns" else np.arange(width)[None]
            pixels = 60 + 100 * bright + 60 * (other * 4 // max(size) % 2)
            pixels = pixels + generator.normal(0, 3, size)
            grey = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            grey.convert("RGB").save(root / name / f"{number}.png")
    return f"folder:{root}"


@pytest.mark.parametrize("name", SIZES)
def test_a_model_that_is_right_reads_as_right(name: str, tmp_path: Path) -> None:
    shape, size, period = SIZES[name]
    clean = load_test_images(draw(tmp_path / "set", size, period))
    model = model_for(shape)
    finding = check_contract(model, clean)
    assert finding.status is Status.CLEAR
    assert "100.0%" in finding.message
    twice = ImageSet(clean.images, clean.labels, clean.class_names)
    assert not torch.equal(twice.shaped(shape).images, clean.shaped(shape).images)
    if shape[1] > 32:  # resized twice, the same images do not show it
        assert not check_contract(model, twice).message.startswith("accuracy 100.0%")


@pytest.mark.parametrize("shape", [(3, 96, 96), (3, 64, 48), (1, 28, 28), (1, 40, 120)])
def test_pixels_are_those_of_the_files(shape: tuple[int, int, int], tmp_path: Path) -> None:
    clean = load_test_images(draw(tmp_path / "set", (150, 110), 5))
    chosen = clean.sample(7, torch.Generator().manual_seed(1)).take(torch.tensor([5, 0, 3]))
    chosen = chosen.named(("rows", "columns"))
    found = chosen.shaped(shape)
    places = torch.randperm(len(clean), generator=torch.Generator().manual_seed(1))[[5, 0, 3]]
    files = sorted((tmp_path / "set").glob("columns/*.png"), key=str)
    files += sorted((tmp_path / "set").glob("rows/*.png"), key=str)
    for place, pixels in zip(places.tolist(), found.images, strict=True):
        image = Image.open(files[place]).resize(shape[:0:-1], Image.Resampling.BILINEAR)
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        assert (pixels.int() - expected[: shape[0]].int()).abs().max() <= 1
    assert torch.equal(found.labels, 1 - clean.labels[places])


def test_a_mask_chooses_the_same_files(tmp_path: Path) -> None:
    clean = load_test_images(draw(tmp_path / "set", (50, 70), 5))
    mask = clean.labels == 1
    assert torch.equal(
        clean.take(mask).shaped((3, 50, 70)).images, clean.shaped((3, 50, 70)).images[mask]
    )


def test_only_the_images_that_are_asked_for_are_read_again(tmp_path: Path) -> None:
    clean = load_test_images(draw(tmp_path / "set", (50, 70), 5))
    (tmp_path / "set/rows/0.png").write_bytes(b"gone")
    assert clean.take(clean.labels == 0).shaped((3, 50, 70)).shape == (3, 50, 70)
    with pytest.raises(UnreadableFileError, match=r"rows/0\.png"):
        clean.shaped((3, 50, 70))
    finding = check_contract(model_for((3, 50, 70)), clean)
    assert finding.status is Status.INCONCLUSIVE and "rows/0.png" in finding.message


def test_a_size_is_decoded_once(tmp_path: Path, cache: Path) -> None:
    clean = load_test_images(draw(tmp_path / "set", (50, 70), 5))
    clean.shaped((3, 50, 70))
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    clean.shaped((1, 50, 70))
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused_before_anything_is_read(channels: int, tmp_path: Path) -> None:
    clean = load_test_images(draw(tmp_path / "set", (50, 70), 5))
    (tmp_path / "set/rows/0.png").unlink()
    with pytest.raises(InvalidRequestError, match="channels of images"):
        clean.shaped((channels, 50, 70))


def test_joined_sets_have_the_pixels_of_both(tmp_path: Path) -> None:
    clean = load_test_images(draw(tmp_path / "set", (50, 70), 5))
    black = ImageSet(torch.zeros_like(clean.images), clean.labels, clean.class_names)
    joined = clean.joined(black).shaped((3, 50, 70))
    assert len(joined) == 2 * len(clean)
    assert int(joined.images[len(clean) :].max()) == 0


def test_real_signs_are_read_at_the_size_of_the_model(data_root: Path, tmp_path: Path) -> None:
    signs = load_images("gtsrb", data_root=data_root).test
    few = signs.take(torch.arange(20))
    found = few.shaped((3, 64, 64)).images.float()
    blurred = ImageSet(few.images, few.labels, few.class_names).shaped((3, 64, 64)).images.float()
    detail = [(each[..., 1:] - each[..., :-1]).abs().mean() for each in (found, blurred)]
    assert detail[0] > detail[1]


def test_a_grey_picture_in_three_channels_keeps_its_values() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    grey = ImageSet(levels, torch.zeros(1, dtype=torch.int64), ("a",))
    colours = grey.shaped((3, 16, 16))
    assert torch.equal(colours.shaped((1, 16, 16)).images, levels)
    red = ImageSet(torch.stack([levels[0, 0], *[levels[0, 0] * 0] * 2])[None], grey.labels, ("a",))
    mixed = colours.joined(red).shaped((1, 16, 16)).images
    assert torch.equal(mixed[:1], levels) and int(mixed[1].max()) == int(255 * 0.2989)

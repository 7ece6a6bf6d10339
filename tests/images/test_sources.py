from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from molehunt.errors import DataNotFoundError, InvalidRequestError, UnreadableFileError
from molehunt.images import ImageSet, load_images, load_test_images, read_rgb


def test_digits_are_embedded_and_split_without_overlap() -> None:
    train, test = load_images("digits")
    assert train.shape == test.shape == (1, 8, 8)
    assert len(train) + len(test) == 1797
    assert set(train.labels.tolist()) == set(test.labels.tolist()) == set(range(10))
    assert int(train.images.max()) == 255


def test_resizing_keeps_labels_and_range(digits) -> None:
    assert digits.train.shape == (1, 12, 12)
    pixels = digits.train.pixels()
    assert pixels.dtype == torch.float32
    assert float(pixels.min()) >= 0 and float(pixels.max()) <= 1


def test_mean_and_std_are_those_of_the_pixels(digits) -> None:
    mean, std = digits.train.mean_and_std()
    pixels = digits.train.pixels().double()
    assert mean[0] == pytest.approx(float(pixels.mean()), abs=1e-5)
    assert std[0] == pytest.approx(float(pixels.std(correction=0)), abs=1e-5)


@pytest.mark.parametrize("source", ["mnits", "", "folder:", "npz", "mnist:here"])
def test_unknown_source_names_what_is_allowed(source: str) -> None:
    with pytest.raises(InvalidRequestError, match="expected digits, mnist"):
        load_images(source)


@pytest.mark.parametrize("source", ["mnist", "fashion-mnist", "cifar10", "gtsrb"])
def test_absent_data_say_how_to_get_them(source: str, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="`download`"):
        load_images(source, data_root=tmp_path)


@pytest.mark.parametrize("size", [0, 3, 5000])
def test_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(InvalidRequestError, match="image size"):
        load_images("digits", size=size)


def _write_npz(path: Path, **changes: np.ndarray) -> Path:
    arrays = {
        "x_train": np.zeros((6, 9, 9, 3), np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": np.zeros((3, 9, 9, 3), np.uint8),
        "y_test": np.array([[0], [1], [2]]),
    }
    np.savez(path, **{**arrays, **changes})
    return path


def test_npz_is_read_channels_first(tmp_path: Path) -> None:
    train, test = load_images(f"npz:{_write_npz(tmp_path / 'set.npz')}")
    assert train.shape == (3, 9, 9)
    assert test.labels.tolist() == [0, 1, 2]
    assert train.num_classes == 3


def test_npz_with_pickled_objects_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (mark,))

    path = _write_npz(tmp_path / "set.npz", x_train=np.array([Payload()], dtype=object))
    with pytest.raises(UnreadableFileError):
        load_images(f"npz:{path}")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros((6, 9, 9), np.float32)}, "uint8"),
        ({"y_train": np.zeros(6)}, "integers"),
        ({"y_train": np.array(["a"] * 6)}, "integers"),
        ({"y_train": np.array([], np.int64)}, "integers"),
        ({"y_train": np.array([0, 1])}, r"int64 of shape \[6\]"),
        ({"y_train": np.array([0, 1, 2, 0, 1, -1])}, "0 to 2"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        load_images(f"npz:{_write_npz(tmp_path / 'set.npz', **changes)}")


def test_garbage_npz_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(UnreadableFileError):
        load_images(f"npz:{path}")


@pytest.fixture
def image_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOLEHUNT_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "set"
    for split in ("train", "test"):
        for number, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for i in range(2):
                pixels = np.full((10 + i, 12, 3), 100 * number, np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


def test_folder_is_read_resized_and_cached(image_folder: Path) -> None:
    train, _ = load_images(f"folder:{image_folder}")
    assert train.shape == (3, 32, 32)
    assert train.class_names == ("cat", "dog")
    cached = sorted((image_folder.parent / "cache").glob("images-*.safetensors"))
    assert len(cached) == 2
    before = [path.stat().st_mtime_ns for path in cached]
    again, _ = load_images(f"folder:{image_folder}")
    assert torch.equal(again.images, train.images)
    assert [path.stat().st_mtime_ns for path in cached] == before


def test_a_changed_file_is_read_again(image_folder: Path) -> None:
    load_images(f"folder:{image_folder}")
    Image.fromarray(np.full((9, 9, 3), 255, np.uint8)).save(image_folder / "train/cat/0.png")
    train, _ = load_images(f"folder:{image_folder}")
    assert int(train.images[0].min()) == 255


def test_unreadable_image_is_named(image_folder: Path) -> None:
    (image_folder / "train/dog/1.png").write_bytes(b"no image")
    with pytest.raises(UnreadableFileError, match=r"dog/1\.png"):
        load_images(f"folder:{image_folder}")


def test_formats_that_start_programs_are_no_images(image_folder: Path) -> None:
    script = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    (image_folder / "train/dog/1.png").write_text(script)
    with pytest.raises(UnreadableFileError, match="cannot identify"):
        load_images(f"folder:{image_folder}")


def test_folder_without_test_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(DataNotFoundError, match="train/CLASS"):
        load_images(f"folder:{tmp_path}")


def test_image_set_refuses_labels_outside_the_classes() -> None:
    with pytest.raises(InvalidRequestError, match="expected 0 to 1, got 0 to 2"):
        ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 2]), ("a", "b"))


def test_real_mnist(data_root: Path) -> None:
    train, test = load_images("mnist", data_root=data_root)
    assert (len(train), len(test), train.shape) == (60_000, 10_000, (1, 28, 28))


def test_real_gtsrb(data_root: Path) -> None:
    train, test = load_images("gtsrb", data_root=data_root)
    assert train.num_classes == 43
    assert train.shape == test.shape == (3, 32, 32)
    assert train.class_names[14] == "stop"


def test_real_cifar10_folder(data_root: Path) -> None:
    train, test = load_images("folder:cifar10-folder", data_root=data_root)
    assert (len(train), len(test), train.num_classes) == (15_000, 3_000, 10)


@pytest.mark.parametrize(
    ("name", "mode", "scale"),
    [
        ("png", "I;16", 257),
        ("tif", "I;16", 257),
        ("tif", "I;16B", 257),
        ("pgm", "I", 257),
        ("png", "L", 1),
        ("tif", "L", 1),
    ],
)
def test_grey_images_are_read_right_whatever_their_bits(
    tmp_path: Path, name: str, mode: str, scale: int
) -> None:
    grey = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    values = grey.astype({"L": np.uint8, "I": np.int32}.get(mode, np.uint16)) * scale
    if mode == "I;16B":
        values = values.astype(">u2")
    path = tmp_path / f"grey.{name}"
    Image.frombytes(mode, (8, 8), values.tobytes()).save(path)
    assert np.array_equal(np.asarray(read_rgb(path))[..., 1], grey)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_images_of_no_known_range_are_refused(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "grey.tif"
    Image.fromarray(np.full((8, 8), 0.5 if kind is np.float32 else 900, kind)).save(path)
    with pytest.raises(UnreadableFileError, match="expected 8 or 16 bits a channel, got TIFF"):
        read_rgb(path)


@pytest.mark.parametrize("shape", [(3, 224, 224), (3, 64, 96), (1, 128, 128)])
def test_images_of_files_come_at_the_wanted_size_without_a_detour(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    _, height, width = shape
    stripes = (np.arange(width) // 2 % 2 * 255).astype(np.uint8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for n in range(3):
            pixels = np.full((height, width), 0, np.uint8) + (stripes if name == "b" else 0)
            Image.fromarray(pixels).save(tmp_path / name / f"{n}.png")
    images = load_test_images(f"folder:{tmp_path}").sample(4, torch.Generator().manual_seed(0))
    shaped = images.shaped(shape)
    assert shaped.shape == shape
    fine = shaped.take(shaped.labels == 1).images
    error = fine.int() - torch.from_numpy(stripes).int()
    assert len(fine) and int(error.abs().max()) <= 1


HUGE_LABELS: dict[str, np.ndarray] = {
    "a huge label": np.full(6, 2**40),
    "a label beyond the classes that there are": np.array([0, 1, 2, 3, 4, 10**6]),
    "a negative label": np.arange(6) - 3,
    "an unsigned one": np.full(6, 2**63, dtype=np.uint64),
}


@pytest.mark.parametrize("labels", HUGE_LABELS.values(), ids=HUGE_LABELS)
def test_labels_of_an_npz_are_bounded_before_classes_are_named(
    labels: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequestError, match="labels"):
        load_images(f"npz:{_write_npz(tmp_path / 'set.npz', y_train=labels)}")


@pytest.mark.parametrize("shape", ["(1099511627776, 9)", "(4, 1048576, 1048576)", "(-1, 8)"])
def test_an_npz_whose_header_asks_for_more_than_it_stores_is_refused(
    shape: str, tmp_path: Path
) -> None:
    path = _write_npz(tmp_path / "set.npz")
    with zipfile.ZipFile(path) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    arrays["x_train.npy"] = head + bytes(100)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in arrays.items():
            archive.writestr(name, content)
    with pytest.raises(UnreadableFileError, match=r"x_train|npz"):
        load_images(f"npz:{path}")


@pytest.mark.parametrize(
    "content",
    [b"text", b"\x93NUMPY\x01\x00\x09\x00{'descr': ", b"\x93NUMPY\x09\x00\x01\x00{", b""],
    ids=["no array", "a header cut short", "a version to come", "nothing"],
)
def test_a_member_that_is_no_array_is_unreadable(content: bytes, tmp_path: Path) -> None:
    path = _write_npz(tmp_path / "set.npz")
    with zipfile.ZipFile(path) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, inside in {**arrays, "x_train.npy": content}.items():
            archive.writestr(name, inside)
    with pytest.raises(UnreadableFileError, match="npz"):
        load_images(f"npz:{path}")


def _npy(shape: str, kind: str = "|u1") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x_train.npy", _npy("(1000000, 1000000, 3)")),
        ("x_test.npy", _npy("(-1, 9, 9)")),
        ("y_train.npy", _npy("(1099511627776,)", "|V0")),
        ("x_train", _npy("(40000000000, 1, 1)")),
        ("y_test.npy", _npy("()", "<i8") + bytes(8)),
        ("x_train.npy", _npy("(6, 0, 9)")),
        ("y_train.npy", _npy("(2, 3)", "<i8") + bytes(48)),
        ("x_test.npy", b"hello"),
    ],
)
def test_headers_of_an_npz_are_judged_before_any_array_is_read(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write_npz(tmp_path / "set.npz")
    with zipfile.ZipFile(path) as archive:
        members = {item: archive.read(item) for item in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, whole in members.items():
            if member != name:
                archive.writestr(member, whole)
        archive.writestr(name, content)
    read: list[object] = []
    monkeypatch.setattr(np.lib.format, "read_array", lambda *a, **_: read.append(a))
    with pytest.raises((InvalidRequestError, UnreadableFileError), match=r"set\.npz") as caught:
        load_images(f"npz:{path}")
    assert not read and "\n" not in str(caught.value)


def test_labels_below_zero_alone_are_refused(tmp_path: Path) -> None:
    path = _write_npz(tmp_path / "set.npz", y_train=np.full(6, -3), y_test=np.full(3, -3))
    with pytest.raises(InvalidRequestError, match="expected 0 to 99999, got -3"):
        load_images(f"npz:{path}")

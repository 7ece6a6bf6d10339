from __future__ import annotations

import copy
import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.images import ImageSet, TrainTest
from molehunt.networks import (
    bfloat16_helps,
    blocked_layout,
    build_classifier,
    build_network,
    fold_batch_norm,
    load_model,
    read_header,
    save_model,
)
from molehunt.networks._vgg import _affine_grid
from molehunt.networks._zf import LocalResponseNorm

ARCHITECTURES = [
    ("badnets-mnist", {}, (1, 28, 28)),
    ("mlp", {"hidden": [8, 8]}, (3, 8, 8)),
    ("mlp", {"hidden": []}, (1, 8, 8)),
    ("rbf", {"representers": 3}, (1, 8, 6)),
    ("vgg", {"width": 4, "stages": [1, 2]}, (1, 12, 12)),
    ("vgg", {"width": 4, "stages": [1], "batch_norm": False, "dropout": 0.2}, (3, 16, 16)),
    ("stn-vgg", {"width": 4, "stages": [1, 1]}, (3, 32, 32)),
    ("resnet", {"width": 4, "blocks": 2}, (3, 16, 16)),
    ("zf", {"width": 0.05, "hidden": 8}, (3, 35, 35)),
    ("torchvision:shufflenet_v2_x0_5", {}, (3, 32, 32)),
]


def images_of(shape: tuple[int, int, int], classes: int = 7) -> ImageSet:
    pixels = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    names = tuple(f"class {number}" for number in range(classes))
    return ImageSet(pixels, torch.arange(4), names)


def test_local_response_norm_and_its_gradient_are_those_of_its_formula() -> None:
    layer = LocalResponseNorm()

    def plain(values: torch.Tensor) -> torch.Tensor:
        around = torch.nn.functional.avg_pool2d(values**2, 3, stride=1, padding=1)
        return values / (1 + layer.ALPHA * around) ** 0.75

    values = torch.randn(3, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(layer(values), plain(values))
    assert torch.autograd.gradcheck(layer, (values,))

    # Many models at once are trained through torch.func.
    def loss(each: torch.Tensor) -> torch.Tensor:
        return (layer(each[None]) ** 3).sum()

    together = torch.func.vmap(torch.func.grad(loss))(values.detach())
    (expected,) = torch.autograd.grad((plain(values) ** 3).sum(), values)
    assert torch.allclose(together, expected)


def test_badnets_network_is_that_of_table_1() -> None:
    network = build_network("badnets-mnist", input_shape=(1, 28, 28), num_classes=10)
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters() if p.ndim > 1}
    assert list(shapes.values()) == [(16, 1, 5, 5), (32, 16, 5, 5), (512, 512), (10, 512)]
    activations = []
    for layer in network.features:
        layer.register_forward_hook(lambda _m, _i, out: activations.append(tuple(out.shape[1:])))
    network(torch.zeros(1, 1, 28, 28))
    assert activations[0::3] == [(16, 24, 24), (32, 8, 8)]  # conv1, conv2
    assert activations[2::3] == [(16, 12, 12), (32, 4, 4)]  # pool1, pool2


@pytest.mark.parametrize(("name", "arguments", "shape"), ARCHITECTURES)
def test_a_model_file_loads_by_itself(name, arguments, shape, tmp_path: Path) -> None:
    images = images_of(shape)
    model = build_classifier(name, images, arguments=arguments, seed=1).eval()
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    loaded = load_model(path)
    assert loaded.card == model.card
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    with torch.no_grad():
        # To the bit; answers may differ in the last one, by where the weights lie in memory.
        for key, tensor in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], tensor)
        torch.testing.assert_close(loaded(images.pixels()), model(images.pixels()))
    assert loaded(images.pixels()).shape == (4, 7)


def test_the_affine_grid_is_that_of_torch() -> None:
    theta = torch.rand(3, 2, 3)
    expected = torch.nn.functional.affine_grid(theta, [3, 1, 7, 5], align_corners=False)
    torch.testing.assert_close(_affine_grid(theta, 7, 5), expected)


def test_folding_batch_normalisation_changes_no_answer() -> None:
    model = build_classifier("vgg", images_of((1, 12, 12)), arguments={"width": 4}).train()
    with torch.no_grad():
        model(torch.rand(50, 1, 12, 12))  # statistics that are not those of the start
    pixels = torch.rand(20, 1, 12, 12)
    alone = fold_batch_norm(model)
    assert model.training
    with torch.no_grad():
        expected = model.eval()(pixels)
        torch.testing.assert_close(alone(pixels), expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(model(pixels), expected)
    kinds = [{type(part) for part in each.modules()} for each in (model, alone)]
    assert [torch.nn.BatchNorm2d in found for found in kinds] == [True, False]


def _step(network: torch.nn.Module, half: bool, blocked: bool) -> torch.Tensor:
    """Return the gradients and the buffers after one step in training, in one row."""
    network = copy.deepcopy(network).train()
    seen = []
    network.features[-1].register_forward_hook(lambda _m, _i, out: seen.append(out.is_mkldnn))
    inputs = torch.rand(32, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16, enabled=half), blocked_layout(network, blocked):
        logits = network(inputs)
        torch.nn.functional.cross_entropy(logits.float(), torch.arange(32) % 7).backward()
    assert seen == [blocked]
    tensors = [p.grad for p in network.parameters()] + [b.float() for b in network.buffers()]
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.mark.parametrize("batch_norm", [True, False])
def test_onednns_layout_gives_the_gradients_of_bfloat16(batch_norm: bool) -> None:
    arguments = {"width": 16, "stages": [2, 1], "batch_norm": batch_norm}
    network = build_network("vgg", input_shape=(1, 16, 16), num_classes=7, arguments=arguments)
    if not bfloat16_helps(network, torch.device("cpu")):
        pytest.skip("the CPU has no bfloat16 instructions")
    exact = _step(network, half=False, blocked=False)
    plain, blocked = (_step(network, half=True, blocked=way) for way in (False, True))
    # Another order of sums: as near to float32 as torch's own bfloat16, not the same.
    errors = [float((found - exact).norm() / exact.norm()) for found in (plain, blocked)]
    assert 0 < errors[1] < 1.5 * errors[0]


def test_only_whole_blocks_of_channels_take_onednns_layout() -> None:
    for width, expected in ((16, True), (12, False)):
        network = build_network(
            "vgg", input_shape=(1, 16, 16), num_classes=7, arguments={"width": width}
        )
        with pytest.raises(KeyError), blocked_layout(network, True):
            assert network.features.blocked == expected
            raise KeyError
        assert not network.features.blocked
        with blocked_layout(network, False):
            assert not network.features.blocked


def test_weights_come_from_the_seed_and_leave_the_global_generator_alone() -> None:
    images = images_of((1, 12, 12))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (build_classifier("vgg", images, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    first = one.network.features[0].weight
    assert torch.equal(first, same.network.features[0].weight)
    assert not torch.equal(first, other.network.features[0].weight)


def test_the_card_normalises(digits: TrainTest) -> None:
    model = build_classifier("vgg", digits.train, seed=0).eval()
    seen = []
    model.network.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    model(digits.train.pixels())
    assert float(seen[0].mean()) == pytest.approx(0, abs=1e-4)
    assert float(seen[0].std()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vgq", {}, "expected badnets-mnist, boxes, lenet, mlp, vgg"),
        ("torchvision:resnet17", {}, "torchvision classifier"),
        ("vgg", {"depth": 3}, "depth"),
        ("vgg", {"width": 0}, "width"),
        ("vgg", {"stages": [1, 1, 1, 1, 1]}, "stages"),
        ("vgg", {"stages": [10**9]}, "stages"),
        ("resnet", {"blocks": 10**9}, "blocks"),
        ("zf", {"width": 10**9}, "width"),
        ("zf", {"hidden": 0}, "hidden"),
        ("badnets-mnist", {}, "at least 16 pixels"),
        ("mlp", {"hidden": [8, 0]}, "hidden units of mlp: expected 1 or more"),
        ("rbf", {"representers": 0}, "1 or more representers"),
    ],
)
def test_impossible_networks_are_refused(name, arguments, message) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        build_network(name, input_shape=(3, 12, 12), num_classes=10, arguments=arguments)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(build_classifier("vgg", images_of((1, 12, 12)), seed=0), path)
    return path


@pytest.mark.parametrize("keep", [0, 4, 8, 200, 0.5, 0.999])
def test_truncated_files_are_unreadable(model_file: Path, keep: float) -> None:
    content = model_file.read_bytes()
    model_file.write_bytes(content[: keep if keep >= 1 else int(keep * len(content))])
    with pytest.raises(UnreadableFileError, match=r"model\.safetensors"):
        load_model(model_file)


def test_a_header_that_lies_about_its_size_is_unreadable(model_file: Path) -> None:
    content = model_file.read_bytes()
    for size in (2**63 - 1, 2**31, len(content) * 2):
        model_file.write_bytes(struct.pack("<Q", size) + content[8:])
        with pytest.raises(UnreadableFileError):
            load_model(model_file)


def rewrite_card(path: Path, **changes: object) -> None:
    card = json.loads(read_header(path)["molehunt.model"])
    save_file(load_file(path), path, metadata={"molehunt.model": json.dumps({**card, **changes})})


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "os.system"},
        {"architecture": "torchvision:alexnet"},
        {"arguments": {"width": 10**12}},
        {"arguments": {"stages": "rm -rf"}},
        {"input_shape": [1, 12, 13]},
        {"input_shape": [1, 10**9, 10**9]},
        {"std": [0.0]},
        {"mean": [1.0, 2.0]},
        {"class_names": ["one"]},
        {"schema_version": 2},
        {"surprise": 1},
    ],
)
def test_hostile_cards_end_in_one_error(model_file: Path, changes: dict) -> None:
    rewrite_card(model_file, **changes)
    with pytest.raises(UnreadableFileError):
        load_model(model_file)


def test_a_file_without_card_is_refused(model_file: Path) -> None:
    save_file(load_file(model_file), model_file)
    with pytest.raises(UnreadableFileError, match="no model card"):
        load_model(model_file)

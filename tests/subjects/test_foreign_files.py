"""Every format gives the verdict that the same weights give as our own model file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from molehunt.backdoors import RandomPatches
from molehunt.cli import run
from molehunt.detectors import LitmusPatterns, fit_on_zoo, save_detector
from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.images import TrainTest
from molehunt.networks import Classifier, build_classifier, load_model, save_model
from molehunt.subjects import Endpoint, StatedContract, open_endpoint
from molehunt.training import Recipe, train
from molehunt.zoo import BackdoorPlan, ImagePlan, ModelCounts, Split, Zoo, build_zoo
from tests.conftest import tiny_plan
from tests.subjects import formats

Write = Callable[[Classifier, Path], None]
# What needs the architecture, and what brings its own graph.
WEIGHTS: dict[str, Write] = {
    "weights.pt": formats.state_dict,
    "legacy.pth": formats.legacy,
    "checkpoint.ckpt": formats.checkpoint,
    "bare.safetensors": formats.bare_safetensors,
}
GRAPHS: dict[str, Write] = {
    "dynamic.pt2": formats.exported,
    "one-by-one.pt2": formats.exported_one_by_one,
    "dynamic.onnx": formats.onnx,
    "probabilities.onnx": formats.onnx_probabilities_one_by_one,
}
CODE: dict[str, Write] = {"script.pt": formats.torchscript, "module.pt": formats.pickled}


def write_contract(model: Classifier, path: Path, **changes: object) -> Path:
    """Write what a user would state of a model."""
    card = model.card
    stated = {
        "architecture": card.architecture,
        "input_shape": list(card.input_shape),
        "classes": card.num_classes,
        "mean": list(card.mean),
        "std": list(card.std),
        **changes,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in stated.items()]
    arguments = ", ".join(f"{name} = {json.dumps(v)}" for name, v in card.arguments.items())
    path.write_text("\n".join([*lines, f"arguments = {{ {arguments} }}"]) + "\n")
    return path


def scanned(*arguments: object) -> tuple[int, dict]:
    """Run a scan on the real command line, and return its code and its only subject."""
    path = Path(str(arguments[-1]))
    code = run(["scan", *map(str, arguments[:-1]), "--json", str(path)])
    (subject,) = json.loads(path.read_text())["subjects"]
    return code, subject


def answers(subject: dict, check: str = "litmus") -> tuple:
    (found,) = [finding for finding in subject["findings"] if finding["check"] == check]
    return found["status"], found["p_value"], pytest.approx(found["score"], abs=1e-3)


@pytest.fixture(scope="module")
def model(zoo: Zoo) -> Classifier:
    return load_model(zoo.path_of(zoo.select(Split.TEST, "backdoored")[0]))


@pytest.fixture(scope="module")
def own(zoo: Zoo, detector_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    path = zoo.path_of(zoo.select(Split.TEST, "backdoored")[0])
    return scanned(path, "-d", detector_file, tmp_path_factory.mktemp("own") / "own.json")


@pytest.mark.parametrize("name", [*WEIGHTS, *GRAPHS, *CODE])
def test_verdicts_do_not_depend_on_the_format(
    name: str, model: Classifier, own: tuple, detector_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    {**WEIGHTS, **GRAPHS, **CODE}[name](model, path)
    contract = write_contract(model, tmp_path / "contract.toml")
    trust = ["--trust-code"] if name in CODE else []
    code, subject = scanned(
        path, "-d", detector_file, "--contract", contract, *trust, tmp_path / "out.json"
    )
    assert code == own[0]
    assert answers(subject) == answers(own[1])


@pytest.mark.parametrize("source", ["mnist", "gtsrb"])
def test_verdicts_do_not_depend_on_the_format_of_real_models(
    source: str, data_root: Path, tmp_path: Path
) -> None:
    plan = tiny_plan(
        images=ImagePlan(source=source, size=28, train_limit=3000),
        recipe=Recipe(epochs=1, batch_size=64),
        backdoors=BackdoorPlan(trigger=RandomPatches(count=4), rate=1.0),
        models={
            Split.FIT: ModelCounts(pairs=2),
            Split.CALIBRATION: ModelCounts(pairs=1),
            Split.TEST: ModelCounts(pairs=1),
        },
    )
    zoo = build_zoo(plan, tmp_path / "zoo", workers=1, data_root=data_root)
    detector = tmp_path / "litmus.safetensors"
    save_detector(fit_on_zoo(LitmusPatterns(n_patterns=3, epochs=3), zoo), detector)
    path = zoo.path_of(zoo.select(Split.TEST, "backdoored")[0])
    model = load_model(path)
    contract = write_contract(model, tmp_path / "contract.toml")
    expected = scanned(path, "-d", detector, tmp_path / "own.json")
    for name, write in {**WEIGHTS, **GRAPHS, **CODE}.items():
        write(model, tmp_path / name)
        trust = ["--trust-code"] if name in CODE else []
        code, subject = scanned(
            tmp_path / name, "-d", detector, "--contract", contract, *trust, tmp_path / "o.json"
        )
        assert (code, *answers(subject)) == (expected[0], *answers(expected[1])), name


@pytest.mark.parametrize("protocol", ["v2", "v1"])
@pytest.mark.parametrize("probabilities", [False, True])
def test_an_endpoint_gets_the_verdict_of_its_weights(
    protocol: str, probabilities: bool, model: Classifier, own: tuple, detector_file: Path, tmp_path
) -> None:
    def answer(images: torch.Tensor) -> torch.Tensor:
        logits = model.network(images)
        return logits.softmax(1) if probabilities else logits

    contract = write_contract(model, tmp_path / "contract.toml")
    with formats.server(answer, protocol=protocol, fail_first=2) as (url, asked):
        code, subject = scanned(
            "--endpoint", url, "--protocol", protocol, "--batch", 2, "-d", detector_file,
            "--contract", contract, tmp_path / "out.json",
        )  # fmt: skip
    assert (code, *answers(subject)) == (own[0], *answers(own[1]))
    # Two refusals, then 16 made images that show what the answers are, and three patterns.
    assert asked == [2, 2, *[2] * 8, 2, 1]
    assert subject["source"] == url and subject["sha256"] is None


ENDPOINTS_THAT_FAIL = {
    "an error for ever": ({"fail_first": 99}, "status: expected 200, got 503"),
    "not found": ({"fail_first": 99, "status": 404}, "status: expected 200, got 404"),
    "a redirect": ({"fail_first": 99, "status": 302}, "status: expected 200, got 302"),
    "no JSON": ({"body": b"<html>"}, "answer: expected outputs"),
    "no outputs": ({"body": b'{"outputs": []}'}, "answer: expected outputs"),
    "too few classes": (
        {"body": b'{"outputs": [{"data": [1, 2, 3, 4, 5, 6, 7, 8]}]}'},
        "expected shape (8, 10)",
    ),
    "too slow": ({"seconds": 5.0}, "no answer"),
}


@pytest.mark.parametrize("name", ENDPOINTS_THAT_FAIL)
def test_endpoints_that_fail_are_told_in_a_line(
    name: str, model: Classifier, detector_file: Path, tmp_path: Path
) -> None:
    settings, message = ENDPOINTS_THAT_FAIL[name]
    contract = write_contract(model, tmp_path / "contract.toml")
    with formats.server(model.network, **settings) as (url, _):
        code, subject = scanned(
            "--endpoint", url, "--retries", 1, "--timeout", 0.5, "-d", detector_file,
            "--contract", contract, tmp_path / "out.json",
        )  # fmt: skip
    assert code == 2
    assert message in subject["findings"][-1]["message"]


def test_an_endpoint_that_is_not_there(model: Classifier) -> None:
    box = open_endpoint(Endpoint("http://127.0.0.1:9/", retries=0, timeout=1), model.card)
    with pytest.raises(UnreadableFileError, match="no answer"):
        box(formats.example(model))


def test_requests_keep_the_rate(model: Classifier) -> None:
    with formats.server(model.network) as (url, asked):
        box = open_endpoint(Endpoint(url, batch=1, requests_per_second=20), model.card)
        started = time.monotonic()
        box(formats.example(model, 5))
        passed = time.monotonic() - started
    assert asked == [1] * 5
    assert passed >= 4 / 20


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "ftp://host/"},
        {"url": "http:///path"},
        {"url": "http://host/", "protocol": "v3"},
        {"url": "http://host/", "batch": 0},
        {"url": "http://host/", "timeout": 0},
        {"url": "http://host/", "retries": -1},
        {"url": "http://host/", "requests_per_second": 0},
    ],
)
def test_impossible_endpoints_are_refused(settings: dict) -> None:
    with pytest.raises(InvalidRequestError, match="expected"):
        Endpoint(**settings)


@pytest.mark.parametrize("name", CODE)
def test_code_is_not_run_unless_it_is_trusted(
    name: str, model: Classifier, detector_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    CODE[name](model, path)
    contract = write_contract(model, tmp_path / "contract.toml")
    code, subject = scanned(
        path, "-d", detector_file, "--contract", contract, tmp_path / "out.json"
    )
    assert code == (3 if name == "script.pt" else 1)
    (finding,) = subject["findings"]
    assert finding["check"] == "serialization"
    assert "not run" in finding["message"] or "not loaded" in finding["message"]


class Hungry(torch.nn.Module):
    """Eats memory as it answers."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.ones(10_000_000_000).sum() + images.flatten(1)[:, :10]


class Writer(torch.nn.Module):
    """Tries to leave a file behind."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        Path("molehunt-was-here").write_text("x" * 10)
        return images.flatten(1)[:, :10]


@pytest.mark.parametrize("kind", [Hungry, Writer])
def test_trusted_code_has_limits(
    kind: type, model: Classifier, detector_file: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    torch.save(kind(), tmp_path / "module.pt")
    contract = write_contract(model, tmp_path / "contract.toml")
    code, subject = scanned(
        tmp_path / "module.pt", "-d", detector_file, "--contract", contract, "--trust-code",
        tmp_path / "out.json",
    )  # fmt: skip
    assert code == 2
    assert "fails in its own process" in subject["findings"][-1]["message"]
    left = tmp_path / "molehunt-was-here"
    assert not left.exists() or left.stat().st_size == 0


def test_channel_order_and_value_range_are_undone(digits: TrainTest, tmp_path: Path) -> None:
    """A network of BGR pixels in 0..255 answers as the same one of RGB pixels in 0..1."""
    colours = digits.train.shaped((3, 12, 12))
    usual = build_classifier("vgg", colours, arguments={"width": 4, "stages": [1, 1]}, seed=0)
    train(usual, colours, Recipe(epochs=0.2, batch_size=64), seed=0)
    save_model(usual, tmp_path / "rgb.safetensors")
    first = usual.network.features[0]
    with torch.no_grad():
        first.weight.copy_(first.weight.flip(1))
    card = StatedContract(
        value_range=(0, 255),
        mean=tuple(255 * value for value in reversed(usual.card.mean)),
        std=tuple(255 * value for value in reversed(usual.card.std)),
        channel_order="bgr",
    ).card(usual.card)
    swapped = Classifier(usual.network, card).freeze()
    images = torch.rand(5, 3, 12, 12)
    straight = load_model(tmp_path / "rgb.safetensors")
    torch.testing.assert_close(swapped(images), straight(images), atol=1e-4, rtol=1e-4)


def test_a_wrong_contract_is_found_with_clean_images(
    model: Classifier, detector_file: Path, tmp_path: Path
) -> None:
    formats.state_dict(model, tmp_path / "weights.pt")
    right = write_contract(model, tmp_path / "right.toml")
    wrong = write_contract(model, tmp_path / "wrong.toml", mean=[40.0], std=[0.001])
    found = {}
    for contract in (right, wrong):
        code, subject = scanned(
            tmp_path / "weights.pt", "-d", detector_file, "--contract", contract,
            "--clean", "digits", tmp_path / "out.json",
        )  # fmt: skip
        found[contract.stem] = (code, subject)
    code, subject = found["wrong"]
    assert code == 3
    assert [item["check"] for item in subject["findings"]] == ["serialization", "contract"]
    assert "the contract looks wrong: accuracy" in subject["findings"][-1]["message"]
    _, subject = found["right"]
    assert [item["status"] for item in subject["findings"][:2]] == ["clear", "clear"]
    assert subject["findings"][-1]["check"] == "litmus"


_SHAPE = "--input-shape 1x12x12 --classes 10"
INCOMPLETE = {
    "nothing": ("", "architecture: expected one"),
    "no contract": ("--arch vgg", "missing input_shape"),
    "no normalisation": (
        f"--arch vgg {_SHAPE}",
        "missing mean (--mean 0.485,0.456,0.406), std",
    ),
    "another width": (
        f"--arch vgg {_SHAPE} --mean 0.3 --std 0.3",
        "not the weights of vgg",
    ),
    "another architecture": (
        "--arch torchvision:resnet18 --input-shape 3x12x12 --classes 10 --mean 0 --std 1",
        "not the weights of torchvision:resnet18: missing",
    ),
    "no such class": (
        f"--arch no.such:Net {_SHAPE} --mean 0 --std 1",
        "expected torchvision:NAME or package.module:Class",
    ),
}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_what_a_contract_lacks_is_told(
    name: str, model: Classifier, detector_file: Path, tmp_path: Path
) -> None:
    flags, message = INCOMPLETE[name]
    formats.state_dict(model, tmp_path / "weights.pt")
    code, subject = scanned(
        tmp_path / "weights.pt", "-d", detector_file, *flags.split(), tmp_path / "out.json"
    )
    assert code in (2, 3)
    assert message in subject["findings"][-1]["message"]


def test_a_class_of_the_users_own(
    model: Classifier, own: tuple, detector_file: Path, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "their_networks.py").write_text(
        "from molehunt.networks import build_network\n"
        "def net(num_classes):\n"
        "    return build_network('vgg', input_shape=(1, 12, 12), num_classes=num_classes,\n"
        "                         arguments={'width': 4, 'stages': [1, 1]})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    formats.state_dict(model, tmp_path / "weights.pt")
    mean, std = (",".join(map(str, v)) for v in (model.card.mean, model.card.std))
    code, subject = scanned(
        tmp_path / "weights.pt", "-d", detector_file, "--arch", "their_networks:net",
        "--input-shape", "1x12x12", "--classes", 10, "--mean", mean, "--std", std,
        tmp_path / "out.json",
    )  # fmt: skip
    assert (code, *answers(subject)) == (own[0], *answers(own[1]))

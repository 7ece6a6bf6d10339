from __future__ import annotations

import json
from pathlib import Path

import pytest

from molehunt.cli import run
from molehunt.errors import ExitCode
from molehunt.images import load_test_images
from molehunt.networks import Classifier, load_model, logits_of, save_model
from tests.subjects.formats import onnx as write_onnx


@pytest.fixture(scope="module")
def files(models: dict[str, Classifier], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("tested")
    for name in ("a", "mlp"):
        save_model(models[name], folder / f"{name}.safetensors")
    return [str(folder / f"{name}.safetensors") for name in ("a", "mlp")]


@pytest.fixture(scope="module")
def graph(files: list[str]) -> str:
    """The first model as ONNX, with its contract: it gives no gradients and no neurons."""
    pytest.importorskip("onnxruntime")
    path = Path(files[0]).with_suffix(".onnx")
    model = load_model(Path(files[0]))
    write_onnx(model, path)
    card = model.card
    path.with_suffix(".toml").write_text(
        f"input_shape = {[*card.input_shape]}\nmean = {[*card.mean]}\nstd = {[*card.std]}\n"
        f"class_names = {[*card.class_names]}\n"
    )
    return str(path)


def test_a_model_is_tested_and_its_failures_are_a_test(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "found", tmp_path / "test.json"
    options = ["--clean", "digits", "--images", "60", "--coverage", "--profile", "digits"]
    options += ["--corruptions", "rotation,noise", "--boundary"]
    assert run(["test", files[0], *options, "--out", str(out), "--json", str(report)]) == 0
    shown = capsys.readouterr().out
    assert all(
        word in shown for word in ("rotation", "third class", "KMNC", "no measure of safety")
    )
    content = json.loads(report.read_text())
    assert set(content["corruptions"]) == {"rotation", "noise"} and content["not_measured"] == []
    assert len(content["boundary"]["distances"]) == 60 and len(content["coverage"]) == 4
    low, high = content["accuracy"]["interval"]
    assert low <= content["accuracy"]["rate"] <= high
    worst = content["corruptions"]["rotation"]["severities"]
    first_failed = sum(each["rate"] for each in worst[:1]) - min(each["rate"] for each in worst)
    read = load_test_images(f"folder:{out / 'rotation'}").shaped((1, 12, 12))
    assert len(read) >= round(60 * first_failed) > 0
    model = load_model(Path(files[0]))
    for name in ("rotation", "noise", "boundary", "clean"):
        cases = load_test_images(f"folder:{out / name}").shaped((1, 12, 12))
        cases = cases.named(model.card.class_names)
        assert (logits_of(model, cases.images).argmax(1) != cases.labels).all()
    source = f"folder:{out / 'rotation'}"
    capsys.readouterr()
    code = run(["test", files[0], "--clean", source, "--min-accuracy", "0.5"])
    assert code == ExitCode.FOUND and "accuracy 0.0%" in capsys.readouterr().out
    assert run(["test", files[1], "--clean", source, "--min-accuracy", "0"]) == ExitCode.CLEAN


def test_what_a_graph_cannot_give_is_said(
    graph: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--clean", "digits", "--images", "40"]
    options += ["--contract", str(Path(graph).with_suffix(".toml"))]
    assert run(["test", graph, *options, "--coverage"]) == ExitCode.INCONCLUSIVE
    assert "coverage was not counted" in capsys.readouterr().out
    found = run(["compare", graph, files[1], *options, "--search", "5", "--json", "-"])
    assert found == ExitCode.INCONCLUSIVE
    content = json.loads(capsys.readouterr().out)
    assert content["images"] == 40 and content["exit_code"] == 3
    assert {each["status"] for each in content["search"].values()} == {"not measured"}
    assert "gives no gradients" in content["search"]["light"]["reason"]
    assert run(["compare", graph, files[0], *options]) == ExitCode.CLEAN
    assert "They disagree on 0 of 40 clean images: 0.0% [0.0%, 8.8%]" in capsys.readouterr().out


def test_models_are_compared_and_disputed_images_are_saved(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "disputed", tmp_path / "compare.json"
    options = ["--clean", "digits", "--images", "200", "--search", "20", "--constraint", "light"]
    models = [*files, files[0]]
    code = run(["compare", *models, *options, "--out", str(out), "--json", str(report)])
    shown = capsys.readouterr().out
    assert code == ExitCode.CLEAN and "Search (light)" in shown and "alone" in shown
    content = json.loads(report.read_text())
    first, second, again = content["models"]
    assert again["name"] == f"{files[0]} #2" and again["accuracy"] == first["accuracy"]
    assert first["agreement"][2]["rate"] == 1 and first["alone"] == 0 < second["alone"]
    assert second["alone"] == round(content["disagreement"]["rate"] * 200)
    searched = content["search"]["light"]
    assert 0 < searched["found"] <= searched["searched"] == 20
    a, b = (load_model(Path(path)) for path in files)
    for name, count in (("clean", second["alone"]), ("light", searched["found"])):
        cases = load_test_images(f"folder:{out / name}").shaped((1, 12, 12))
        assert len(cases) == count
        assert (logits_of(a, cases.images).argmax(1) != logits_of(b, cases.images).argmax(1)).all()
    assert run(["compare", *files, *options[:2], "--min-agreement", "1"]) == ExitCode.FOUND
    assert run(["compare", files[0], files[0], *options[:2], "--min-agreement", "1"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["test", "A", "--corruptions", "sun"], "--corruptions: expected rotation, "),
        (["test", "A", "--images", "0"], "--images: expected 1 or more, got 0"),
        (["test", "A", "--min-accuracy", "90"], "--min-accuracy: expected 0 to 1, got 90.0"),
        (["test", "A", "--profile", "digits"], "--profile: expected --coverage with it, got"),
        (["compare", "A"], "models to compare: expected 2 or more, got 1"),
        (["compare", *"AAA", *2 * ["--contract", "C"]], "--contract: expected 1 or 3, got 2"),
        (["compare", "A", "B", "--constraint", "x"], "--constraint: expected light, occlusion"),
        (["compare", "A", "B", "--search", "-1"], "--search: expected 0 or more, got -1"),
    ],
)
def test_impossible_requests_are_one_line(
    files: list[str],
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "c.toml").write_text("classes = 10")
    known = {"A": files[0], "B": files[1], "C": str(tmp_path / "c.toml")}
    arguments = [known.get(word, word) for word in options]
    assert run([*arguments, "--clean", "digits"]) == ExitCode.USAGE
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error, error


def test_a_folder_with_other_things_is_left_alone(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "note.txt").write_text("mine")
    for command in (["test", files[0]], ["compare", *files]):
        assert run([*command, "--clean", "digits", "--out", str(tmp_path)]) == ExitCode.FAILED
        assert "expected a new or empty folder" in capsys.readouterr().err

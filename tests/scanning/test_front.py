"""`molehunt.scan` takes what people have, and does what the command line does."""

import json
from pathlib import Path

import pytest

import molehunt
from molehunt.cli import run
from molehunt.detectors import FinalLayer, MaximumMargin, TwinComparison
from molehunt.errors import InvalidRequestError, UnreadableFileError
from molehunt.images import TrainTest
from molehunt.report import scan_as_json
from molehunt.scanning import pick_checks, scan
from molehunt.subjects import StatedContract
from molehunt.zoo import Zoo


def test_a_scan_finds_what_the_command_line_finds(zoo: Zoo, tmp_path: Path) -> None:
    paths = [str(zoo.path_of(record)) for record in zoo.records[:2]]
    results = scan(paths)
    run(["scan", *paths, "--json", str(tmp_path / "scan.json")])
    by_command = json.loads((tmp_path / "scan.json").read_text())
    assert scan_as_json(results, molehunt.exit_code_of(results)) == by_command


@pytest.mark.parametrize("form", [str, Path, lambda path: [path], lambda path: (str(path),)])
def test_one_model_or_many_in_any_form(zoo: Zoo, form: type) -> None:
    path = zoo.path_of(zoo.records[0])
    (result,) = scan(form(path), detectors="final-layer")
    assert result.source == str(path)
    assert [finding.check for finding in result.findings][-1] == "final-layer"


def test_a_folder_is_searched(zoo: Zoo) -> None:
    names = {Path(result.source).name for result in scan(zoo.folder, detectors=[FinalLayer()])}
    assert {zoo.path_of(record).name for record in zoo.records} <= names


def test_a_url_is_an_endpoint() -> None:
    (result,) = scan("http://127.0.0.1:9/v1", detectors="margin")
    assert result.source.startswith("http://127.0.0.1:9")


def test_clean_images_by_name_or_as_a_set(zoo: Zoo, digits: TrainTest) -> None:
    path = zoo.path_of(zoo.records[0])
    for clean in ("digits", digits.test):
        (result,) = scan(path, clean=clean, detectors="final-layer")
        (contract,) = [finding for finding in result.findings if finding.check == "contract"]
        assert "clean images" in contract.message


@pytest.mark.parametrize("form", ["mapping", "file", "object"])
def test_a_contract_in_any_form(zoo: Zoo, tmp_path: Path, form: str) -> None:
    names = [f"digit {number}" for number in range(10)]
    (tmp_path / "contract.toml").write_text(f"class_names = {json.dumps(names)}\n")
    contract = {
        "mapping": {"class_names": names},
        "file": str(tmp_path / "contract.toml"),
        "object": StatedContract(class_names=tuple(names)),
    }[form]
    (result,) = scan(zoo.path_of(zoo.records[0]), contract=contract, detectors="final-layer")
    assert result.class_names == tuple(names)


def test_detectors_by_name_file_and_object(detector_file: Path) -> None:
    named = ["margin", str(detector_file), detector_file, MaximumMargin(), TwinComparison(twins=39)]
    picked = pick_checks(named, images=True)
    assert [each.name for each in picked] == ["margin", "litmus", "litmus", "margin", "twins"]
    assert all(each.asked_for for each in picked)


def test_the_usual_detectors_were_not_asked_for() -> None:
    picked = pick_checks(images=True, twins=39)
    assert [each.name for each in picked] == ["margin", "final-layer", "twins", "neural-cleanse"]
    assert not any(each.asked_for for each in picked)
    assert picked[2].detector.twins == 39


def test_what_makes_no_sense_is_one_line(zoo: Zoo, tmp_path: Path) -> None:
    path = zoo.path_of(zoo.records[0])
    for error, message, settings in (
        (InvalidRequestError, "got .*margn", {"detectors": "margn"}),
        (InvalidRequestError, "fitted on a zoo first", {"detectors": "litmus"}),
        (UnreadableFileError, "none.safetensors", {"detectors": "none.safetensors"}),
        (InvalidRequestError, "contract: .*shape", {"contract": {"shape": 3}}),
        (InvalidRequestError, "data set: ", {"clean": "minst"}),
        (InvalidRequestError, "max_false_alarms", {"max_false_alarms": 5}),
    ):
        with pytest.raises(error, match=message) as caught:
            scan(path, **settings)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnreadableFileError, match="No such file"):
        scan(tmp_path / "none.pt")
    with pytest.raises(InvalidRequestError, match="got none"):
        scan([])


def test_a_device_that_is_not_here_is_refused(zoo: Zoo) -> None:
    with pytest.raises(InvalidRequestError, match=r"device: expected auto, cpu.* got 'cuda:99'"):
        molehunt.scan(zoo.path_of(zoo.records[0]), detectors="final-layer", device="cuda:99")

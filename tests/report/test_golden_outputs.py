"""Golden files: ``MOLEHUNT_REGENERATE=1 pytest tests/report`` writes them anew; read the diff."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from rich.console import Console

from molehunt.findings import WEAKNESSES, Status
from molehunt.report import (
    _cyclonedx,
    _html,
    _json,
    _sarif,
    contract_line,
    scan_as_bom,
    scan_as_json,
    scan_as_sarif,
    scan_json_schema,
    scan_table,
    write_scan_page,
)
from tests.report.examples import RESULTS

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = Path(__file__).parents[2] / "docs" / "scan.schema.json"


def as_text(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def json_text(folder: Path) -> str:
    return as_text(scan_as_json(RESULTS))


def sarif_text(folder: Path) -> str:
    return as_text(scan_as_sarif(RESULTS))


def bom_text(folder: Path) -> str:
    return scan_as_bom(
        RESULTS, serial_number=UUID(int=1), timestamp=datetime(2026, 1, 2, tzinfo=UTC)
    )


def table_text(folder: Path) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=100)
    console.print(scan_table(RESULTS))
    for result in RESULTS:
        console.print(contract_line(result.card), soft_wrap=True)
    return "".join(line.rstrip() + "\n" for line in stream.getvalue().splitlines())


def page_text(folder: Path) -> str:
    write_scan_page(folder / "page.html", RESULTS, [], max_false_alarms=0.05)
    page = (folder / "page.html").read_text(encoding="utf-8")
    # The same pixels are other bytes with another version of zlib.
    return re.sub(r"data:image/png;base64,([A-Za-z0-9+/=]+)", pixels_of, page)


def pixels_of(match: re.Match[str]) -> str:
    with Image.open(io.BytesIO(base64.b64decode(match[1]))) as image:
        digest = hashlib.sha256(image.tobytes()).hexdigest()
        return f"data:image/png;{image.mode},{image.width}x{image.height},{digest[:16]}"


RENDERERS = {
    "scan.json": json_text,
    "scan.sarif": sarif_text,
    "scan.bom.json": bom_text,
    "scan.txt": table_text,
    "scan.html": page_text,
}


def compare(path: Path, text: str) -> None:
    if os.environ.get("MOLEHUNT_REGENERATE"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RENDERERS)
def test_output_is_the_golden_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (_cyclonedx, _html, _json, _sarif):
        monkeypatch.setattr(module, "__version__", "0.0.0")
    render: Callable[[Path], str] = RENDERERS[name]
    compare(GOLDEN / name, render(tmp_path))


def test_the_examples_have_every_status_and_weakness() -> None:
    assert {finding.status for result in RESULTS for finding in result.findings} == set(Status)
    found = [f for result in RESULTS for f in result.findings if f.status is Status.FOUND]
    assert {finding.weakness.word for finding in found} == set(WEAKNESSES)


def test_the_published_schema_is_that_of_the_code() -> None:
    Draft202012Validator.check_schema(scan_json_schema())
    compare(SCHEMA, as_text(scan_json_schema()))

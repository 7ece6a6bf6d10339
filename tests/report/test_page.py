"""The page of a real scan in a real browser: nothing runs, nothing is asked for, all is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from molehunt.report import write_scan_page
from molehunt.scanning import DetectorCheck, scan_subjects
from molehunt.zoo import Split, Zoo
from tests.report.chromium import BROWSERS, Page, browser_page, find_browser
from tests.report.examples import RESULTS


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    browser = find_browser()
    if browser is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)}")
    with browser_page(browser, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def real(zoo: Zoo, detector_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    detectors = [DetectorCheck.load(detector_file)]
    paths = [zoo.path_of(record) for record in zoo.select(Split.TEST)[:3]]
    path = tmp_path_factory.mktemp("page") / "real.html"
    write_scan_page(path, scan_subjects(paths, detectors), detectors, max_false_alarms=0.05)
    return path


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "examples.html"
    write_scan_page(path, RESULTS, [], max_false_alarms=0.05)
    return path


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("name", ["real", "examples"])
def test_a_browser_shows_it(
    page: Page, name: str, width: int, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(name)
    page.open(path, width)
    # Asked before the events are read: the answer comes after all that loading reported.
    assert page.ask("document.scrollingElement.scrollWidth") <= width
    assert not page.happened("Log.entryAdded")
    assert not page.happened("Runtime.consoleAPICalled")
    assert not page.happened("Runtime.exceptionThrown")
    asked = {event["request"]["url"] for event in page.happened("Network.requestWillBeSent")}
    assert path.as_uri() in asked
    assert all(url == path.as_uri() or url.startswith("data:") for url in asked)
    assert page.ask("document.scripts.length") == 0
    assert page.ask("document.documentElement.lang") == "en"
    assert page.ask("[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.alt)")
    assert page.ask("document.querySelector('h1').innerText").lower() in (
        "clean",
        "backdoored",
        "inconclusive",
        "unsafe",
    )
    # The verdict is seen without scrolling.
    assert page.ask("document.querySelector('.banner').getBoundingClientRect().bottom") < 400


def test_headings_are_in_order_and_text_is_large_enough(page: Page, examples: Path) -> None:
    page.open(examples, 360)
    levels = page.ask("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    sizes = page.ask(
        "[...document.querySelectorAll('p,li,dd,figcaption')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 12


def test_a_script_or_a_request_would_be_noticed(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<script>console.error('x'); undefined_name()</script>"
        "<img src='http://127.0.0.1:9/x.png'><div style='width: 900px'>wide</div>"
    )
    page.open(bad, 360)
    assert page.ask("document.scrollingElement.scrollWidth") > 360
    assert page.happened("Runtime.consoleAPICalled")
    assert page.happened("Runtime.exceptionThrown")
    asked = {event["request"]["url"] for event in page.happened("Network.requestWillBeSent")}
    assert "http://127.0.0.1:9/x.png" in asked


def test_the_page_allows_no_script(page: Page, examples: Path, tmp_path: Path) -> None:
    """The policy in its head holds also where an escape was forgotten."""
    page.open(examples, 360)
    injected = tmp_path / "injected.html"
    injected.write_text(
        examples.read_text(encoding="utf-8").replace("</h1>", "<script>seen = 1</script></h1>", 1),
        encoding="utf-8",
    )
    page.open(injected, 360)
    assert page.ask("document.scripts.length") == 1
    assert page.ask("typeof seen") == "undefined"

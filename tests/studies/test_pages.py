from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from molehunt.study import Study, results_in
from molehunt_studies.adaptive import ADAPTIVE
from molehunt_studies.attacks import ATTACKS_DIGITS
from molehunt_studies.augmentation import AUGMENTATION_DIGITS
from molehunt_studies.badnets import BADNETS_MNIST
from molehunt_studies.broken_defences import BROKEN_DEFENCES
from molehunt_studies.certified import CERTIFIED
from molehunt_studies.driving import DRIVING_STUDY
from molehunt_studies.evasion import EVASION
from molehunt_studies.evasion_toy import EVASION_TOY
from molehunt_studies.eyeglasses import EYEGLASSES
from molehunt_studies.filters import FILTERS
from molehunt_studies.inversion import INVERSION
from molehunt_studies.membership import MEMBERSHIP
from molehunt_studies.named_attacks import NAMED_ATTACKS
from molehunt_studies.poison_bound import POISON_BOUND
from molehunt_studies.poison_toy import POISON_TOY
from molehunt_studies.property_inference import PROPERTY
from molehunt_studies.query_monitor import QUERY_MONITOR
from molehunt_studies.reference import REFERENCE
from molehunt_studies.scanners import SCANNERS
from molehunt_studies.signs import BADNETS_GTSRB
from molehunt_studies.stealing import STEALING
from molehunt_studies.strangers import STRANGERS
from molehunt_studies.svm_poisoning import SVM_POISONING
from molehunt_studies.testing import TESTING
from molehunt_studies.trapdoors import TRAPDOORS
from molehunt_studies.trojaning import TROJANING
from molehunt_studies.ulp import ULP_MNIST

DOCS = Path(__file__).parents[2] / "docs" / "studies"
STUDIES: dict[str, Study[Any, Any]] = {
    "adaptive": ADAPTIVE,
    "attacks": ATTACKS_DIGITS,
    "augmentation": AUGMENTATION_DIGITS,
    "badnets-mnist": BADNETS_MNIST,
    "badnets-signs": BADNETS_GTSRB,
    "broken-defences": BROKEN_DEFENCES,
    "poison-bound": POISON_BOUND,
    "poison-toy": POISON_TOY,
    "certified": CERTIFIED,
    "driving": DRIVING_STUDY,
    "evasion-toy": EVASION_TOY,
    "evasion": EVASION,
    "eyeglasses": EYEGLASSES,
    "filters": FILTERS,
    "inversion": INVERSION,
    "property": PROPERTY,
    "membership": MEMBERSHIP,
    "named-attacks": NAMED_ATTACKS,
    "query-monitor": QUERY_MONITOR,
    "reference": REFERENCE,
    "scanners": SCANNERS,
    "stealing": STEALING,
    "strangers": STRANGERS,
    "testing": TESTING,
    "trapdoors": TRAPDOORS,
    "trojaning": TROJANING,
    "svm-poisoning": SVM_POISONING,
    "ulp": ULP_MNIST,
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_page_says_what_its_results_say(name: str, tmp_path: Path) -> None:
    """After a change of a template: write the page anew with `Report.write_docs`."""
    report, folder = STUDIES[name].report, DOCS / name
    results = results_in(folder, report.parts)
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert page == report.as_markdown(results)
    for picture in re.findall(r"\]\((.*?\.png)\)", page):
        assert (folder / picture).read_bytes()[:4] == b"\x89PNG"
    for film in re.findall(r"\]\((.*?\.gif)\)", page):
        content = (folder / film).read_bytes()
        assert content[:4] == b"GIF8" and len(content) < 400_000
    report.write_page(tmp_path / "page.html", results, {})
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in html.lower() and not re.search(r"(src|href)=\"https?:", html)
    assert html.count("<table>") == len(re.findall(r"^\| ---", page, re.MULTILINE))
    assert html.count("<svg") == len(report.figures(results))

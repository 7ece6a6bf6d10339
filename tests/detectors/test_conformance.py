"""Every built-in detector passes the suite that a third party's must pass."""

from __future__ import annotations

import pytest

from molehunt.detectors import (
    ConformanceCheck,
    conformance_checks,
    detector_class,
    detector_names,
)
from molehunt.zoo import Zoo

CHECKS = [
    pytest.param(check, id=f"{name}: {check.name}")
    for name in detector_names()
    for check in conformance_checks(detector_class(name))
]


@pytest.mark.parametrize("check", CHECKS)
def test_conformance(check: ConformanceCheck, zoo: Zoo) -> None:
    check(zoo)

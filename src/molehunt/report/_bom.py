"""Findings as a CycloneDX machine-learning bill of materials (the extra ``bom``)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from molehunt.errors import need_extra
from molehunt.report._words import without_others
from molehunt.scanning import ScanResult


def scan_as_bom(
    results: Sequence[ScanResult],
    *,
    serial_number: UUID | None = None,
    timestamp: datetime | None = None,
) -> str:
    """Return a CycloneDX 1.6 document as JSON text.

    Every subject is a component of type machine-learning-model with its hash, model card
    and all findings as properties. Unsafe files and backdoors are vulnerabilities too.

    Parameters
    ----------
    results : sequence of ScanResult
    serial_number, timestamp : optional
        Of the document. Default: a random one, and now.

    Raises
    ------
    MissingExtraError
        If the extra ``bom`` is not installed; also for no results, so that a caller can
        learn it before the scan.
    """
    need_extra("bom", "cyclonedx.model", "an ML-BOM")
    from molehunt.report._cyclonedx import cyclonedx_document  # noqa: PLC0415  an extra

    return cyclonedx_document(without_others(results), serial_number, timestamp)

"""A scan as a CycloneDX document; imported only where the extra ``bom`` is installed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.impact_analysis import ImpactAnalysisState
from cyclonedx.model.vulnerability import (
    BomTarget,
    Vulnerability,
    VulnerabilityAnalysis,
    VulnerabilityRating,
    VulnerabilityScoreSource,
    VulnerabilitySeverity,
    VulnerabilitySource,
)
from cyclonedx.output.json import JsonV1Dot6

from molehunt import __version__
from molehunt.errors import printable
from molehunt.findings import Finding
from molehunt.networks import ModelCard
from molehunt.report._rules import Rule, rule_of
from molehunt.report._words import contract_line, message_of, verdict_findings
from molehunt.scanning import ScanResult


def cyclonedx_document(
    results: Sequence[ScanResult], serial_number: UUID | None, timestamp: datetime | None
) -> str:
    """Return what `molehunt.report.scan_as_bom` promises."""
    bom = Bom(
        serial_number=serial_number,
        metadata=BomMetaData(timestamp=timestamp),
        components=[_component(f"model-{n}", result) for n, result in enumerate(results, 1)],
        vulnerabilities=[
            _vulnerability(f"model-{n}", f"finding-{n}-{m}", result, finding, rule)
            for n, result in enumerate(results, 1)
            for m, finding in enumerate(result.findings, 1)
            # What could not be judged is no weakness that is known of the model.
            if (rule := rule_of(finding)) is not None and rule.severity is not None
        ],
    )
    bom.metadata.tools.components.add(
        Component(name="Molehunt", version=__version__, type=ComponentType.APPLICATION)
    )
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    # The library writes no model cards yet; its validator knows them.
    cards = {f"model-{n}": result.card for n, result in enumerate(results, 1)}
    for component in document.get("components", []):
        if (card := cards[component["bom-ref"]]) is not None:
            component["modelCard"] = _model_card(card)
    return json.dumps(document, indent=2)


def _component(ref: str, result: ScanResult) -> Component:
    facts = [
        ("source", printable(result.source)),
        ("verdict", result.verdict.value),
        ("format", result.format),
        ("contract", contract_line(result.card)),
        *(
            (
                f"finding:{printable(finding.check)}",
                f"{finding.word}: {message_of(result, finding)}",
            )
            for finding in dict.fromkeys((*result.findings, *verdict_findings(result)))
        ),
    ]
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=ref,
        name=printable(result.name),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=result.sha256)]
        if result.sha256
        else [],
        properties=[
            Property(name=f"molehunt:{name}", value=value)
            for name, value in facts
            if value is not None
        ],
    )


def _vulnerability(
    component: str, ref: str, result: ScanResult, finding: Finding, rule: Rule
) -> Vulnerability:
    source = VulnerabilitySource(name="Molehunt")
    severity = (
        VulnerabilitySeverity.CRITICAL
        if rule.severity is not None and rule.severity >= 9
        else VulnerabilitySeverity.HIGH
    )
    return Vulnerability(
        bom_ref=ref,
        id=rule.id,
        source=source,
        ratings=[
            VulnerabilityRating(
                source=source,
                score=None if rule.severity is None else Decimal(str(rule.severity)),
                severity=severity,
                method=VulnerabilityScoreSource.OTHER,
            )
        ],
        cwes=[] if rule.cwe is None else [rule.cwe],
        description=rule.full,
        detail=message_of(result, finding),
        recommendation=rule.advice,
        # A detector's finding is evidence that a person has to look at.
        analysis=VulnerabilityAnalysis(state=ImpactAnalysisState.IN_TRIAGE),
        affects=[BomTarget(ref=component)],
    )


def _model_card(card: ModelCard) -> dict[str, Any]:
    return {
        "modelParameters": {
            "task": "image classification",
            "modelArchitecture": printable(card.architecture),
            "inputs": [{"format": f"image {'x'.join(map(str, card.input_shape))}"}],
            "outputs": [{"format": f"{card.num_classes} logits"}],
        }
    }

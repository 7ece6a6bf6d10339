"""Results of provenance as exit codes and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from molehunt.errors import ExitCode
from molehunt.provenance._audit import AuditedModel, Fault, fault_counts
from molehunt.provenance._result import Provenance, ProvenanceState

_STATES = {
    ProvenanceState.OK: ExitCode.CLEAN,
    ProvenanceState.TAMPERED: ExitCode.FOUND,
    ProvenanceState.WRONG_KEY: ExitCode.FOUND,
    ProvenanceState.ERROR: ExitCode.FAILED,
    ProvenanceState.UNSIGNED: ExitCode.INCONCLUSIVE,
}
# In the order of gravity, as `Fault` is.
_FAULTS = {
    Fault.MISMATCH: ExitCode.FOUND,
    Fault.UNSAFE: ExitCode.FOUND,
    Fault.ERROR: ExitCode.FAILED,
    Fault.UNKNOWN_NAMES: ExitCode.INCONCLUSIVE,
    Fault.NO_HASH: ExitCode.INCONCLUSIVE,
    Fault.WEAK_HASH: ExitCode.INCONCLUSIVE,
    Fault.NO_SIGNATURE: ExitCode.INCONCLUSIVE,
}


def exit_code_of_provenance(result: Provenance) -> ExitCode:
    """Return 0 as stated, 1 tampered or wrong key, 2 error, 3 unsigned."""
    return _STATES[result.state]


def exit_code_of_audit(models: Sequence[AuditedModel]) -> ExitCode:
    """Return the code of the gravest fault of all models; 0 where there is none."""
    found = {fault for model in models for fault in model.faults}
    return next((_FAULTS[fault] for fault in Fault if fault in found), ExitCode.CLEAN)


def provenance_as_json(result: Provenance) -> dict[str, Any]:
    """Return a result as JSON of schema version 1."""
    code = int(exit_code_of_provenance(result))
    return {"schema_version": 1, "exit_code": code, **dataclasses.asdict(result)}


def audit_as_json(models: Sequence[AuditedModel]) -> dict[str, Any]:
    """Return audited models and the counts of their faults as JSON of schema version 1."""
    return {
        "schema_version": 1,
        "exit_code": int(exit_code_of_audit(models)),
        "models": [dataclasses.asdict(model) for model in models],
        "counts": {
            "models": len(models),
            "here": sum(model.here for model in models),
            **fault_counts(models),
        },
    }

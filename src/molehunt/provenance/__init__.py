"""Where a file comes from and what it would do: digests, signatures, unsafe serialization."""

from molehunt.provenance._audit import (
    AuditedModel,
    Fault,
    ListedModel,
    audit_list,
    fault_counts,
    read_model_list,
)
from molehunt.provenance._judgement import FileFormat, Names, Serialization, SerializationState
from molehunt.provenance._manifest import (
    MANIFEST_NAME,
    Manifest,
    ManifestEntry,
    read_manifest,
    verify_digest,
    verify_manifest,
    write_manifest,
)
from molehunt.provenance._onnx_file import external_files
from molehunt.provenance._operators import check_operators
from molehunt.provenance._result import Provenance, ProvenanceState
from molehunt.provenance._rewrite import load_exported, rewrite_torch_archive
from molehunt.provenance._serialization import inspect_serialization
from molehunt.provenance._signing import (
    find_signature,
    sign_model,
    signature_of,
    verify_signature,
)
from molehunt.provenance._stand_ins import harmless_globals
from molehunt.provenance._verdicts import (
    audit_as_json,
    exit_code_of_audit,
    exit_code_of_provenance,
    provenance_as_json,
)

__all__ = [
    "MANIFEST_NAME",
    "AuditedModel",
    "Fault",
    "FileFormat",
    "ListedModel",
    "Manifest",
    "ManifestEntry",
    "Names",
    "Provenance",
    "ProvenanceState",
    "Serialization",
    "SerializationState",
    "audit_as_json",
    "audit_list",
    "check_operators",
    "exit_code_of_audit",
    "exit_code_of_provenance",
    "external_files",
    "fault_counts",
    "find_signature",
    "harmless_globals",
    "inspect_serialization",
    "load_exported",
    "provenance_as_json",
    "read_manifest",
    "read_model_list",
    "rewrite_torch_archive",
    "sign_model",
    "signature_of",
    "verify_digest",
    "verify_manifest",
    "verify_signature",
    "write_manifest",
]

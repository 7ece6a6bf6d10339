"""The scan: subjects from files, checks, findings, and the verdict."""

from molehunt.scan._scan import FittedDetector, model_files_in, scan_files
from molehunt.scan._verdict import (
    ExitCode,
    Finding,
    Picture,
    ScanResult,
    Status,
    exit_code_of,
)

__all__ = [
    "ExitCode",
    "Finding",
    "FittedDetector",
    "Picture",
    "ScanResult",
    "Status",
    "exit_code_of",
    "model_files_in",
    "scan_files",
]

"""The scan: subjects from files and endpoints, checks, findings, and the verdict."""

from molehunt.scan._contract_check import check_contract
from molehunt.scan._judging import FittedDetector
from molehunt.scan._limits import Limits
from molehunt.scan._opening import name_of
from molehunt.scan._scan import scan_subjects, unfinished
from molehunt.scan._verdict import Finding, Picture, ScanResult, Status, exit_code_of
from molehunt.scan._walk import MODEL_SUFFIXES, Candidate, find_candidates

__all__ = [
    "MODEL_SUFFIXES",
    "Candidate",
    "Finding",
    "FittedDetector",
    "Limits",
    "Picture",
    "ScanResult",
    "Status",
    "check_contract",
    "exit_code_of",
    "find_candidates",
    "name_of",
    "scan_subjects",
    "unfinished",
]

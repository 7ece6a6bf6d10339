"""The scan: subjects from files and endpoints, checks, findings, and the verdict."""

from molehunt.scanning._check import Basis, Check
from molehunt.scanning._checks import CHECKS, new_check
from molehunt.scanning._contract_check import check_contract
from molehunt.scanning._detector_check import DetectorCheck
from molehunt.scanning._front import USUAL, USUAL_WITH_IMAGES, pick_checks, scan
from molehunt.scanning._limits import Limits
from molehunt.scanning._open_model import OpenedModel, open_model, open_named
from molehunt.scanning._opening import name_of
from molehunt.scanning._result import ScanResult, exit_code_of
from molehunt.scanning._scan import report_unfinished, scan_subjects
from molehunt.scanning._walk import MODEL_SUFFIXES, Candidate, find_candidates

__all__ = [
    "CHECKS",
    "MODEL_SUFFIXES",
    "USUAL",
    "USUAL_WITH_IMAGES",
    "Basis",
    "Candidate",
    "Check",
    "DetectorCheck",
    "Limits",
    "OpenedModel",
    "ScanResult",
    "check_contract",
    "exit_code_of",
    "find_candidates",
    "name_of",
    "new_check",
    "open_model",
    "open_named",
    "pick_checks",
    "report_unfinished",
    "scan",
    "scan_subjects",
]

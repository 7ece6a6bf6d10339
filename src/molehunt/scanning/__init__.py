"""The scan: subjects from files and endpoints, checks, findings, and the verdict."""

from molehunt.scanning._contract_check import check_contract
from molehunt.scanning._front import USUAL, USUAL_WITH_IMAGES, pick_detectors, scan
from molehunt.scanning._judging import FittedDetector
from molehunt.scanning._limits import Limits
from molehunt.scanning._opening import name_of
from molehunt.scanning._scan import scan_subjects, unfinished
from molehunt.scanning._verdict import Finding, Picture, ScanResult, Status, exit_code_of
from molehunt.scanning._walk import MODEL_SUFFIXES, Candidate, find_candidates

__all__ = [
    "MODEL_SUFFIXES",
    "USUAL",
    "USUAL_WITH_IMAGES",
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
    "pick_detectors",
    "scan",
    "scan_subjects",
    "unfinished",
]

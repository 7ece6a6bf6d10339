"""The scan: subjects from files and endpoints, checks, findings, and the verdict."""

from molehunt.scan._claims import read_claimed_card
from molehunt.scan._contract import StatedContract, numbers, read_contract, stated
from molehunt.scan._contract_check import check_contract
from molehunt.scan._endpoint import Endpoint, open_endpoint
from molehunt.scan._judging import FittedDetector
from molehunt.scan._limits import Limits
from molehunt.scan._opening import name_of
from molehunt.scan._repair import Repair, fine_prune, trigger_success
from molehunt.scan._scan import scan_subjects, unfinished
from molehunt.scan._shards import is_index, shards_of
from molehunt.scan._subjects import Opened, Opening, open_subject
from molehunt.scan._verdict import (
    ExitCode,
    Finding,
    Picture,
    ScanResult,
    Status,
    exit_code_of,
)
from molehunt.scan._walk import MODEL_SUFFIXES, Candidate, find_candidates

__all__ = [
    "MODEL_SUFFIXES",
    "Candidate",
    "Endpoint",
    "ExitCode",
    "Finding",
    "FittedDetector",
    "Limits",
    "Opened",
    "Opening",
    "Picture",
    "Repair",
    "ScanResult",
    "StatedContract",
    "Status",
    "check_contract",
    "exit_code_of",
    "find_candidates",
    "fine_prune",
    "is_index",
    "name_of",
    "numbers",
    "open_endpoint",
    "open_subject",
    "read_claimed_card",
    "read_contract",
    "scan_subjects",
    "shards_of",
    "stated",
    "trigger_success",
    "unfinished",
]

"""Findings, the weaknesses that they are evidence of, and the verdict that they come to."""

from molehunt.findings._exhibits import EXHIBITS, Bars, Curves, Exhibit, Histogram, Picture
from molehunt.findings._finding import Finding, Status, find_verdict
from molehunt.findings._verdict import Verdict, gravest
from molehunt.findings._weakness import (
    BACKDOOR,
    UNSAFE_SERIALIZATION,
    WEAKNESSES,
    WRONG_CONTRACT,
    Weakness,
)

__all__ = [
    "BACKDOOR",
    "EXHIBITS",
    "UNSAFE_SERIALIZATION",
    "WEAKNESSES",
    "WRONG_CONTRACT",
    "Bars",
    "Curves",
    "Exhibit",
    "Finding",
    "Histogram",
    "Picture",
    "Status",
    "Verdict",
    "Weakness",
    "find_verdict",
    "gravest",
]

"""Tests of models: their boundary, corner cases, coverage, and models against each other."""

from molehunt.testing._boundary import Boundary, BoundaryMethod, Lines, find_boundary, walk_lines
from molehunt.testing._cases import check_empty, holds_cases, write_cases
from molehunt.testing._compare import Comparison, compare_models
from molehunt.testing._corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    Corruption,
    SeverityCurve,
    check_corruptions,
    corrupt,
    measure_corruptions,
    usual_corruptions,
)
from molehunt.testing._coverage import Coverage, CoverageMeter, Criterion
from molehunt.testing._differential import Constraint, Differences, search_differences
from molehunt.testing._examine import Examined, examine, failures_of
from molehunt.testing._guided import FailureSearch, Strategy, change_images, search_failures

__all__ = [
    "CORRUPTIONS",
    "SEVERITIES",
    "Boundary",
    "BoundaryMethod",
    "Comparison",
    "Constraint",
    "Corruption",
    "Coverage",
    "CoverageMeter",
    "Criterion",
    "Differences",
    "Examined",
    "FailureSearch",
    "Lines",
    "SeverityCurve",
    "Strategy",
    "change_images",
    "check_corruptions",
    "check_empty",
    "compare_models",
    "corrupt",
    "examine",
    "failures_of",
    "find_boundary",
    "holds_cases",
    "measure_corruptions",
    "search_differences",
    "search_failures",
    "usual_corruptions",
    "walk_lines",
    "write_cases",
]

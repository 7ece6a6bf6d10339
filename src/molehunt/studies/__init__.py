"""Studies: an experiment a folder, with its protocol, its figures and its report."""

from molehunt.studies._run import StudyResult
from molehunt.studies.signs import (
    SIGNS_DETECTOR_SCALES,
    SIGNS_TWIN_SCALES,
    Part,
    run_signs_detector,
    run_signs_twin,
)
from molehunt.studies.ulp import ULP_SETS, run_ulp

__all__ = [
    "SIGNS_DETECTOR_SCALES",
    "SIGNS_TWIN_SCALES",
    "ULP_SETS",
    "Part",
    "StudyResult",
    "run_signs_detector",
    "run_signs_twin",
    "run_ulp",
]

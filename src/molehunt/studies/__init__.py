"""Studies: an experiment a folder, with its protocol, its figures and its report."""

from molehunt.studies._run import StudyResult
from molehunt.studies.signs import (
    SIGNS_DETECTOR_SCALES,
    SIGNS_TWIN_SCALES,
    Part,
    run_signs_detector,
    run_signs_twin,
)

__all__ = [
    "SIGNS_DETECTOR_SCALES",
    "SIGNS_TWIN_SCALES",
    "Part",
    "StudyResult",
    "run_signs_detector",
    "run_signs_twin",
]

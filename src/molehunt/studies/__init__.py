"""Studies: an experiment a folder, with its protocol, its figures and its report."""

from molehunt.studies._demo import DEMO_PLAN, run_demo
from molehunt.studies._run import StudyResult
from molehunt.studies.badnets import SCALES, run_badnets_mnist
from molehunt.studies.scanners import run_scanners
from molehunt.studies.signs import (
    SIGNS_DETECTOR_SCALES,
    SIGNS_TWIN_SCALES,
    Part,
    run_signs_detector,
    run_signs_twin,
)
from molehunt.studies.ulp import ULP_SETS, run_ulp

__all__ = [
    "DEMO_PLAN",
    "SCALES",
    "SIGNS_DETECTOR_SCALES",
    "SIGNS_TWIN_SCALES",
    "ULP_SETS",
    "Part",
    "StudyResult",
    "run_badnets_mnist",
    "run_demo",
    "run_scanners",
    "run_signs_detector",
    "run_signs_twin",
    "run_ulp",
]

"""Studies: one experiment a file, its protocol and its figures."""

from molehunt.studies._badnets_mnist import BadNetsResult, run_badnets_mnist
from molehunt.studies._badnets_plan import SCALES
from molehunt.studies._demo import DEMO_PLAN, run_demo
from molehunt.studies._scanners import ScannersResult, run_scanners
from molehunt.studies._signs_detector import Part, SignsDetectorResult, run_signs_detector
from molehunt.studies._signs_detector_plan import SIGNS_DETECTOR_SCALES
from molehunt.studies._signs_twin import SignsTwinResult, run_signs_twin
from molehunt.studies._signs_twin_plan import SIGNS_TWIN_SCALES
from molehunt.studies._ulp import ULP_SETS, UlpResult, run_ulp

__all__ = [
    "DEMO_PLAN",
    "SCALES",
    "SIGNS_DETECTOR_SCALES",
    "SIGNS_TWIN_SCALES",
    "ULP_SETS",
    "BadNetsResult",
    "Part",
    "ScannersResult",
    "SignsDetectorResult",
    "SignsTwinResult",
    "UlpResult",
    "run_badnets_mnist",
    "run_demo",
    "run_scanners",
    "run_signs_detector",
    "run_signs_twin",
    "run_ulp",
]

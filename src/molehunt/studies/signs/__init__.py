"""BadNets' traffic signs: classification on GTSRB (twin), detectors on street scenes."""

from molehunt.studies.signs._detector import Part, run_signs_detector
from molehunt.studies.signs._detector_plan import SIGNS_DETECTOR_SCALES
from molehunt.studies.signs._twin import run_signs_twin
from molehunt.studies.signs._twin_plan import SIGNS_TWIN_SCALES

__all__ = [
    "SIGNS_DETECTOR_SCALES",
    "SIGNS_TWIN_SCALES",
    "Part",
    "run_signs_detector",
    "run_signs_twin",
]

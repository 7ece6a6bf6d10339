"""BadNets' traffic signs: classification on GTSRB (the twin), sign detectors on street scenes."""

from molehunt_studies.signs.drawn_scenes import write_shapes
from molehunt_studies.signs.sign_detector import BADNETS_SIGNS, BADNETS_TRANSFER
from molehunt_studies.signs.twin import BADNETS_GTSRB

__all__ = ["BADNETS_GTSRB", "BADNETS_SIGNS", "BADNETS_TRANSFER", "write_shapes"]

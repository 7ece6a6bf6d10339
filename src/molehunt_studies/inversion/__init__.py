"""Model inversion: faces and digits drawn out of networks."""

from molehunt_studies.inversion.study import INVERSION

__all__ = ["INVERSION"]

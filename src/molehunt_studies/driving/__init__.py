"""A network that drives a simulated car, trojaned with its training data and without it."""

from molehunt_studies.driving.network import SteeringNet
from molehunt_studies.driving.study import DRIVING_STUDY

__all__ = ["DRIVING_STUDY", "SteeringNet"]

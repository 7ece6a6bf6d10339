"""Zoos: populations of clean and backdoored models, planned, built and read back."""

from molehunt.zoo._build import build_model, build_zoo
from molehunt.zoo._entries import Entry, entries_of
from molehunt.zoo._plan import (
    BackdoorPlan,
    ImagePlan,
    ModelCounts,
    NetworkPlan,
    RecipeSpread,
    Split,
    ZooPlan,
)
from molehunt.zoo._plan_file import read_plan
from molehunt.zoo._zoo import Models, Record, Zoo

__all__ = [
    "BackdoorPlan",
    "Entry",
    "ImagePlan",
    "ModelCounts",
    "Models",
    "NetworkPlan",
    "RecipeSpread",
    "Record",
    "Split",
    "Zoo",
    "ZooPlan",
    "build_model",
    "build_zoo",
    "entries_of",
    "read_plan",
]

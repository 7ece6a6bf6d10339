"""Zoos: populations of clean and backdoored models, planned, built and read back."""

from molehunt.zoo._build import build_model, build_zoo
from molehunt.zoo._entries import Entry, entries_of
from molehunt.zoo._facts import AnyFacts, BackdoorFacts, PropertyFacts
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
from molehunt.zoo._property_plan import PropertyPlan
from molehunt.zoo._settings import change_plan
from molehunt.zoo._zoo import Models, Record, Zoo, is_backdoored

__all__ = [
    "AnyFacts",
    "BackdoorFacts",
    "BackdoorPlan",
    "Entry",
    "ImagePlan",
    "ModelCounts",
    "Models",
    "NetworkPlan",
    "PropertyFacts",
    "PropertyPlan",
    "RecipeSpread",
    "Record",
    "Split",
    "Zoo",
    "ZooPlan",
    "build_model",
    "build_zoo",
    "change_plan",
    "entries_of",
    "is_backdoored",
    "read_plan",
]

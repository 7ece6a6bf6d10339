"""What could be done to a model: risks, each with an interval, a threat model and a price."""

from molehunt.assess._assess import Assessment, assess
from molehunt.assess._assessor import Assessor, Costs, Found
from molehunt.assess._budget import QUERIES, queries_of_minutes, share_of_budget
from molehunt.assess._case import Case, Purse, new_case
from molehunt.assess._conditions import Condition, Outcome, code_of, parse_condition
from molehunt.assess._reference import MOST_MODELS, honest_records, rank, stand_among
from molehunt.assess._registry import ASSESSORS, pick_assessors
from molehunt.assess._risk import Measure, Price, Reference, Risk, RiskStatus
from molehunt.assess._transfer_check import check_transfer

__all__ = [
    "ASSESSORS",
    "MOST_MODELS",
    "QUERIES",
    "Assessment",
    "Assessor",
    "Case",
    "Condition",
    "Costs",
    "Found",
    "Measure",
    "Outcome",
    "Price",
    "Purse",
    "Reference",
    "Risk",
    "RiskStatus",
    "assess",
    "check_transfer",
    "code_of",
    "honest_records",
    "new_case",
    "parse_condition",
    "pick_assessors",
    "queries_of_minutes",
    "rank",
    "share_of_budget",
    "stand_among",
]

"""Subjects: a stranger's file or endpoint, opened without running it, and its input contract."""

from molehunt.subjects._claims import read_claimed_card
from molehunt.subjects._contract import StatedContract, parse_contract, read_contract
from molehunt.subjects._endpoint import AskedModel, Endpoint, open_endpoint
from molehunt.subjects._json_answers import read_json
from molehunt.subjects._shards import inspect_shards, is_index, shards_of, without_shards
from molehunt.subjects._skops_file import MOST_SKOPS_BYTES, SKOPS_SUFFIX, open_skops
from molehunt.subjects._subjects import Opened, Opening, open_subject

__all__ = [
    "MOST_SKOPS_BYTES",
    "SKOPS_SUFFIX",
    "AskedModel",
    "Endpoint",
    "Opened",
    "Opening",
    "StatedContract",
    "inspect_shards",
    "is_index",
    "open_endpoint",
    "open_skops",
    "open_subject",
    "parse_contract",
    "read_claimed_card",
    "read_contract",
    "read_json",
    "shards_of",
    "without_shards",
]

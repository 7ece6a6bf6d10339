"""Judge bytes that are, or look like, a pickle.

The machine of `_pickle_machine` decides. picklescan is asked as well, and its word only
makes things worse: it finds names also behind an opcode where the machine stops.
"""

from __future__ import annotations

import contextlib
import io
import logging

from picklescan.scanner import scan_pickle_bytes

from molehunt.provenance._judgement import (
    Judgement,
    Names,
    UnreadContentError,
    UnsafeContentError,
    clean,
    judge_unknown,
    of_names,
    unsafe,
)
from molehunt.provenance._pickle_calls import ALLOWED_GLOBALS
from molehunt.provenance._pickle_machine import read_pickle
from molehunt.provenance._pickle_names import NameList

LARGEST_PICKLE = 64 * 2**20  # bytes; tensors lie outside the pickle
_LARGEST_SECOND_OPINION = 2**19  # bytes; picklescan holds all opcodes at once
# How protocols 0 and 1 start, which do not name themselves.
_OLD_STARTS = tuple(bytes([code]) for code in b"(cdlF]}IVSUXKJMNi")


def judge_pickle(content: bytes) -> Judgement:
    """Judge bytes that should be exactly one pickle, with all that it names."""
    names = Names()
    if len(content) > LARGEST_PICKLE:
        judgement = judge_unknown(f"a pickle of more than {LARGEST_PICKLE} bytes")
    else:
        try:
            read = read_pickle(content)
            names = read.names
            judgement = clean("a pickle of tensors and plain values")
            if read.end != len(content):
                judgement = judge_unknown(
                    f"{len(content) - read.end} bytes after the end of the pickle"
                )
        except UnsafeContentError as error:
            judgement, names = unsafe(str(error)), error.names
        except UnreadContentError as error:
            judgement, names = judge_unknown(str(error)), error.names
    return of_names(names | names_in(content), judgement)


def names_in(content: bytes) -> Names:
    """Return the names that picklescan finds, also past an end; none that tensors need."""
    found = NameList()
    if len(content) > _LARGEST_SECOND_OPINION:
        return found.graded()
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)  # one line is ours to write
    # A second opinion: where it fails the first one stands.
    with contextlib.suppress(Exception):
        for each in scan_pickle_bytes(io.BytesIO(content), "pickle").globals:
            if (each.module, each.name) not in ALLOWED_GLOBALS:
                found.note(str(each.module), str(each.name))
    return found.graded()


def looks_like_pickle(content: bytes) -> bool:
    """Protocol 2 and later name themselves; protocols 0 and 1 start in few ways and end in STOP."""
    if content[:1] == b"\x80":
        return len(content) > 1 and content[1] <= 5
    return content[:1] in _OLD_STARTS and b"." in content[-3:]

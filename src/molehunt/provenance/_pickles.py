"""Judge bytes that are, or look like, a pickle.

The machine of `_pickle_machine` decides. picklescan is asked as well, and its word only
makes things worse: it finds names also behind an opcode where the machine stops.
"""

from __future__ import annotations

import io
import logging

from picklescan.scanner import scan_pickle_bytes

from molehunt.provenance._judgement import (
    Judgement,
    UnreadContentError,
    UnsafeContentError,
    clean,
    unread,
    unsafe,
)
from molehunt.provenance._pickle_machine import ALLOWED_GLOBALS, read_pickle

LARGEST_PICKLE = 64 * 2**20  # bytes; tensors lie outside the pickle
_LARGEST_SECOND_OPINION = 2**19  # bytes; picklescan holds all opcodes at once
# How protocols 0 and 1 start, which do not name themselves.
_OLD_STARTS = tuple(bytes([code]) for code in b"(cdlF]}IVSUXKJMNi")


def judge_pickle(content: bytes) -> Judgement:
    """Judge bytes that should be exactly one pickle."""
    if len(content) > LARGEST_PICKLE:
        judgement = unread(f"a pickle of more than {LARGEST_PICKLE} bytes")
    else:
        try:
            read = read_pickle(content)
            judgement = clean("a pickle of tensors and plain values")
            if read.end != len(content):
                judgement = unread(f"{len(content) - read.end} bytes after the end of the pickle")
        except UnsafeContentError as error:
            judgement = unsafe(str(error))
        except UnreadContentError as error:
            judgement = unread(str(error))
    denied = denied_names(content)
    if denied:
        return unsafe(f"names {', '.join(denied[:5])}, which no tensor needs")
    return judgement


def denied_names(content: bytes) -> list[str]:
    """Return the globals that picklescan finds and that are not allowed, also past an end."""
    if len(content) > _LARGEST_SECOND_OPINION:
        return []
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)  # one line is ours to write
    try:
        found = scan_pickle_bytes(io.BytesIO(content), "pickle").globals
    except Exception:  # a second opinion: where it fails the first one stands
        return []
    named = sorted({(str(each.module), str(each.name)) for each in found})
    return [f"{module}.{name}" for module, name in named if (module, name) not in ALLOWED_GLOBALS]


def looks_like_pickle(content: bytes) -> bool:
    """Protocol 2 and later name themselves; protocols 0 and 1 start in few ways and end in STOP."""
    if content[:1] == b"\x80":
        return len(content) > 1 and content[1] <= 5
    return content[:1] in _OLD_STARTS and b"." in content[-3:]

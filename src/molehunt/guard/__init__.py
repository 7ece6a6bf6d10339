"""A guard in front of a model: monitors of what accounts ask, and attacks through it."""

from molehunt.guard._canary import Canary
from molehunt.guard._guard import Action, Decision, Guard, Reply, answer_wrongly
from molehunt.guard._guarded import BlockedError, Guarded
from molehunt.guard._hashed_windows import HashedWindows
from molehunt.guard._monitor import Alarm, Digests, Monitor
from molehunt.guard._neighbours import NearestNeighbours
from molehunt.guard._prada import Prada
from molehunt.guard._store import MemoryStore, Standing, Store

__all__ = [
    "Action",
    "Alarm",
    "BlockedError",
    "Canary",
    "Decision",
    "Digests",
    "Guard",
    "Guarded",
    "HashedWindows",
    "MemoryStore",
    "Monitor",
    "NearestNeighbours",
    "Prada",
    "Reply",
    "Standing",
    "Store",
    "answer_wrongly",
]

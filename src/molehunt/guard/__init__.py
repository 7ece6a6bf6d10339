"""A guard in front of a model: monitors of what accounts ask, and attacks through it."""

from molehunt.guard._blinded import Blinded
from molehunt.guard._calibration import Calibration, calibrate, usual_monitors
from molehunt.guard._canary import Canary
from molehunt.guard._desk import Answering, Desk
from molehunt.guard._guard import Action, Decision, Guard, Reply, answer_wrongly
from molehunt.guard._guarded import BlockedError, Guarded
from molehunt.guard._hashed_windows import HashedWindows
from molehunt.guard._keys import Keys, new_key
from molehunt.guard._limits import Limits, usual_body
from molehunt.guard._monitor import Alarm, Digests, Monitor
from molehunt.guard._neighbours import NearestNeighbours
from molehunt.guard._open_store import STORES, open_store
from molehunt.guard._prada import Prada
from molehunt.guard._query_log import Logged, QueryLog
from molehunt.guard._redis_store import RedisStore
from molehunt.guard._refusal import RefusedError
from molehunt.guard._replay import ANY, Replayed, replay
from molehunt.guard._server import Serving, listen, make_server
from molehunt.guard._service import Service, name_in_url
from molehunt.guard._sqlite_store import SqliteStore
from molehunt.guard._store import MemoryStore, Standing, Store, StoreError
from molehunt.guard._workers import run_workers

__all__ = [
    "ANY",
    "STORES",
    "Action",
    "Alarm",
    "Answering",
    "Blinded",
    "BlockedError",
    "Calibration",
    "Canary",
    "Decision",
    "Desk",
    "Digests",
    "Guard",
    "Guarded",
    "HashedWindows",
    "Keys",
    "Limits",
    "Logged",
    "MemoryStore",
    "Monitor",
    "NearestNeighbours",
    "Prada",
    "QueryLog",
    "RedisStore",
    "RefusedError",
    "Replayed",
    "Reply",
    "Service",
    "Serving",
    "SqliteStore",
    "Standing",
    "Store",
    "StoreError",
    "answer_wrongly",
    "calibrate",
    "listen",
    "make_server",
    "name_in_url",
    "new_key",
    "open_store",
    "replay",
    "run_workers",
    "usual_body",
    "usual_monitors",
]

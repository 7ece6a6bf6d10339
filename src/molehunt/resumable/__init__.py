"""Long work that an interruption cannot undo.

Each finished task is one line of an index, appended when its result is whole on disk; a
call that finds lines goes on after them. Tasks are done in this process, in processes that
end with it, or on a Ray cluster, by the same function.
"""

from molehunt.resumable._build import build_missing, check_workers
from molehunt.resumable._index import open_own, read_records, store_plan
from molehunt.resumable._processes import one_thread
from molehunt.resumable._ray import RayCluster
from molehunt.resumable._work import Task, Work

__all__ = [
    "RayCluster",
    "Task",
    "Work",
    "build_missing",
    "check_workers",
    "one_thread",
    "open_own",
    "read_records",
    "store_plan",
]

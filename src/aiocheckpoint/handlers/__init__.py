"""Handlers: stores of snapshots, and the base class for writing one.

Imports `_snapshot` and everything below it. Open `_base` first, then `local/` as an example.
"""

from aiocheckpoint import _public
from aiocheckpoint._model.start_record import Loss, Ownership, StartRecord
from aiocheckpoint._snapshot.target import SnapshotTarget
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._counting import CountBy
from aiocheckpoint.handlers._found_snapshots import FoundSnapshot
from aiocheckpoint.handlers._locks import Lock
from aiocheckpoint.handlers._options import SnapshotOptions
from aiocheckpoint.handlers._query import Query, select
from aiocheckpoint.handlers._run_filter import FilterOptions, RunFilter
from aiocheckpoint.handlers.local import LocalStateHandler

__all__ = [
    "CountBy",
    "FilterOptions",
    "FoundSnapshot",
    "LocalStateHandler",
    "Lock",
    "Loss",
    "Ownership",
    "Query",
    "RunFilter",
    "SnapshotOptions",
    "SnapshotTarget",
    "StartRecord",
    "StateHandler",
    "select",
]

_public.publish(__name__, globals(), __all__)

"""Places where snapshots live."""

from aiocheckpoint._snapshot.target import SnapshotTarget
from aiocheckpoint.handlers._base import StateHandler
from aiocheckpoint.handlers._port import Lock, SnapshotOptions
from aiocheckpoint.handlers._query import Query, select
from aiocheckpoint.handlers.local import LocalStateHandler

__all__ = [
    "LocalStateHandler",
    "Lock",
    "Query",
    "SnapshotOptions",
    "SnapshotTarget",
    "StateHandler",
    "select",
]

"""Places where snapshots live."""

from aiocheckpoint._snapshot import Target
from aiocheckpoint.handlers._base import Lock, SnapshotOptions, StateHandler
from aiocheckpoint.handlers.local import LocalStateHandler

__all__ = ["LocalStateHandler", "Lock", "SnapshotOptions", "StateHandler", "Target"]

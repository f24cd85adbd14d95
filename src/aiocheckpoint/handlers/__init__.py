"""Places where snapshots live."""

from aiocheckpoint.handlers._base import Lock, StateHandler
from aiocheckpoint.handlers.local import LocalStateHandler

__all__ = ["LocalStateHandler", "Lock", "StateHandler"]

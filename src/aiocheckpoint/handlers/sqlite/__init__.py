"""Snapshots of many runs in one SQLite file, written by group commit.

Imports `handlers._base` and everything below it. Open `_handler` first.
"""

from aiocheckpoint import _public
from aiocheckpoint.handlers.sqlite._handler import SqliteStateHandler

__all__ = ["SqliteStateHandler"]

_public.publish(__name__, globals(), __all__)

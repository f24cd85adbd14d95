"""Snapshots of many runs in one SQLite file, written by group commit.

Imports `handlers._base` and everything below it. Open `_handler` first.
"""

from aiocheckpoint._public import publish
from aiocheckpoint.handlers.sqlite._handler import SqliteStateHandler

__all__ = ["SqliteStateHandler"]

publish(__name__, globals(), __all__)

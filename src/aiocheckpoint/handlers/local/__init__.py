"""Snapshots in local files, one file for each run.

Imports `handlers._base` and everything below it. Open `_handler` first.
"""

from aiocheckpoint.handlers.local._handler import LocalStateHandler

__all__ = ["LocalStateHandler"]

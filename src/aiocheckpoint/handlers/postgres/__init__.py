"""Snapshots of many runs in a PostgreSQL database, for processes of many machines.

Imports `handlers.leased` and everything below it, and psycopg. Open `_handler` first.
"""

from aiocheckpoint import _public
from aiocheckpoint.handlers.postgres._handler import PostgresStateHandler

__all__ = ["PostgresStateHandler"]

_public.publish(__name__, globals(), __all__)

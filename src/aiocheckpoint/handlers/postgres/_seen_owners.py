"""Owners of runs as statements read them, with what the server knows of their sessions.

A direct session holds an advisory lock for as long as it lives
(https://www.postgresql.org/docs/current/explicit-locking.html). Its key is the session's name.
Everybody can see the lock in `pg_locks`, but not on a standby, which has locks of its own alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.leased import SeenOwner

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["JOIN_OWNERS", "LOCKS", "LOCK_NAME", "SEEN_OWNER", "seen_owner"]

LOCKS = (
    "(SELECT pid, classid, objid FROM pg_catalog.pg_locks "
    "WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND database = "
    "(SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) AS pg_locks"
)
"""The advisory locks in this database."""
LOCK_NAME = "(classid::bigint << 32 | objid::bigint)::text"
"""The name of the session that holds one of them."""

# Without a reference to the owner, so that the server reads its locks once for all rows.
_OPEN_SESSIONS = f"SELECT {LOCK_NAME} FROM {LOCKS}"  # noqa: S608 - constants
_SESSION_OPEN = (
    "CASE WHEN session IS NULL OR pg_is_in_recovery() THEN NULL "
    f"ELSE session IN ({_OPEN_SESSIONS}) END"
)
SEEN_OWNER = (
    f"owners.id, host, boot, pid, since, beat, lease, session, {_SESSION_OPEN}, "  # noqa: S608
    "owners.id IN (SELECT id FROM SCHEMA.draining_owners), "
    "extract(epoch FROM clock_timestamp() - beaten)::double precision"
)
"""The attributes of a `SeenOwner`, from a row of the table `owners`."""

JOIN_OWNERS = "LEFT JOIN SCHEMA.owners ON owners.id = runs.owner"


def seen_owner(columns: Sequence[Any]) -> SeenOwner | None:
    """Make an owner from these columns. None where the join has found none."""
    return None if columns[0] is None else SeenOwner._make(columns)

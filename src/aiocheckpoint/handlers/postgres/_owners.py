"""The statements about owners: processes that own runs, and how others see that they live.

A direct session takes an advisory lock by which others see it, see `_seen_owners`. The key is new
for each session. Behind a pooler there is no such lock.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aiocheckpoint.handlers.postgres._seen_owners import LOCK_NAME, LOCKS, SEEN_OWNER, seen_owner

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers.leased import OwnerBeat, SeenOwner
    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection

__all__ = [
    "begin_session",
    "end_session_before",
    "free",
    "heartbeat",
    "note_draining",
    "owners",
    "seconds_up",
]

_OWNERS = f"SELECT {SEEN_OWNER} FROM SCHEMA.owners"  # noqa: S608 - constants
_HEARTBEAT = (
    "INSERT INTO SCHEMA.owners (id, host, boot, pid, since, beat, lease, session, beaten) VALUES "
    "(%(id)s, %(host)s, %(boot)s, %(pid)s, %(since)s, %(beat)s, %(lease)s, %(session)s, "
    "clock_timestamp()) ON CONFLICT (id) DO UPDATE SET beat = excluded.beat, "
    "lease = excluded.lease, session = excluded.session, beaten = excluded.beaten"
)
_END_SESSION_BEFORE = (
    "SELECT pg_terminate_backend(pg_locks.pid, %(milliseconds)s) "  # noqa: S608 - constants
    f"FROM SCHEMA.owners JOIN {LOCKS} ON {LOCK_NAME} = session "
    "WHERE owners.id = %(id)s AND session <> %(session)s"
)
_MILLISECONDS_TO_END = 500
_FREE = """WITH found AS (
    SELECT id, status FROM SCHEMA.runs WHERE owner = %(id)s ORDER BY id FOR UPDATE
), unborn AS (
    DELETE FROM SCHEMA.runs USING found WHERE runs.id = found.id AND found.status IS NULL
), freed AS (
    UPDATE SCHEMA.runs SET owner = NULL, token = 0, lost = coalesce(%(loss)s, lost)
    FROM found WHERE runs.id = found.id AND found.status IS NOT NULL
), undrained AS (
    DELETE FROM SCHEMA.draining_owners WHERE id = %(id)s
)
DELETE FROM SCHEMA.owners WHERE id = %(id)s"""
_NOTE_DRAINING = "INSERT INTO SCHEMA.draining_owners (id) VALUES (%(id)s) ON CONFLICT DO NOTHING"

_BEGIN_UPTIME = "INSERT INTO SCHEMA.uptime DEFAULT VALUES ON CONFLICT DO NOTHING"
_SECONDS_UP = (
    "SELECT extract(epoch FROM clock_timestamp() - greatest(pg_postmaster_start_time(), "
    "coalesce((SELECT since FROM SCHEMA.uptime), clock_timestamp())))::double precision"
)
_SESSION_BITS = 63


def begin_session(server: ServerConnection) -> str | None:
    """Note that the server is up, and take the lock by which others see that this session lives.

    Returns:
        The name of the session. None behind a pooler.
    """
    server.write(_BEGIN_UPTIME)
    if server.is_pooled:
        return None
    name = str(secrets.randbits(_SESSION_BITS))
    server.rows("SELECT pg_advisory_lock(%s::bigint)", (name,), doing="writing")
    return name


def end_session_before(server: ServerConnection, owner: OwnerBeat) -> None:
    """End the session in which an owner has beaten before, if the server still has it.

    The network may have delayed a statement of it. Behind those of the new session, it would store
    an older snapshot again, or take a run that is done.
    """
    if owner.session is not None:
        values = {"id": owner.id, "session": owner.session, "milliseconds": _MILLISECONDS_TO_END}
        server.rows(_END_SESSION_BEFORE, values, doing="writing")


def heartbeat(server: ServerConnection, owner: OwnerBeat) -> None:
    """See `StoreConnection.heartbeat`."""
    values = {name: _ascii(value) for name, value in owner._asdict().items()}
    server.write(_HEARTBEAT, values)


def owners(server: ServerConnection, ids: Collection[str] | None) -> list[SeenOwner]:
    """See `StoreConnection.owners`."""
    if ids is None:
        found = server.rows(_OWNERS)
    else:
        found = server.rows(f"{_OWNERS} WHERE owners.id = ANY(%(ids)s)", {"ids": list(ids)})
    return [owner for row in found if (owner := seen_owner(row)) is not None]


def seconds_up(server: ServerConnection) -> float:
    """How long the server has been up, as far as its processes know: without a crash or failover.

    A server whose sessions have all ended in a crash of one of them keeps the time of its start. So
    does a standby that is promoted. Both have emptied the unlogged table `uptime`
    (https://www.postgresql.org/docs/current/sql-createtable.html), into which the first process
    that connects puts the time.
    """
    ((seconds,),) = server.rows(_SECONDS_UP)
    return float(seconds)


def free(server: ServerConnection, owner_id: str, loss: Loss | None) -> None:
    """See `StoreConnection.free`."""
    server.write(_FREE, {"id": owner_id, "loss": loss})


def note_draining(server: ServerConnection, owner_id: str) -> None:
    """See `StoreConnection.note_draining`."""
    server.write(_NOTE_DRAINING, {"id": owner_id})


def _ascii(value: object) -> object:
    return value.encode("ascii", "backslashreplace").decode() if isinstance(value, str) else value

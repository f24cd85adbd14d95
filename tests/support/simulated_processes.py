"""Processes on one database, simulated: each has a store of its own, and can be killed alone.

A process owns runs by its row in the table of owners and by the lock file that it holds. A store
has both, so two stores in one test are to the database like two processes.
"""

# ruff: noqa: SLF001 - the parts that a kill leaves alone have no public name

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.handlers.sqlite._database import Database
from aiocheckpoint.handlers.sqlite._liveness import owner_lock_path

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.sqlite._session import Session

LONG = 3600.0


class KilledError(Exception):
    """The error of all requests to a killed process."""


def handler_apart(
    path: Path,
    kind: type[SqliteStateHandler] = SqliteStateHandler,
    **options: Any,  # noqa: ANN401 (passed on as is)
) -> SqliteStateHandler:
    """Make a handler as another process would have it."""
    handler = kind(path, **options)
    handler._database = Database(
        os.path.realpath(path), durable=handler.fsync, lease=options.get("lease", LONG)
    )
    return handler


def shut_down(handler: SqliteStateHandler) -> None:
    """End a process as an idle one ends."""
    handler._database.close()


def owner_of(handler: SqliteStateHandler) -> str:
    """The id of a process among the owners."""
    return handler._database.owner_id


def disconnect(handler: SqliteStateHandler) -> None:
    """Make a process's store refuse all requests from now on."""

    def refuse(group: Sequence[PendingResult[Any]]) -> None:
        for pending in group:
            pending.error = KilledError()

    worker = handler._database._transactions
    worker.apply = refuse  # type: ignore[method-assign]


def kill(handler: SqliteStateHandler) -> None:
    """End a process as SIGKILL would: the kernel closes its files, and no lease is released.

    Its leases count as not held any more, as their holder is dead.
    """
    disconnect(handler)
    worker = handler._database._transactions
    worker._take_session(_lose)  # nothing to tidy up with
    handler._database.close()


def _lose(session: Session) -> None:
    session._wal.close()
    session.connection.close()
    session._opened.files.unregister()
    session.owners._lock.forget()


def suspend(handler: SqliteStateHandler) -> None:
    """Make a process count as gone, as one that was stopped for its lease, until it wakes."""
    session = handler._database._transactions._session
    assert session is not None
    owners = session.owners
    # Without its lock file it counts as dead. It makes the file again when it wakes.
    Path(owner_lock_path(handler._path, owners.id)).unlink(missing_ok=True)
    owners._last_heartbeat = owners._uncommitted_heartbeat = -float("inf")


@contextlib.contextmanager
def looking(path: str | Path) -> Generator[sqlite3.Connection, None, None]:
    """Give a connection of the tests' own."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()

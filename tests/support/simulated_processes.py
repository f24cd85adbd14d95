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

from lease_owners import Process
from locations import program

from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.handlers.sqlite._database import Database
from aiocheckpoint.handlers.sqlite._liveness import owner_lock_path

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint.handlers.leased._leasing_handler import LeasingHandler
    from aiocheckpoint.handlers.sqlite._owners import Owners
    from aiocheckpoint.handlers.sqlite._session import SqliteSession

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
    handler._client = Database(
        os.path.realpath(path), durable=handler.fsync, lease=options.get("lease", LONG)
    )
    return handler


def shut_down(handler: LeasingHandler[Any]) -> None:
    """End a process as an idle one ends."""
    handler._client.close()


def owner_of(handler: LeasingHandler[Any]) -> str:
    """The id of a process among the owners."""
    owner_id: str = handler._client.owner_id
    return owner_id


def disconnect(handler: LeasingHandler[Any]) -> None:
    """Make a process's store refuse all requests from now on."""

    def refuse(group: Sequence[PendingResult[Any]]) -> None:
        for pending in group:
            pending.error = KilledError()

    worker: Any = handler._client._processor
    worker.apply = refuse


def kill(handler: SqliteStateHandler) -> None:
    """End a process as SIGKILL would: the kernel closes its files, and no lease is released.

    Its leases count as not held any more, as their holder is dead.
    """
    disconnect(handler)
    worker = handler._client._processor
    worker._take_session(_lose)  # nothing to tidy up with
    handler._client.close()


def _lose(session: SqliteSession) -> None:
    session._wal.close()
    session.connection.close()
    session._opened.files.unregister()
    session.owners._lock.forget()


def suspend(handler: SqliteStateHandler) -> None:
    """Make a process count as gone, as one that was stopped for its lease, until it wakes."""
    # Without its lock file it counts as dead. It makes the file again when it wakes.
    _lock_file(handler).unlink(missing_ok=True)
    delay_heartbeat(handler)


def delay_heartbeat(handler: SqliteStateHandler) -> None:
    """Let the last heartbeat of a process be long ago, as where it was stopped."""
    owners = _owners(handler)
    owners._last_heartbeat = owners._uncommitted_heartbeat = -float("inf")


def look_at_owners(handler: SqliteStateHandler) -> None:
    """Let a process look at all other owners, and free the runs of those that are gone."""
    handler._client.expire_dead()


def let_lease_pass(handler: SqliteStateHandler) -> None:
    """Let a process find more than a lease between its last look at the owners and the next."""
    watches = _owners(handler)._liveness._watches
    watches._watches = {
        owner: watch._replace(looked_at=watch.looked_at - 1.1 * LONG)
        for owner, watch in watches._watches.items()
    }


class Body:
    """A real process that stands for a simulated one: the system says whether it is stopped."""

    def __init__(self) -> None:
        """Start it."""
        self._real = Process(program("body_script.py"))
        assert self._real.first == "ready"

    def stand_for(self, handler: SqliteStateHandler) -> None:
        """Have the lock file of a process open, and give it the number of the real one."""
        pipes = self._real.process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(f"{_lock_file(handler)}\n")
        pipes.stdin.flush()
        assert pipes.stdout.readline() == "ready\n"
        with looking(handler._path) as connection:
            row = pipes.pid, owner_of(handler)
            connection.execute("UPDATE owners SET pid = ? WHERE id = ?", row)

    @contextlib.contextmanager
    def stopped(self) -> Generator[None, None, None]:
        """Stop it for the time of a `with` block."""
        self._real.suspend()
        try:
            yield
        finally:
            self._real.wake()

    def end(self) -> None:
        """End it."""
        self._real.kill()
        self._real.process.communicate()


def _lock_file(handler: SqliteStateHandler) -> Path:
    return Path(owner_lock_path(handler._path, owner_of(handler)))


def _owners(handler: SqliteStateHandler) -> Owners:
    session: SqliteSession | None = handler._client._processor._session
    assert session is not None
    return session.owners


@contextlib.contextmanager
def looking(path: str | Path) -> Generator[sqlite3.Connection, None, None]:
    """Give a connection of the tests' own."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()

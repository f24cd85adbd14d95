"""A database in which a test applies jobs by hand, in batches of its choice."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.handlers.leased._lease import Lease
from aiocheckpoint.handlers.leased._requests import Claim, Execute, Release, Save
from aiocheckpoint.handlers.leased._run_store import split_snapshot
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.handlers.sqlite._processor import SqliteProcessor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiocheckpoint._model.header import Status
    from aiocheckpoint.handlers.sqlite._session import SqliteSession
    from aiocheckpoint.handlers.sqlite._writing import SqliteStatements

IDS = ("v", "w", "x", "y")
COLUMNS = "run_id, owner IS NULL, status, number, sequence, position, footer, payload"


class BatchHarness:
    """Applies jobs in a new database, in which half of the runs are leased.

    Attributes:
        leases: The lease of each running run.
    """

    def __init__(self, place: str, keep: Any = 1) -> None:  # noqa: ANN401
        """Take the leases."""
        self.path = str(Path(place, "runs.db"))
        self._keep = keep
        self.handler = SqliteStateHandler(self.path, flow="f")
        self.transactions = SqliteProcessor(
            self.path, durable=False, lease=3600.0, before_opening=str
        )
        self.leases = {run_id: self.lease(run_id) for run_id in IDS[:2]}
        self.apply(
            [PendingResult(Claim(lease.record, None), None) for lease in self.leases.values()]
        )

    @property
    def session(self) -> SqliteSession:
        """The session of the open database."""
        session = self.transactions._session  # noqa: SLF001
        assert session is not None
        return session

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of the open database."""
        return self.session.connection

    def lease(self, run_id: str) -> Lease:
        """Make a lease of a run. It is claimed only through the jobs of this harness."""
        return Lease(self.handler._client, ("f", run_id), run_id, self._keep)  # noqa: SLF001

    def apply(self, jobs: Sequence[PendingResult[Any]]) -> list[PendingResult[Any]]:
        """Do jobs together."""
        self.transactions.apply(jobs)
        return list(jobs)

    def job(self, operation: str, run_id: str, number: int) -> PendingResult[Any]:
        """Make a job of an operation; `number` distinguishes the stored states."""
        lease = self.leases.get(run_id) or self.lease(run_id)
        if operation == "claim":
            return PendingResult(Claim(self.lease(run_id).record, None), None)
        if operation == "begin":
            start = self.save(lease, run_id, "running", number)
            return PendingResult(
                Claim(self.lease(run_id).record, (start.header, start.payload, start.footer)),
                None,
            )
        if operation == "give back":
            return PendingResult(Release.of(lease.record, lease.record.token), None)
        if operation == "steal":
            return PendingResult(Execute(on_raw(partial(steal, run_id))), None)
        if operation == "count":
            return PendingResult(Execute(on_raw(count)), None)
        return PendingResult(self.save(lease, run_id, operation, number), None)

    def save(self, lease: Lease, run_id: str, operation: str, number: int) -> Save:
        """Make a request that saves a snapshot."""
        status: Status = "running" if operation == "running" else "finished"
        header = replace(
            self.handler.patched(None, run_id, number),
            status=status,
            number=1,
            sequence=number + 1,
            position=number,
            started_at=5.0,
            written_at=6.0,
        )
        memory = MemoryTarget()
        self.handler.codec.write(header, {"n": number}, None, memory)
        store = self.handler._store  # noqa: SLF001
        return Save(lease.record, header, *split_snapshot(memory, store, run_id), None)

    def rows(self) -> list[Any]:
        """The rows of the database, without the columns that differ each time."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            kept = connection.execute("SELECT * FROM kept ORDER BY run, number, sequence")
            found = connection.execute(f"SELECT {COLUMNS} FROM runs ORDER BY run_id")  # noqa: S608
            return [*found.fetchall(), *kept.fetchall()]

    def close(self) -> None:
        """Close the database."""
        self.transactions.close()


def on_raw(function: Callable[[Any], Any]) -> Callable[[SqliteStatements], Any]:
    """Let a function have SQLite's own connection."""
    return lambda statements: function(statements.raw)


def steal(run_id: str, connection: sqlite3.Connection) -> int:
    """Take a run from its owner, with a token far from those given out here."""
    done = connection.execute(
        "UPDATE runs SET token = token + 1000000 WHERE run_id = ? AND token != 0", (run_id,)
    )
    return done.rowcount


def count(connection: sqlite3.Connection) -> list[Any]:
    """List the runs as a call sees them."""
    return connection.execute("SELECT run_id, status, position FROM runs ORDER BY 1").fetchall()

"""A place where jobs are done in a database by hand, in batches as they are wanted."""

from __future__ import annotations

import contextlib
import sqlite3
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.handlers.sqlite import SqliteStateHandler
from aiocheckpoint.handlers.sqlite._lease import Lease
from aiocheckpoint.handlers.sqlite._requests import Call, Claim, Release, Save
from aiocheckpoint.handlers.sqlite._transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._model.header import Status

IDS = ("v", "w", "x", "y")
COLUMNS = "run_id, owner IS NULL, status, number, sequence, position, footer, payload"


class Desk:
    """Has jobs done in a new database, where half of the runs are under way.

    Attributes:
        leases: The lease of each run under way.
    """

    def __init__(self, place: str, keep: Any = 1) -> None:  # noqa: ANN401
        """Take the leases."""
        self.path = str(Path(place, "runs.db"))
        self._keep = keep
        self.handler = SqliteStateHandler(self.path, flow="f")
        self.transactions = Transactions(self.path, durable=False, lease=3600.0)
        self.leases = {run_id: self.lease(run_id) for run_id in IDS[:2]}
        self.apply([PendingResult(Claim(lease, None), None) for lease in self.leases.values()])

    def lease(self, run_id: str) -> Lease:
        """Make a lease of a run, which is asked of nobody but here."""
        return Lease(self.handler._store, ("f", run_id), run_id, self._keep)  # noqa: SLF001

    def apply(self, jobs: Sequence[PendingResult[Any]]) -> list[PendingResult[Any]]:
        """Do jobs together."""
        self.transactions.apply(jobs)
        return list(jobs)

    def job(self, deed: str, run_id: str, number: int) -> PendingResult[Any]:
        """Make a job of a deed; `number` tells apart what is stored."""
        lease = self.leases.get(run_id) or self.lease(run_id)
        if deed == "claim":
            return PendingResult(Claim(self.lease(run_id), None), None)
        if deed == "begin":
            start = self.save(lease, run_id, "running", number)
            return PendingResult(
                Claim(self.lease(run_id), (start.header, start.payload, start.footer)), None
            )
        if deed == "give back":
            return PendingResult(Release(lease.row, lease.token), None)
        if deed == "steal":
            return PendingResult(Call(partial(steal, run_id)), None)
        if deed == "count":
            return PendingResult(Call(count), None)
        return PendingResult(self.save(lease, run_id, deed, number), None)

    def save(self, lease: Lease, run_id: str, deed: str, number: int) -> Save:
        """Make the storing of a snapshot."""
        status: Status = "running" if deed == "running" else "finished"
        header = self.handler.patched(None, run_id, number).by_this_program(
            status=status,
            number=1,
            sequence=number + 1,
            position=number,
            started_at=5.0,
            written_at=6.0,
        )
        memory = MemoryTarget()
        self.handler.codec.write(header, {"n": number}, None, memory)
        return Save(lease, header, *self.handler.cut(memory, run_id), None)

    def rows(self) -> list[Any]:
        """What the database has, but for what differs from one time to the next."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            kept = connection.execute("SELECT * FROM kept ORDER BY run, number, sequence")
            found = connection.execute(f"SELECT {COLUMNS} FROM runs ORDER BY run_id")  # noqa: S608
            return [*found.fetchall(), *kept.fetchall()]

    def close(self) -> None:
        """Close the database."""
        self.transactions.close()


def steal(run_id: str, connection: sqlite3.Connection) -> int:
    """Take a run away from whoever has it, with a token far from those that are given out here."""
    done = connection.execute(
        "UPDATE runs SET token = token + 1000000 WHERE run_id = ? AND token != 0", (run_id,)
    )
    return done.rowcount


def count(connection: sqlite3.Connection) -> list[Any]:
    """Tell what a call sees."""
    return connection.execute("SELECT run_id, status, position FROM runs ORDER BY 1").fetchall()

"""Processes on one leased store in memory, whose requests a test carries out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memory_store import MemoryHandler, MemoryServer, MemoryStore

from aiocheckpoint._concurrency.withdrawable_results import LeftResult, WithdrawableResult
from aiocheckpoint._snapshot.target import MemoryTarget
from aiocheckpoint.handlers.leased._patience import Patience
from aiocheckpoint.handlers.leased._requests import Claim, Execute, LeaseRecord, Release, Save
from aiocheckpoint.handlers.leased._run_store import split_snapshot
from aiocheckpoint.handlers.leased._store_processor import StoreProcessor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memory_store import Row

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint._snapshot.codec import EncodedSnapshot
    from aiocheckpoint.handlers.leased import StoreConnection
    from aiocheckpoint.handlers.leased._store_session import StoreSession

LEASE = 6.0


class HandClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """The present second."""
        return self.now

    def time(self) -> float:
        """The same."""
        return self.now

    def sleep(self, seconds: float, /) -> None:
        """Let time pass at once."""
        self.now += seconds


class LeasedProcess:
    """A process that uses a server.

    Attributes:
        server: The server.
        processor: Carries out the requests.
    """

    def __init__(self, server: MemoryServer, *, patience: float = 60.0) -> None:
        """Connect to nothing yet."""
        self.server = server
        clock = server.clock
        self.processor = StoreProcessor(
            MemoryStore(server), LEASE, Patience("memory", patience, clock), clock
        )
        self._handler = MemoryHandler(server, flow="f")

    @property
    def session(self) -> StoreSession:
        """The session that is open."""
        session = self.processor._session  # noqa: SLF001
        assert session is not None
        return session

    def carry_out(self, *group: PendingResult[Any]) -> list[Any]:
        """Carry out requests, and repeat them as the writer does. Give the outcome of each."""
        again = self.processor.apply(group)
        while again is not None:
            self.server.clock.sleep(again.seconds)
            again = self.processor.apply(again.requests)
        return [outcome_of(pending) for pending in group]

    def claim(self, lease: LeaseRecord, first: EncodedSnapshot | None = None) -> PendingResult[Any]:
        """Make the request for a lease."""
        lease.begin_claim()
        return WithdrawableResult(Claim(lease, first, runs=True), None)

    def save(
        self, lease: LeaseRecord, status: Status, number: int, progress: bytes | None = None
    ) -> PendingResult[Any]:
        """Make the request for a snapshot. `number` tells it from others."""
        save = Save(lease, *self.snapshot(lease, status, number), None, progress)
        return WithdrawableResult(save, None)

    def snapshot(self, lease: LeaseRecord, status: Status, number: int) -> EncodedSnapshot:
        """Make a snapshot."""
        run_id = lease.location
        header: Header = replace(
            self._handler.patched(None, run_id, number),
            status=status,
            number=1,
            sequence=number + 1,
            position=number,
            started_at=5.0,
            written_at=6.0,
            stopped_by="drain" if status == "stopped" else None,
        )
        memory = MemoryTarget()
        written = self._handler.codec.write(header, {"n": number}, None, memory)
        return written, *split_snapshot(memory, MemoryStore(self.server), run_id)


def lease_of(run_id: str, keep: Any = 1) -> LeaseRecord:  # noqa: ANN401 - as a handler takes it
    """Make the facts of a lease that is not held."""
    return LeaseRecord((b"f", run_id.encode()), run_id, keep)


def release(lease: LeaseRecord) -> PendingResult[Any]:
    """Make the request to release a lease."""
    pending: PendingResult[Any] = LeftResult(Release.of(lease, lease.token), None)
    lease.token = 0
    return pending


def call(function: Callable[[StoreConnection], Any]) -> PendingResult[Any]:
    """Make the request to call a function."""
    return WithdrawableResult(Execute(function), None)


def outcome_of(pending: PendingResult[Any]) -> Any:  # noqa: ANN401 - of any kind
    """The type of the error of a request, or what its result says of it."""
    if pending.error is not None:
        return type(pending.error)
    return "claimed" if isinstance(pending.request, Claim) else pending.result


def rows_of(server: MemoryServer) -> list[Row]:
    """The rows of the runs, without what differs from one execution to the next."""
    return [
        row._replace(id=0, owner=row.owner and "owner", token=bool(row.token), claimed_at=0.0)
        for _, row in sorted(server.tables.runs.items())
    ]


def beside_rows(server: MemoryServer) -> list[Any]:
    """The tables beside the runs: kept snapshots and progress by run, and the drain."""
    keys = {row.id: row.key for row in server.tables.runs.values()}
    kept = sorted((keys[row], *place) for row, *place in server.tables.kept)
    progress = {keys[row]: record for row, record in server.tables.progress.items()}
    return [kept, progress, len(server.tables.draining)]


def held_by(process: LeasedProcess, leases: Sequence[LeaseRecord]) -> list[bool]:
    """Which leases a process holds by what it knows."""
    return [lease.token in process.session.held_tokens for lease in leases]

"""A leased store in memory: a server that stops, loses answers and sessions at a test's command.

It stands for a database where no statement is of interest, but the order of claims, commits and
losses. All connections to one `MemoryServer` see the same tables. A transaction works on a copy of
the tables, which replaces them at the commit.
"""

# ruff: noqa: D102 - the methods are those of `StoreConnection`

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from aiocheckpoint._model.statuses import ENDED
from aiocheckpoint.errors import StoreUnreachableError
from aiocheckpoint.handlers._query import due_key, id_key
from aiocheckpoint.handlers.leased import (
    LeasedStateHandler,
    LeasedStore,
    OwnedRow,
    RunRow,
    SeenOwner,
    StoreConnection,
    StoredRun,
)
from aiocheckpoint.handlers.leased._requests import due_column

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Sequence

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers.leased import (
        Claim,
        LeaseRecord,
        OwnerBeat,
        QueuedColumns,
        QueuedRow,
        Release,
        Save,
        StartRow,
    )
    from aiocheckpoint.handlers.leased._clock import Clock
    from aiocheckpoint.handlers.leased._requests import Key

__all__ = ["Fault", "MemoryConnection", "MemoryHandler", "MemoryServer", "MemoryStore", "Row"]

Fault = Literal["statement", "commit", "answer"]
"""An event that may fail: a statement, a commit, which is not done then, or the answer to one."""


class Row(NamedTuple):
    """A run's row."""

    id: int
    key: Key
    owner: str | None = None
    token: int = 0
    claimed_at: float = 0.0
    position: int = 0
    step: str | None = None
    sequence: int = 0
    written_at: float = 0.0
    footer: bytes | None = None
    payload: bytes = b""
    status: str | None = None
    number: int = 0
    started_at: float = 0.0
    stopped_by: str | None = None
    due: float | None = None
    start: str | None = None
    lost: str | None = None
    ending: str | None = None


@dataclass
class Tables:
    """The tables. Their rows are never changed in place."""

    runs: dict[Key, Row] = field(default_factory=dict[Any, Row])
    owners: dict[str, OwnerBeat] = field(default_factory=dict[str, Any])
    draining: set[str] = field(default_factory=set[str])
    kept: dict[tuple[int, int, int], tuple[bytes, bytes]] = field(default_factory=dict[Any, Any])
    progress: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def copy(self) -> Tables:
        """Copy all tables."""
        owners, draining = dict(self.owners), set(self.draining)
        return Tables(dict(self.runs), owners, draining, dict(self.kept), dict(self.progress))


class MemoryServer:
    """The tables, and the switches of a test.

    Attributes:
        clock: Tells since when the server is up.
        tables: The committed tables.
        reachable: Whether the server can be connected to, and answers.
        read_only: Whether it refuses to write.
        shows_sessions: Whether others see which sessions are open. Not so behind a pooler.
        faults: What fails next, first to last.
        decide: Whether an event fails, if `faults` have no say. Called for each one.
        before_commit: Called with the tables that are about to be committed.
        locked: The runs whose rows somebody else holds. A transaction waits for them in vain.
        limit, brief_limit: Seconds that a transaction waits for a row, also if it waits briefly.
        sessions: The sessions that are open.
        commits: The number of commits of writers.
    """

    def __init__(self, clock: Clock = time) -> None:
        self.clock = clock
        self.tables = Tables()
        self.reachable = True
        self.read_only = False
        self.shows_sessions = True
        self.faults: deque[Fault] = deque()
        self.decide: Callable[[Fault], bool] = _never
        self.before_commit: Callable[[Tables], object] = _nothing
        self.locked: set[Key] = set()
        self.limit, self.brief_limit = 1.0, 0.02
        self.sessions: set[str] = set()
        self.commits = 0
        self.lock = threading.RLock()
        self.row_ids = itertools.count(1)
        self._session_ids = itertools.count(1)
        self.up_since = -float("inf")

    def open_session(self) -> str:
        """Open a session."""
        session = str(next(self._session_ids))
        self.sessions.add(session)
        return session

    def end_sessions(self) -> None:
        """End all sessions, as an administrator may. They can be opened anew at once."""
        self.sessions.clear()

    def stop(self) -> None:
        """Stop the server."""
        self.reachable = False
        self.end_sessions()

    def start(self) -> None:
        """Start it again."""
        self.reachable = True
        self.up_since = self.clock.monotonic()

    def fails(self, kind: Fault) -> bool:
        """Whether the next one of this kind fails."""
        if self.faults and self.faults[0] == kind:
            self.faults.popleft()
            return True
        return self.decide(kind)


def _never(_: Fault) -> bool:
    return False


def _nothing(_: Tables) -> None:
    pass


@dataclass(frozen=True)
class MemoryStore(LeasedStore):
    """The place of a server."""

    kind: ClassVar[str] = "memory"
    server: MemoryServer

    @property
    def location(self) -> str:
        return "memory"

    def connect(self, *, writes: bool) -> MemoryConnection:
        return MemoryConnection(self.server, writes=writes)


class MemoryHandler(LeasedStateHandler):
    """Keeps runs on a server."""

    outlives_process = False

    def __init__(
        self,
        server: MemoryServer,
        flow: str = "memory",
        **options: Any,  # noqa: ANN401 - passed on
    ) -> None:
        super().__init__(MemoryStore(server), flow=flow, **options)
        self.server = server


class MemoryConnection(StoreConnection):
    """A connection to a server."""

    def __init__(self, server: MemoryServer, *, writes: bool) -> None:
        if not server.reachable:
            raise StoreUnreachableError("memory", "the server does not answer")
        if writes and server.read_only:
            raise StoreUnreachableError("memory", "the server is read-only")
        self._server = server
        self._id = server.open_session()
        self._tables: Tables | None = None
        self.session = self._id if writes and server.shows_sessions else None

    def is_lost(self) -> bool:
        return self._id not in self._server.sessions

    def close(self) -> None:
        self._server.sessions.discard(self._id)

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        with self._own_transaction():
            yield

    @contextmanager
    def _own_transaction(self) -> Generator[Tables, None, None]:
        with self._server.lock:
            tables = self._tables = self._server.tables.copy()
            try:
                yield tables
                self._commit(tables)
            finally:
                self._tables = None

    def _commit(self, tables: Tables) -> None:
        server = self._server
        self._check()
        self._wait_for_rows(tables)
        if server.fails("commit"):
            raise self._broken()
        if server.read_only:
            raise StoreUnreachableError("memory", "the server is read-only")
        server.before_commit(tables)
        server.tables = tables
        server.commits += 1
        if server.fails("answer"):
            raise self._broken()

    def _wait_for_rows(self, tables: Tables) -> None:
        """Wait for the rows of the transaction that somebody else holds, and give up."""
        server = self._server
        for key in server.locked:
            if tables.runs.get(key) is not server.tables.runs.get(key):
                server.clock.sleep(server.brief_limit if self.waits_briefly else server.limit)
                error = StoreUnreachableError("memory", "a row was locked for too long")
                error.is_of_statement = True
                raise error

    @property
    def _is_alone(self) -> bool:
        """Whether the next statement commits for itself."""
        return self._tables is None

    @contextmanager
    def _writing(self) -> Generator[Tables, None, None]:
        """Give the tables of the transaction, or commit for itself."""
        if self._tables is not None:
            self._note()
            yield self._tables
            return
        with self._own_transaction() as tables:
            self._note()
            yield tables

    @contextmanager
    def _reading(self) -> Generator[Tables, None, None]:
        self._note()
        yield self._server.tables if self._tables is None else self._tables

    def _note(self) -> None:
        self._check()
        if self._server.fails("statement"):
            raise self._broken()

    def _check(self) -> None:
        if self.is_lost() or not self._server.reachable:
            raise self._broken()

    def _broken(self) -> StoreUnreachableError:
        self.close()
        return StoreUnreachableError("memory", "the connection was lost")

    # owners

    def heartbeat(self, owner: OwnerBeat) -> None:
        with self._writing() as tables:
            tables.owners[owner.id] = owner

    def owners(self, ids: Collection[str] | None) -> list[SeenOwner]:
        with self._reading() as tables:
            return [
                self._seen(owner, tables)
                for owner in tables.owners.values()
                if ids is None or owner.id in ids
            ]

    def _seen(self, owner: OwnerBeat, tables: Tables) -> SeenOwner:
        is_open = None if owner.session is None else owner.session in self._server.sessions
        return SeenOwner(*owner, session_open=is_open, draining=owner.id in tables.draining)

    def seconds_up(self) -> float:
        return self._server.clock.monotonic() - self._server.up_since

    def free(self, owner_id: str, loss: Loss | None) -> None:
        with self._writing() as tables:
            for row in [row for row in tables.runs.values() if row.owner == owner_id]:
                if row.status is None:
                    del tables.runs[row.key]
                else:
                    free = row._replace(owner=None, token=0, lost=loss or row.lost)
                    tables.runs[row.key] = free
            tables.owners.pop(owner_id, None)
            tables.draining.discard(owner_id)

    def note_draining(self, owner_id: str) -> None:
        with self._writing() as tables:
            tables.draining.add(owner_id)

    # runs

    def claim(self, claims: Sequence[Claim], owner_id: str, now: float) -> list[StoredRun]:
        counts = not self._is_alone
        with self._writing() as tables:
            owner = tables.owners.get(owner_id)
            if owner is not None:
                tables.owners[owner_id] = owner  # Locked against `free`.
            for claim in claims if owner is not None else ():
                row = tables.runs.get(claim.lease.key)
                may_take = counts or row is None or row.status in {None, "finished"}
                if row is None:
                    row = Row(next(self._server.row_ids), claim.lease.key)
                    if claim.first_snapshot is not None:
                        row = _with_snapshot(row, *claim.first_snapshot)
                if row.owner is None and may_take:
                    row = row._replace(
                        owner=owner_id, token=claim.lease.asked_token, claimed_at=now
                    )
                tables.runs[row.key] = row
            return [
                _stored_run(number, claim, tables)
                for number, claim in enumerate(claims)
                if claim.lease.key in tables.runs
            ]

    def record_starts(self, starts: Sequence[StartRow]) -> None:
        with self._writing() as tables:
            for start in starts:
                row = _leased(tables, start.row, start.token)
                if row is not None:
                    changed = row._replace(status=start.status, start=start.start, lost=None)
                    tables.runs[row.key] = changed

    def save_steps(self, saves: Sequence[Save]) -> int:
        with self._writing() as tables:
            rows = [(_older(tables, save), save) for save in saves]
            for row, save in rows:
                if row is not None:
                    tables.runs[row.key] = row._replace(**_step_columns(save))
            return sum(row is not None for row, _ in rows)

    def save_statuses(self, saves: Sequence[Save], owner_id: str) -> int:
        with self._writing() as tables:
            rows = [(_older(tables, save), save) for save in saves]
            for row, save in rows:
                if row is not None:
                    saved = _with_snapshot(row, save.header, save.payload, save.footer)
                    if save.ends_run:
                        saved = saved._replace(owner=None, token=0)
                    if save.clears_ending:
                        saved = saved._replace(ending=None)
                    tables.runs[row.key] = saved
            return sum(row is not None for row, _ in rows)

    def stored(self, saves: Sequence[Save]) -> set[int]:
        with self._reading() as tables:
            footers = {row.id: row.footer for row in tables.runs.values()}
            return {n for n, save in enumerate(saves) if footers.get(save.lease.row) == save.footer}

    def with_ending(self, saves: Sequence[Save]) -> set[int]:
        with self._reading() as tables:
            asked = {row.id for row in tables.runs.values() if row.ending is not None}
            return {number for number, save in enumerate(saves) if save.lease.row in asked}

    def retain(self, saves: Sequence[Save]) -> None:
        with self._writing() as tables:
            for save in saves:
                row = _of(tables, save.lease)
                if row is None or row.status is None or save.amends is not None:
                    continue
                place = row.number, row.sequence
                if place != (save.header.number, save.header.sequence):
                    tables.kept[row.id, *place] = row.payload, row.footer or b""

    def prune(self, saves: Sequence[Save]) -> None:
        with self._writing() as tables:
            for save in saves:
                kept = sorted(one for one in tables.kept if one[0] == save.lease.row)
                if save.lease.keep == "all":
                    gone = [one for one in kept if one[1] != save.header.number]
                else:
                    kept.sort(key=lambda one: one[2], reverse=True)
                    gone = kept[save.lease.keep - 1 :]
                for one in gone:
                    del tables.kept[one]

    def release(self, releases: Sequence[Release]) -> None:
        with self._writing() as tables:
            for release in releases:
                row = tables.runs.get((release.flow, release.run_id))
                if row is None or row.token != release.token:
                    continue
                if row.status is None:
                    del tables.runs[row.key]
                    continue
                if release.before is not None:
                    row = row._replace(status=release.before[0], start=release.before[1])
                tables.runs[row.key] = row._replace(owner=None, token=0)

    def delete(self, lease: LeaseRecord) -> bool:
        with self._writing() as tables:
            row = _of(tables, lease)
            if row is None:
                return False
            self._delete_beside(row, tables)
            empty = Row(row.id, row.key, row.owner, row.token, row.claimed_at)
            tables.runs[row.key] = empty
            return True

    def _delete_beside(self, row: Row, tables: Tables) -> None:
        tables.progress.pop(row.id, None)
        for one in [one for one in tables.kept if one[0] == row.id]:
            del tables.kept[one]

    def insert_queued(self, common: QueuedColumns, rows: Sequence[QueuedRow]) -> set[int]:
        with self._writing() as tables:
            left: set[int] = set()
            for number, new in enumerate(rows):
                key = common.flow, new.run_id
                row = tables.runs.get(key)
                if row is None:
                    tables.runs[key] = _queued(next(self._server.row_ids), key, common, new)
                elif row.footer != new.footer:
                    left.add(number)
            return left

    def write_progress(self, records: Sequence[tuple[LeaseRecord, bytes]]) -> None:
        with self._writing() as tables:
            for lease, record in records:
                row = _of(tables, lease)
                if row is not None and record:
                    tables.progress[row.id] = record
                elif row is not None:
                    tables.progress.pop(row.id, None)

    def write_ending(self, key: Key, request: str) -> None:
        with self._writing() as tables:
            row = tables.runs.get(key)
            if row is not None and row.ending is None and row.status not in ENDED:
                tables.runs[key] = row._replace(ending=request)

    def clear_ending(self, lease: LeaseRecord) -> None:
        with self._writing() as tables:
            row = _of(tables, lease)
            if row is not None:
                tables.runs[row.key] = row._replace(ending=None)

    # reading

    def read_snapshot(self, key: Key, kept: tuple[int, int] | None) -> tuple[bytes, bytes] | None:
        with self._reading() as tables:
            row = tables.runs.get(key)
            if row is None or row.footer is None:
                return None
            return tables.kept.get((row.id, *kept)) if kept else (row.payload, row.footer)

    def read_footer(self, key: Key) -> tuple[bytes, int] | None:
        with self._reading() as tables:
            row = tables.runs.get(key)
            return None if row is None or row.footer is None else (row.footer, len(row.payload))

    def read_kept(self, key: Key) -> list[tuple[int, int]]:
        with self._reading() as tables:
            row = tables.runs.get(key)
            kept = [one[1:] for one in tables.kept if row is not None and one[0] == row.id]
            return sorted(kept, key=lambda one: one[1], reverse=True)

    def read_progress(self, key: Key) -> bytes | None:
        with self._reading() as tables:
            row = tables.runs.get(key)
            return None if row is None else tables.progress.get(row.id)

    def read_ending(self, key: Key) -> str | None:
        with self._reading() as tables:
            row = tables.runs.get(key)
            return None if row is None else row.ending

    def read_endings(self, flow: str | bytes) -> dict[str | bytes, str]:
        with self._reading() as tables:
            rows = [row for row in tables.runs.values() if row.key[0] == flow]
            return {row.key[1]: row.ending for row in rows if row.ending is not None}

    def read_ownership(self, key: Key) -> OwnedRow | None:
        with self._reading() as tables:
            row = tables.runs.get(key)
            return None if row is None or row.status is None else self._owned(row, tables)

    def _owned(self, row: Row, tables: Tables) -> OwnedRow:
        owner = tables.owners.get(row.owner or "")
        seen = None if owner is None else self._seen(owner, tables)
        return OwnedRow(row.owner, seen, row.start, row.lost)

    def list_runs(self, flow: str | bytes, query: Query, after: RunRow | None) -> list[RunRow]:
        with self._reading() as tables:
            rows = [row for row in tables.runs.values() if row.key[0] == flow and row.status]
            if query.unowned:
                rows = [row for row in rows if row.owner is None]
            if query.due_before is not None:
                return self._list_due(rows, query, after, tables)
            last = None if query.after is None else (query.after.started_at, query.after.run_id)
            place = None if last is None else (last[0], id_key(last[1]))
            if after is not None:
                place = after.started_at, _bytes(after.run_id)
            found = sorted(rows, key=_order, reverse=True)
            behind = [row for row in found if place is None or _order(row) < place]
            return [self._listed(row, None, tables) for row in behind[: query.limit]]

    def _list_due(
        self, rows: list[Row], query: Query, after: RunRow | None, tables: Tables
    ) -> list[RunRow]:
        before = query.due_before or 0.0
        is_due = [row for row in rows if row.status != "finished" and (row.due or 0.0) <= before]
        due = sorted((row.due or row.started_at, *_order(row), row) for row in is_due)
        place = None if query.after is None else due_key(query.after)
        if after is not None:
            place = after.due or 0.0, after.started_at, _bytes(after.run_id)
        behind = [one for one in due if place is None or one[:3] > place]
        return [self._listed(row, key, tables) for key, *_, row in behind[: query.limit]]

    def _listed(self, row: Row, due: float | None, tables: Tables) -> RunRow:
        footer, size = row.footer or b"", len(row.payload)
        owned = self._owned(row, tables)
        return RunRow(row.key[1], row.started_at, footer, size, owned, due)


def _bytes(run_id: str | bytes) -> bytes:
    return run_id if isinstance(run_id, bytes) else run_id.encode()


def _order(row: Row) -> tuple[float, bytes]:
    return row.started_at, _bytes(row.key[1])


def _with_snapshot(row: Row, header: Header, payload: bytes, footer: bytes) -> Row:
    return row._replace(
        position=header.position,
        step=header.next_step,
        sequence=header.sequence,
        written_at=header.written_at,
        footer=footer,
        payload=payload,
        status=header.status,
        number=header.number,
        started_at=header.started_at,
        stopped_by=header.stopped_by,
        due=due_column(header),
    )


def _step_columns(save: Save) -> dict[str, Any]:
    header = save.header
    return {
        "position": header.position,
        "step": header.next_step,
        "sequence": header.sequence,
        "written_at": header.written_at,
        "footer": save.footer,
        "payload": save.payload,
    }


def _queued(row_id: int, key: Key, common: QueuedColumns, new: QueuedRow) -> Row:
    return Row(
        row_id,
        key,
        claimed_at=new.written_at,
        position=common.position,
        step=common.step,
        sequence=common.sequence,
        written_at=new.written_at,
        footer=new.footer,
        payload=new.payload,
        status=common.status,
        number=common.number,
        started_at=new.written_at,
        due=common.due,
    )


def _leased(tables: Tables, row_id: int, token: int) -> Row | None:
    found = (row for row in tables.runs.values() if row.id == row_id)
    row = next(found, None)
    return None if row is None or not token or row.token != token else row


def _of(tables: Tables, lease: LeaseRecord) -> Row | None:
    """The row of a lease that is still valid."""
    row = tables.runs.get(lease.key)
    valid = row is not None and lease.token and (row.id, row.token) == (lease.row, lease.token)
    return row if valid else None


def _older(tables: Tables, save: Save) -> Row | None:
    """The row that a save may change: of its lease, and not of a later snapshot."""
    row = _of(tables, save.lease)
    if row is None or save.ends_run or row.number != save.header.number:
        return row
    return row if row.sequence <= save.header.sequence else None


def _stored_run(number: int, claim: Claim, tables: Tables) -> StoredRun:
    row = tables.runs[claim.lease.key]
    return StoredRun(
        number=number,
        row=row.id,
        token=row.token,
        owner=row.owner,
        since=row.claimed_at,
        payload_length=len(row.payload),
        footer=row.footer,
        status=row.status,
        stopped_by=row.stopped_by,
        run_number=row.number,
        position=row.position,
        sequence=row.sequence,
        lost=row.lost,
        start=row.start,
        has_progress=row.id in tables.progress,
        ending=row.ending is not None,
    )

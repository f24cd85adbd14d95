"""One connection to the server, with all statements of the store."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from aiocheckpoint.handlers.leased import StoreConnection
from aiocheckpoint.handlers.postgres import (
    _claiming,
    _owners,
    _progress_and_endings,
    _queueing,
    _releasing,
    _saving,
)
from aiocheckpoint.handlers.postgres._notifications import notify
from aiocheckpoint.handlers.postgres._pruning import prune_statement
from aiocheckpoint.handlers.postgres._reading import PostgresReading
from aiocheckpoint.handlers.postgres._schema import set_up

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers.leased import (
        Claim,
        Key,
        LeaseRecord,
        OwnerBeat,
        QueuedColumns,
        QueuedRow,
        Release,
        Save,
        SeenOwner,
        StartRow,
        StoredRun,
    )
    from aiocheckpoint.handlers.postgres._server_connection import ServerConnection

__all__ = ["PostgresConnection"]


class PostgresConnection(PostgresReading, StoreConnection):
    """A connection, and the statements of the store.

    Args:
        server: The connection of psycopg, and the schema.
        writes: Whether it is the writer's, which makes the tables.

    Attributes:
        session: Name of the lock by which others see that this connection lives. None behind a
            pooler, and for a connection that only reads.
    """

    def __init__(self, server: ServerConnection, *, writes: bool) -> None:
        self.server = server
        # Behind a pooler, a limit of waits for locks needs a transaction.
        self.commits_alone: bool = not server.is_pooled
        self._has_tables = set_up(server, writes=writes)
        self.session: str | None = _owners.begin_session(server) if writes else None
        self._connected_at = time.monotonic()
        self._has_beaten = False
        _connections.add(self)

    def rows(self, statement: str, values: Mapping[str, Any]) -> list[Any]:
        """Give all rows of a statement. None where no process has made the tables yet."""
        if not self._has_tables:
            self._has_tables = set_up(self.server, writes=False)
        return self.server.rows(statement, values) if self._has_tables else []

    def read_snapshot(self, key: Key, kept: tuple[int, int] | None) -> tuple[bytes, bytes] | None:
        found = super().read_snapshot(key, kept)
        self.server.note_size(0 if found is None else len(found[0]))
        return found

    def transaction(self) -> AbstractContextManager[None]:
        return self.server.transaction(briefly=self.waits_briefly)

    def is_lost(self) -> bool:
        return self.server.is_lost()

    def close(self) -> None:
        _connections.discard(self)
        self.server.close()

    def abandon(self) -> None:
        super().abandon()
        self.server.abandon()

    def notify(self, notices: Collection[str], *, if_attended: Collection[str] = ()) -> None:
        notify(self.server, notices, if_attended=if_attended)

    def heartbeat(self, owner: OwnerBeat) -> None:
        if not self._has_beaten:
            _owners.end_session_before(self.server, owner)
            self._has_beaten = True
        _owners.heartbeat(self.server, owner)

    def owners(self, ids: Collection[str] | None) -> list[SeenOwner]:
        return _owners.owners(self.server, ids)

    def seconds_up(self) -> float:
        seconds = _owners.seconds_up(self.server)
        # The clock of the server was set back. The time that this connection has lived is known.
        return seconds if seconds >= 0 else time.monotonic() - self._connected_at

    def free(self, owner_id: str, loss: Loss | None) -> None:
        _owners.free(self.server, owner_id, loss)

    def note_draining(self, owner_id: str) -> None:
        _owners.note_draining(self.server, owner_id)

    def claim(self, claims: Sequence[Claim], owner_id: str, now: float) -> list[StoredRun]:
        return _claiming.claim(self.server, claims, owner_id, now)

    def record_starts(self, starts: Sequence[StartRow]) -> None:
        _claiming.record_starts(self.server, starts)

    def save_steps(self, saves: Sequence[Save]) -> int:
        return self.server.write_call(_saving.step_call(saves))

    def save_statuses(self, saves: Sequence[Save], owner_id: str) -> int:
        del owner_id  # The row keeps its owner.
        return self.server.write_call(_saving.status_call(saves))

    def write_together(
        self,
        claims: Sequence[Claim],
        steps: Sequence[Save],
        statuses: Sequence[Save],
        owner_id: str,
        now: float,
    ) -> tuple[list[StoredRun], int] | None:
        # Claims come first, as they may wait for those of other processes.
        calls = [_claiming.claim_call(claims, owner_id, now, alone=True)] if claims else []
        calls += [_saving.step_call(steps)] if steps else []
        calls += [_saving.status_call(statuses)] if statuses else []
        cursors = self.server.together(calls)
        if cursors is None:
            return None
        rows = cursors.pop(0).fetchall() if claims else []
        runs = _claiming.claimed(self.server, claims, rows, owner_id, now)
        return runs, sum(cursor.rowcount for cursor in cursors)

    def stored(self, saves: Sequence[Save]) -> set[int]:
        return _saving.stored(self.server, saves)

    def with_ending(self, saves: Sequence[Save]) -> set[int]:
        return _saving.with_ending(self.server, saves)

    def retain(self, saves: Sequence[Save]) -> None:
        _saving.retain(self.server, saves)

    def prune(self, saves: Sequence[Save]) -> None:
        _saving.prune(self.server, saves)

    def release(self, releases: Sequence[Release]) -> None:
        _releasing.release(self.server, releases)

    def delete(self, lease: LeaseRecord) -> bool:
        return _releasing.delete(self.server, lease)

    def insert_queued(self, common: QueuedColumns, rows: Sequence[QueuedRow]) -> set[int]:
        return _queueing.insert_queued(self.server, common, rows)

    def write_progress(self, records: Sequence[tuple[LeaseRecord, bytes]]) -> None:
        _progress_and_endings.write_progress(self.server, records)

    def write_ending(self, key: Key, request: str) -> None:
        _progress_and_endings.write_ending(self.server, key, request)

    def clear_ending(self, lease: LeaseRecord) -> None:
        _progress_and_endings.clear_ending(self.server, lease)

    def prune_rows(self, flow: str | bytes, query: Query, *, unsigned: bool) -> int | None:
        if not self.decides(query.chosen):
            return None
        statement, values = prune_statement(flow, query, unsigned=unsigned)
        ((count,),) = self.server.rows(statement, values, doing="writing")
        return int(count)


_connections: WeakSet[PostgresConnection] = WeakSet()


def _abandon_all() -> None:
    """Close the sockets of the parent in a forked child, without a word to the server.

    The server would see the parent's session for as long as a child has its socket open.
    """
    for connection in list(_connections):
        connection.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)

"""The session of a store that is reached by a `LeasedStore`."""

from __future__ import annotations

import itertools
import os
import secrets
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.handlers._files.processes import boot_id
from aiocheckpoint.handlers._files.watch import HEARTBEATS_PER_LEASE
from aiocheckpoint.handlers.leased._listener import FREED
from aiocheckpoint.handlers.leased._owner_watch import SECONDS_WITHOUT_SESSION, OwnerWatch
from aiocheckpoint.handlers.leased._rows import OwnerBeat, SeenOwner
from aiocheckpoint.handlers.leased._session import Session
from aiocheckpoint.handlers.leased._store import connect_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aiocheckpoint._model.start_record import Loss
    from aiocheckpoint.handlers.leased._clock import Clock
    from aiocheckpoint.handlers.leased._connection import StoreConnection
    from aiocheckpoint.handlers.leased._store import LeasedStore

__all__ = ["StoreSession"]

_OWNER_ID_BYTES = 8


class _Living(NamedTuple):
    """See `LivingOwner`."""

    pid: int | None
    host: str | None
    lease_left: float | None
    end_is_seen: bool = False


class StoreSession(Session):
    """One use of a store. It connects at the first request, and anew after a loss.

    Args:
        store: The store.
        lease: Length of a lease in seconds.
        clock: Tells the time.

    Attributes:
        is_in_doubt: Whether something may have been stored since `begin`, if no answer comes.
        has_freed: Set when the runs of an owner that is gone were freed.
        is_seen: Whether others see at once that the connection is lost, or have seen it.
        waits_briefly: As `StoreConnection.waits_briefly`.
    """

    def __init__(self, store: LeasedStore, lease: float, clock: Clock) -> None:
        super().__init__()
        self._store = store
        self._lease = lease
        self._clock = clock
        self._owner_id = secrets.token_hex(_OWNER_ID_BYTES)
        self._watch = OwnerWatch(clock)
        self._rowless = set[str]()  # See `_without_row`.
        self._connection: StoreConnection | None = None
        self._beats = itertools.count(1)
        self._since = datetime.fromtimestamp(clock.time(), UTC).isoformat(timespec="seconds")
        self._is_draining = False
        self._last_heartbeat = self._uncommitted_heartbeat = -float("inf")
        self.is_in_doubt: bool = False
        self.has_freed: bool = False
        self.is_seen: bool = False
        self.waits_briefly: bool = False

    @property
    def owner_id(self) -> str:
        return self._owner_id

    @property
    def statements(self) -> StoreConnection:
        return self.connection

    @property
    def connection(self) -> StoreConnection:
        """The connection, made if there is none."""
        if self._connection is None:
            self._connection = connect_to(self._store, writes=True)
            self.is_seen = self._connection.session is not None
            self._last_heartbeat = -float("inf")  # Others see no session of this owner yet.
        return self._connection

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, which may be lost by now."""
        return self._connection is not None

    @property
    def needs_work(self) -> bool:
        """Whether something is due without a request."""
        connection = self._connection
        return (
            bool(self.pending_releases)
            or self.seconds_to_heartbeat <= 0
            or connection is None
            or connection.is_lost()
        )

    @property
    def seconds_to_heartbeat(self) -> float:
        due = self._last_heartbeat + self._lease / HEARTBEATS_PER_LEASE
        return due - self._clock.monotonic()

    def begin(self, count: int) -> None:
        del count
        self.is_in_doubt = False
        if self._connection is not None and self._connection.is_lost():
            self.disconnect()
        self.connection  # noqa: B018 - connects
        if self.held_tokens and self.seconds_to_heartbeat <= 0:
            # Alone: a statement that a lock holds up would take the heartbeat back with it.
            self.in_transaction(_do_nothing)
            self.is_in_doubt = False

    def in_transaction(self, work: Callable[[], None]) -> None:
        connection = self.connection
        connection.waits_briefly = self.waits_briefly
        try:
            with connection.transaction():
                self._heartbeat(connection)
                work()
                self.is_in_doubt = True
        except BaseException:
            self._watch.interrupted()
            raise
        self._watch.committed()
        self._last_heartbeat = self._uncommitted_heartbeat

    def _heartbeat(self, connection: StoreConnection) -> None:
        if self.seconds_to_heartbeat <= 0:
            self._beat(connection)

    def _beat(self, connection: StoreConnection) -> None:
        self._uncommitted_heartbeat = self._clock.monotonic()
        beat = OwnerBeat(
            id=self._owner_id,
            host=socket.gethostname(),
            boot=boot_id(),
            pid=os.getpid(),
            since=self._since,
            # The count goes on where another process has deleted the row, so that none is repeated.
            beat=next(self._beats),
            lease=self._lease,
            session=connection.session,
        )
        connection.heartbeat(beat)

    def check_commit(self) -> None:
        """Do nothing: the store has answered."""

    def living(self, owner_ids: Iterable[str]) -> dict[str, _Living | None]:
        wanted = set(owner_ids)
        asked_at = self._clock.monotonic()
        found = self.connection.owners({*wanted, self._owner_id})
        if all(owner.id != self._owner_id for owner in found):
            # Others have taken this one for gone, and nothing is claimed without its row.
            self._beat(self.connection)
        missing = wanted - {owner.id for owner in found} - {self._owner_id}
        looked = self._look([*found, *map(self._without_row, sorted(missing))], asked_at)
        gone = {owner_id for owner_id, (_, left) in looked.items() if left is None}
        self._rowless = (self._rowless - wanted | missing) - gone
        return {
            owner_id: None if left is None else self._living(owner, left)
            for owner_id, (owner, left) in looked.items()
        }

    def _without_row(self, owner_id: str) -> SeenOwner:
        """An owner of runs that is not among the owners. It may live, and has a lease to beat.

        Its row was deleted by hand.
        """
        return SeenOwner(owner_id, "", "", 0, "", 0, self._lease, None, None, draining=False)

    def _living(self, owner: SeenOwner, left: float) -> _Living:
        if owner.id == self._owner_id:
            return _Living(os.getpid(), socket.gethostname(), None)
        end_is_seen = owner.session_open is not None
        return _Living(owner.pid or None, owner.host or None, left, end_is_seen)

    def _free(self, owner_id: str, loss: Loss | None) -> None:
        self.connection.free(owner_id, loss)
        self.has_freed = True

    def expire_dead(self) -> float | None:
        asked_at = self._clock.monotonic()
        owners = self.connection.owners(None)
        self._watch.forget_all_but({owner.id for owner in owners} | self._rowless)
        soon = [
            left
            for owner, left in self._look(owners, asked_at).values()
            if owner.session_open is False and left and left <= SECONDS_WITHOUT_SESSION
        ]
        return min(soon, default=None)

    def _look(
        self, owners: Sequence[SeenOwner], asked_at: float
    ) -> dict[str, tuple[SeenOwner, float | None]]:
        """Look at owners. Free the runs of those that are gone."""
        looked: dict[str, tuple[SeenOwner, float | None]] = {}
        seconds_up = self.connection.seconds_up()
        for owner in owners:
            if owner.id == self._owner_id:
                looked[owner.id] = owner, self._lease
                continue
            left = self._watch.look(owner, seconds_up=seconds_up, asked_at=asked_at)
            if left is None:
                self._free(owner.id, "drained" if owner.draining else "killed")
            looked[owner.id] = owner, left
        return looked

    def note_draining(self) -> None:
        self._is_draining = True
        self.connection.note_draining(self._owner_id)

    def disconnect(self) -> None:
        """Close the connection, and connect anew at the next request."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._watch.interrupted()
            connection.close()

    def abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

    def close(self) -> None:
        if self._connection is not None or self.held_tokens or self.pending_releases:
            held = bool(self.held_tokens)
            with suppress(CheckpointError):
                with self.connection.transaction():
                    self.connection.free(self._owner_id, "drained" if self._is_draining else None)
                if held:
                    self.connection.notify([FREED])
        self.disconnect()


def _do_nothing() -> None:
    pass

"""The base class of handlers for stores that many processes and hosts share by leases."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Literal, Unpack

from aiocheckpoint import _public
from aiocheckpoint._logging import RunPlace, log_left_out
from aiocheckpoint._model.checks import checked_number
from aiocheckpoint._model.start_record import Ownership
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import CheckpointError, InvalidValueError
from aiocheckpoint.handlers._counting import count_headers
from aiocheckpoint.handlers._ending_port import decode_reason
from aiocheckpoint.handlers._leases import LEASE_SECONDS, checked_lease
from aiocheckpoint.handlers._retention import Keep, checked_keep
from aiocheckpoint.handlers._run_filter import ALL
from aiocheckpoint.handlers.leased._leasing_handler import LeasingHandler
from aiocheckpoint.handlers.leased._listener import (
    ending_notice,
    queue_notice,
    release_notice,
)
from aiocheckpoint.handlers.leased._listing import (
    chosen_headers,
    completed,
    listed_headers,
    page_begin,
    stored_text,
)
from aiocheckpoint.handlers.leased._ownership import known_of
from aiocheckpoint.handlers.leased._reading_client import ReadingClient
from aiocheckpoint.handlers.leased._store import LeasedStore
from aiocheckpoint.handlers.leased._store_client import open_connected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from aiocheckpoint._concurrency.giving_up import Answers
    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers._counting import CountBy, Counts
    from aiocheckpoint.handlers._locks import Lock
    from aiocheckpoint.handlers._options import SnapshotOptions
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers._run_filter import RunFilter
    from aiocheckpoint.handlers.leased._requests import Key
    from aiocheckpoint.handlers.leased._rows import RunRow
    from aiocheckpoint.handlers.leased._store import StorePlace

__all__ = ["PATIENCE_SECONDS", "LeasedStateHandler", "checked_patience"]

PATIENCE_SECONDS = 60.0
_SECONDS_HEARING, _SECONDS_DEAF, _MOST_SECONDS = 0.4, 0.1, 1.0
"""Between two claims of a run that another process has, where its release is sent, and where not.
A killed owner is seen at a look, and believed to be gone half a second later."""
_MOST_CLAIMS = 20.0
"""The most claims a second of a process that waits for up to 20 runs."""


class LeasedStateHandler(LeasingHandler[ReadingClient]):
    """Keeps the snapshots of many runs in a store that many processes and hosts share.

    The author of a store writes a `LeasedStore`, which connects, and a `StoreConnection`, which has
    the statements. The rest is here. Writes go by group commit: the snapshots that wait at the same
    time, of any runs, share one transaction. One connection of a process writes, in a thread of its
    own. Each run has one owner, which holds a lease and renews it by heartbeats. A run whose owner
    is gone is taken over by the next one that asks for it. An owner that was only cut off finds out
    by its token, which each statement asks for, and stores nothing more.

    While the store is out of reach, requests and reads wait and are repeated.

    Args:
        store: The store.
        flow: Name of the flow. Flows of several names may share a store.
        keep: How many snapshots of each run are kept, the newest included. "all" keeps every
            snapshot of the last run.
        lease: Seconds without a heartbeat after which other processes take the runs of this one.
        patience: Seconds for which a request or a read is repeated while the store is out of reach.
        options: `secret=`, `allow=` and `verify=`, see `SnapshotOptions`.

    Attributes:
        keep: How many snapshots of each run are kept.
        lease: Length of a lease in seconds.
        patience: The seconds of patience.
        flow: Name of the flow.
        key_ids: Ids of the secrets, as `Header.signed_by` has them.

    Raises:
        InvalidTypeError, InvalidValueError: An option is invalid.
    """

    _shown_options: tuple[tuple[str, object], ...] = (
        ("keep", 1),
        ("lease", LEASE_SECONDS),
        ("patience", PATIENCE_SECONDS),
    )

    def __init__(
        self,
        store: StorePlace,
        *,
        flow: str,
        keep: Keep = 1,
        lease: float = LEASE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        **options: Unpack[SnapshotOptions],
    ) -> None:
        super().__init__(flow, **options)
        self.keep: Keep = checked_keep(keep)
        self.lease: float = checked_lease(lease)
        self.patience: float = checked_patience(patience)
        self._store = store
        self._client = self._open_client()

    def _open_client(self) -> ReadingClient:
        client = self._connect()
        self.answers: Answers | None = client.answers
        return client

    def _connect(self) -> ReadingClient:
        """Give the client of the store: of a `LeasedStore`, unless a subclass has its own."""
        assert isinstance(self._store, LeasedStore)  # noqa: S101 - said by the constructor
        return open_connected(self._store, self.lease, self.patience)

    def seconds_between_claims(self, waiting: int) -> float:
        """Some at first, and up to one for many: the store is asked at most 20 times a second."""
        least = _SECONDS_HEARING if self._client.notices.is_connected else _SECONDS_DEAF
        return min(max(least, waiting / _MOST_CLAIMS), _MOST_SECONDS)

    def on_release(
        self, run_id: str | None, callback: Callable[[], object]
    ) -> AbstractContextManager[None]:
        """Hear of the release of a run. Its owner sends it, as this process announces to wait."""
        notice = release_notice(self._key(run_id))
        return self._client.notices.hearing(notice, callback, announces=True)

    def on_queued(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Hear of due runs. Others send them, as they see that this process waits."""
        return self._client.notices.hearing(queue_notice(self._flow_key), callback, attends=True)

    def on_ending(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Hear of requests to terminate runs."""
        return self._client.notices.hearing(ending_notice(self._flow_key), callback)

    def open(
        self, run_id: str | None = None, kept: tuple[int, int] | None = None
    ) -> BinaryIO | None:
        """Read a run's newest snapshot, or a retained one, into memory.

        Raises:
            StorageError: The store cannot be read.
        """
        key = self._key(run_id)
        found = self._client.read(lambda connection: connection.read_snapshot(key, kept))
        return None if found is None else io.BytesIO(b"%b%b" % found)

    def _newest_footer(self, key: Key) -> tuple[bytes, int] | None:
        found: tuple[bytes, int] | None = self._client.read(lambda one: one.read_footer(key))
        return found

    def kept(self, run_id: str | None = None) -> list[tuple[int, int]]:
        """List the retained snapshots of a run: number and sequence of each, newest first."""
        if self.keep == 1:
            return []
        key = self._key(run_id)
        return self._client.read(lambda connection: connection.read_kept(key))

    @front_door
    def runs(self, query: Query) -> list[Header]:
        """List the headers of this flow's runs, in the order of the query. No state is read.

        Raises:
            StorageError: The store cannot be read.
        """
        if query.unowned or query.chosen.stale:
            self._client.expire_dead()
        flow, chosen, begin = self._flow_key, query.chosen, page_begin(query, self._store)

        def list_rows(wanted: Query, last: RunRow | None) -> list[RunRow]:
            after = last or begin
            return self._client.read(lambda connection: connection.list_runs(flow, wanted, after))

        decided = self._client.read(lambda connection: connection.decides(chosen))
        header_of = partial(self._header_of, query=query)
        return listed_headers(list_rows, query, header_of, decided=decided)

    def _header_of(self, row: RunRow, query: Query) -> Header | None:
        run_id = stored_text(row.run_id) or None
        try:
            location = self.locate(run_id)
            header = self.codec.peek(row.footer, row.payload_length, location)
            self.check_run(header, run_id, location)
        except CheckpointError as error:
            log_left_out(error, RunPlace(self.flow, run_id))
            return None
        return completed(header, row, query)

    def counts(self, by: Literal["status", "step"]) -> dict[str | None, int]:
        """Count this flow's runs by status, or by next step, in the store itself if it can."""
        return {value: number for (value,), number in self.tally((by,), ALL).items()}

    def tally(self, facts: tuple[CountBy, ...], where: RunFilter) -> Counts:
        """Count this flow's runs in the store itself, or their headers a page at a time."""
        flow = self._flow_key
        counts = self._client.read(lambda connection: connection.tally(flow, facts, where))
        return count_headers(chosen_headers(self.runs, where), facts) if counts is None else counts

    def ownership(self, run_id: str | None = None) -> Ownership:
        """Read the owner of a run, and the record of its last start."""
        key = self._key(run_id)
        found = self._client.read(lambda connection: connection.read_ownership(key))
        return Ownership() if found is None else known_of(found)

    def _prune(self, query: Query, *, trusted: bool = False) -> int:
        """Delete by one statement for many, where the store can and no signature is checked."""
        if trusted and self.codec.signer is not None:
            return super()._prune(query, trusted=trusted)
        self._client.expire_dead()
        pruned = self._prune_rows(query, unsigned=trusted)
        return super()._prune(query, trusted=trusted) if pruned is None else pruned

    def read_ending(
        self,
        run_id: str | None,
        *,
        lock: Lock | None = None,  # noqa: ARG002 - the row is found by its key
    ) -> str | None:
        """Read the reason of the request to terminate a run."""
        key = self._key(run_id)
        request = self._client.read(lambda connection: connection.read_ending(key))
        return None if request is None else decode_reason(request) or ""

    def endings(self, run_ids: Iterable[str | None]) -> dict[str | None, str]:
        """Read the requests of all runs of the flow by one statement."""
        if not self._client.owner_id:  # The store was closed, and no run is in progress.
            return {}
        flow = self._flow_key
        found = self._client.read(lambda connection: connection.read_endings(flow))
        keys = ((run_id, self._key(run_id)[1]) for run_id in run_ids if found)
        return {run_id: decode_reason(found[key]) or "" for run_id, key in keys if key in found}

    def read_progress(
        self,
        run_id: str | None = None,
        *,
        lock: Lock | None = None,  # noqa: ARG002 - the row is found by its key
    ) -> bytes | None:
        """Read the record of a run's progress."""
        key = self._key(run_id)
        record: bytes | None = self._client.read(lambda one: one.read_progress(key))
        return record


def checked_patience(patience: object) -> float:
    """Give the seconds of patience back if they are such."""
    seconds = checked_number("patience=", patience, "a number of seconds")
    if not 0 <= seconds < float("inf"):
        raise InvalidValueError(f"patience={patience!r}: it is a number of seconds, at least 0.")
    return float(seconds)


_public.publish("aiocheckpoint.handlers.leased", globals(), ["LeasedStateHandler"])

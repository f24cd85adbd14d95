"""The handler for the snapshots of many runs in an object store: S3, Google Cloud Storage or Azure.

`CheckpointFlow("s3://...")` makes it. Only then this module is imported, and obstore.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self, Unpack

from aiocheckpoint._model.checks import checked_count
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import InvalidValueError
from aiocheckpoint.handlers._found_snapshots import FoundSnapshot
from aiocheckpoint.handlers._identifiers import checked_path
from aiocheckpoint.handlers._leases import LEASE_SECONDS
from aiocheckpoint.handlers._urls import flow_name
from aiocheckpoint.handlers.leased._handler import PATIENCE_SECONDS, LeasedStateHandler
from aiocheckpoint.handlers.leased._listing import stored_text
from aiocheckpoint.handlers.objects._client import open_objects
from aiocheckpoint.handlers.objects._display_reader import ObjectDisplayReader
from aiocheckpoint.handlers.objects._pruning import Pruning
from aiocheckpoint.handlers.objects._url import is_memory, parse_url, store_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from aiocheckpoint._snapshot.signing import Secrets
    from aiocheckpoint.handlers._options import SnapshotOptions
    from aiocheckpoint.handlers._query import Query
    from aiocheckpoint.handlers._retention import Keep
    from aiocheckpoint.handlers.leased._reading_client import ReadingClient
    from aiocheckpoint.handlers.leased._rows import RunRow
    from aiocheckpoint.handlers.objects._store import ObjectStore

__all__ = ["ObjectStateHandler"]

_CONNECTIONS = 64
_PRUNED = 250
"""Runs that are deleted together."""


class ObjectStateHandler(LeasedStateHandler):
    """Keeps the snapshots of many runs in an object store that many processes and hosts share.

    Each run is one object, with its owner and its newest snapshot. A step is one request, which
    replaces the object only if it is as this process has left it. So an owner that has lost its run
    stores nothing. A claim of a run that goes on stores its object once more, the snapshot in it:
    owner and snapshot are one object, as one condition decides both. All requests are coroutines on
    one loop, in a thread of its own for each bucket.

    Each process has one small object, which it rewrites three times in a lease. Others take its
    runs if that object stays the same for a lease, by their own clocks.

    Lists read the names of small empty objects, which say when a run began and what became of it.
    These are written when a run begins, ends or is claimed to go on, and not with each step. The
    runs of a page are then read themselves, many at once. Counts by status are made of names alone.

    The first use of a prefix proves that the server honours the conditions of writes.

    Args:
        path: The URL: "s3://bucket/prefix", "gs://bucket/prefix" or "az://container/prefix". Its
            query may have the configuration of obstore, such as `?endpoint=...&region=...`
            (https://developmentseed.org/obstore). Credentials come from the environment. Or a store
            of obstore: an `S3Store`, `GCSStore` or `AzureStore`, whose own retries should be few.
        prefix: Where all objects are in a store of obstore. A URL has it in its path.
        keep: How many snapshots of each run are kept, the newest included. "all" keeps every
            snapshot of the last run. With more than 1, a step takes two requests.
        lease: Seconds without a heartbeat after which other processes take the runs of this one.
        patience: Seconds for which a claim, a snapshot or a list waits while the store is out of
            reach.
        connections: How many requests of this process are in progress at once, beside heartbeats.
        flow: Name of the flow, by default the last part of the URL. Flows of several names may
            share a prefix.
        options: `secret=`, `allow=` and `verify=`, see `SnapshotOptions`.

    Attributes:
        path: The URL given. None for a store of obstore.
        keep: How many snapshots of each run are kept.
        lease: Length of a lease in seconds.
        patience: The seconds of patience.
        connections: How many requests are in progress at once.
        flow: Name of the flow.
        key_ids: Ids of the secrets, as `Header.signed_by` has them.

    Raises:
        InvalidTypeError: `path` is no text and no store, or an option is of another type.
        InvalidValueError: `path` is no URL of a bucket, or an option is invalid.
    """

    _shown_options = (
        *LeasedStateHandler._shown_options,  # noqa: SLF001
        ("connections", _CONNECTIONS),
    )
    _store: ObjectStore

    @front_door
    def __init__(
        self,
        path: Any,  # noqa: ANN401 - a URL, or a store of obstore
        *,
        prefix: str = "",
        keep: Keep = 1,
        lease: float = LEASE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        connections: int = _CONNECTIONS,
        flow: str | None = None,
        **options: Unpack[SnapshotOptions],
    ) -> None:
        self.connections: int = checked_count(
            "connections=", connections, "a number of requests at once"
        )
        store = _parsed(path, prefix)
        super().__init__(
            store,
            keep=keep,
            lease=lease,
            patience=patience,
            flow=flow_name(store.location) if flow is None else flow,
            **options,
        )
        self.path: str | os.PathLike[str] | None = path if isinstance(path, str) else None
        self.outlives_process: bool = not is_memory(store.bucket)

    def _connect(self) -> ReadingClient:
        return open_objects(self._store, self.lease, self.patience, self.connections)

    def _prune(self, query: Query, *, trusted: bool = False) -> int:
        """Delete runs by a few requests for many, see `Pruning`."""
        self._client.expire_dead()
        unsigned, flow = trusted and self.codec.signer is None, self._flow_key
        keys = [(flow, self._store.text(one.run_id or "")) for one in self.runs(query)]

        def wants(row: RunRow) -> bool:
            header = self._header_of(row, query)
            return header is not None and not (unsigned and header.signed_by)

        groups = (keys[begin : begin + _PRUNED] for begin in range(0, len(keys), _PRUNED))
        return sum(self._prune_some(Pruning(some, wants)) for some in groups)

    def _prune_some(self, pruning: Pruning) -> int:
        try:
            self._client.call(lambda statements: statements.prune(pruning))
            return pruning.count
        finally:
            for release in pruning.left():
                self._client.ask(release, None)

    def reader(self, secret: Secrets | None = None) -> ObjectDisplayReader:
        """Make the reader of the bucket for displays, which changes nothing of it."""
        return ObjectDisplayReader(self, self, secret)

    def exists(self) -> bool:
        """Whether the prefix was ever written.

        Raises:
            StorageError: The bucket cannot be read.
        """
        return self._client.read(lambda reader: reader.is_used()) is True

    def missing_words(self) -> str:
        """Say which parts of the URL may be other ones."""
        return (
            "No run has been stored below this prefix. Is it the URL that the flow was given, with "
            "the same endpoint?"
        )

    def flow_names(self) -> tuple[str, ...]:
        """Names of the flows that have objects under the prefix.

        Raises:
            StorageError: The bucket cannot be read.
        """
        found: list[bytes] = self._client.read(lambda reader: reader.read_flows())
        return tuple(sorted(map(stored_text, found)))

    def of_flow(self, flow: str) -> Self:
        """Give the handler of another flow under the same prefix, for reading."""
        if flow == self.flow:
            return self
        other = type(self).__new__(type(self))  # Not by a pickle, which memory refuses.
        vars(other).update(vars(self), flow=flow)
        return other

    def all_kept(self, run_id: str | None) -> list[tuple[int, int]]:
        """List the kept snapshots of a run, whatever this handler keeps."""
        key = self._key(run_id)
        found: list[tuple[int, int]] = self._client.read(lambda reader: reader.read_kept(key))
        return found

    def find_snapshots(self, run_id: str | None) -> Iterator[FoundSnapshot]:
        """Find a run, in each flow where this handler has none. See `StateHandler`."""
        for name in (self.flow,) if self.flow else self.flow_names():
            handler = self.of_flow(name)
            opened = partial(handler.open, run_id)
            known = handler.ownership(run_id)
            yield FoundSnapshot(handler.locate(run_id), run_id, name, opened, known)

    def find_all_snapshots(self) -> Iterator[FoundSnapshot]:
        """Find all runs, of each flow where this handler has none."""
        for name in (self.flow,) if self.flow else self.flow_names():
            handler = self.of_flow(name)
            for header in handler.headers():
                yield from handler.find_snapshots(header.run_id)


def _parsed(path: Any, prefix: str) -> ObjectStore:  # noqa: ANN401
    if not isinstance(path, str):
        return store_of(path, prefix)
    if prefix:
        raise InvalidValueError(f"prefix= belongs to a store: write it into the URL, as {path}/...")
    return parse_url(checked_path(path))

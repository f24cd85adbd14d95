"""The threads in which a loop calls the blocking functions of a store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency.threads import (
    SNAPSHOTS,
    make_maintenance_threads,
    make_store_threads,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
    from aiocheckpoint.handlers._port import SnapshotPort

__all__ = ["THREADS", "maintenance_threads_of", "threads_of"]

_ATTRIBUTE, _MAINTENANCE = THREADS = "_store_threads", "_maintenance_threads"
"""The attributes of a handler that hold its threads."""


def threads_of(handler: SnapshotPort) -> DaemonThreads:
    """Give the threads of a handler: those of all local files, or its own."""
    if handler.is_local:
        return SNAPSHOTS
    return _own_threads(handler, _ATTRIBUTE, partial(make_store_threads, handler.answers))


def maintenance_threads_of(handler: SnapshotPort) -> DaemonThreads:
    """Give a handler's threads for `backup` and `compact`, so that they keep no snapshot waiting.

    Each handler has its own, local files included: a copy to a place that hangs holds up no other.
    """
    return _own_threads(handler, _MAINTENANCE, make_maintenance_threads)


def _own_threads(
    handler: SnapshotPort, name: str, make: Callable[[], DaemonThreads]
) -> DaemonThreads:
    own: DaemonThreads | None = vars(handler).get(name)
    # Without a lock: of two that ask at the same time, one gets the other's threads.
    return own or vars(handler).setdefault(name, make())

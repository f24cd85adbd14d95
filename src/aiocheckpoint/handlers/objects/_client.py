"""The client of a bucket: one loop for all handlers with the same bucket and options."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiocheckpoint.handlers.leased._client import open_client
from aiocheckpoint.handlers.leased._loop_writer import LoopWriter
from aiocheckpoint.handlers.leased._notices import Notices
from aiocheckpoint.handlers.leased._patience import Patience
from aiocheckpoint.handlers.leased._reading_client import ReadingClient
from aiocheckpoint.handlers.objects._processor import ObjectProcessor, Read

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint.handlers.objects._store import ObjectStore

__all__ = ["ObjectClient", "open_objects"]

_Result = TypeVar("_Result")


class ObjectClient(ReadingClient):
    """A bucket as this process uses it.

    Args:
        store: The store.
        lease: Length of a lease in seconds.
        patience: Seconds for which requests are repeated while the store is out of reach.
        connections: How many requests to the bucket are in progress at once.
    """

    def __init__(self, store: ObjectStore, lease: float, patience: float, connections: int) -> None:
        self.patience = Patience(store.location, patience, time)
        self.answers = self.patience.answers
        self.notices = Notices(_nobody_tells, time)
        processor = ObjectProcessor(store, lease, self.patience, connections)
        super().__init__(store.location, processor, LoopWriter(processor), _nothing_open)

    def read(self, function: Callable[[Any], _Result]) -> _Result:
        """Call a function with the reader of the bucket. What it returns is awaited on the loop."""
        return cast("_Result", self.ask(Read(function), None).wait())


def open_objects(
    store: ObjectStore, lease: float, patience: float, connections: int
) -> ObjectClient:
    """Give the client of a bucket, one for all handlers with the same bucket and options."""
    key = ObjectClient, store, lease, patience, connections
    return open_client(key, lambda: ObjectClient(store, lease, patience, connections))


def _nobody_tells() -> None:
    return None


def _nothing_open() -> None:
    pass

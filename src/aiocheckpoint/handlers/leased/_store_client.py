"""The client of a store that is reached by a `LeasedStore`."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from aiocheckpoint.handlers.leased._client import open_client
from aiocheckpoint.handlers.leased._notices import Notices
from aiocheckpoint.handlers.leased._patience import Patience
from aiocheckpoint.handlers.leased._readers import Readers
from aiocheckpoint.handlers.leased._reading_client import ReadingClient
from aiocheckpoint.handlers.leased._store_processor import StoreProcessor
from aiocheckpoint.handlers.leased._writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.giving_up import Answers
    from aiocheckpoint.handlers.leased._connection import StoreConnection
    from aiocheckpoint.handlers.leased._store import LeasedStore

__all__ = ["ConnectedClient", "open_connected"]

_Result = TypeVar("_Result")


class ConnectedClient(ReadingClient):
    """A store as this process uses it, by one connection that writes, and some that read.

    Args:
        store: The store.
        lease: Length of a lease in seconds.
        patience: Seconds for which requests are repeated while the store is out of reach.
    """

    def __init__(self, store: LeasedStore, lease: float, patience: float) -> None:
        self._readers = Readers(store)
        self.patience: Patience = Patience(store.location, patience, time)
        self.answers: Answers = self.patience.answers
        self.notices: Notices = Notices(store.listen, time)
        processor = StoreProcessor(store, lease, self.patience, notices=self.notices)
        super().__init__(store.location, processor, Writer(processor), self._readers.close)

    def read(self, function: Callable[[StoreConnection], _Result]) -> _Result:
        """Call a function with a connection for reading. It is repeated like a request.

        Raises:
            StorageError: The store cannot be read.
        """
        return self.patience.repeat(partial(self._readers.read, function))

    def expire_dead(self) -> None:
        """Free the runs of every dead owner.

        Two looks are needed, half a second apart, at an owner whose session has ended. A single
        call shall find it, as recovery makes one after the start of a process.
        """
        seconds = self.call(self._processor.expire_dead)
        if seconds is not None:
            time.sleep(seconds)
            self.call(self._processor.expire_dead)


def open_connected(store: LeasedStore, lease: float, patience: float) -> ConnectedClient:
    """Give the client of a store, one for all handlers with the same store and options."""
    key = type(store), store, lease, patience
    return open_client(key, partial(ConnectedClient, store, lease, patience))

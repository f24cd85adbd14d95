"""Connections of a store for reading."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from aiocheckpoint.handlers.leased._store import connect_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint.handlers.leased._connection import StoreConnection
    from aiocheckpoint.handlers.leased._store import LeasedStore

__all__ = ["Readers"]

_Result = TypeVar("_Result")
_MOST_IDLE = 4
"""As many as a handler has threads."""


class Readers:
    """Connections for reading, each used by one thread at a time.

    There is no lock. A signal handler or a finalizer may read or close in the midst of a reading,
    and gets a connection of its own.

    Args:
        store: The store.
    """

    def __init__(self, store: LeasedStore) -> None:
        self._store = store
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._idle: list[StoreConnection] = []
        self._closed = object()

    def read(self, function: Callable[[StoreConnection], _Result]) -> _Result:
        """Call a function with a connection. One that has failed is not used again."""
        if self._pid != os.getpid():  # A forked child: they are its parent's.
            for connection in self._idle:
                connection.abandon()
            self._reset()
        closed = self._closed
        connection = self._pop_usable() or connect_to(self._store, writes=False)
        try:
            result = function(connection)
        except BaseException:
            connection.close()
            self.close()  # What has ended one connection has often ended the others.
            raise
        self._idle.append(connection)
        if self._closed is not closed or len(self._idle) > _MOST_IDLE:
            self.close()
        return result

    def close(self) -> None:
        """Close all connections, now or when they are read no more."""
        self._closed = object()  # Before the look, as `read` does the reverse.
        while (connection := self._pop()) is not None:
            if self._pid == os.getpid():
                connection.close()
            else:
                connection.abandon()

    def _pop_usable(self) -> StoreConnection | None:
        while (connection := self._pop()) is not None and connection.is_lost():
            connection.close()
        return connection

    def _pop(self) -> StoreConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

"""The place of a leased store."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from aiocheckpoint.errors import CheckpointError, StorageError

if TYPE_CHECKING:
    from aiocheckpoint.handlers.leased._connection import StoreConnection
    from aiocheckpoint.handlers.leased._listener import StoreListener

__all__ = ["LeasedStore", "StorePlace", "connect_to"]


class StorePlace(ABC):
    """What the base needs to know of a store, beside its statements.

    Attributes:
        kind: The kind of the store for messages, such as "PostgreSQL".
        largest_payload: The most bytes that a snapshot may have beside its footer.
    """

    kind: ClassVar[str]
    largest_payload: ClassVar[int] = sys.maxsize

    @property
    @abstractmethod
    def location(self) -> str:
        """The place for messages, without a password."""

    def text(self, text: str) -> str | bytes:
        """Give a flow's name or a run id as the store has it. By default bytes in UTF-8.

        A run id may hold NUL and lone surrogates.
        """
        return text.encode("utf-8", "surrogatepass")


def connect_to(store: LeasedStore, *, writes: bool) -> StoreConnection:
    """Connect, by the method of the store's author.

    Raises:
        StorageError: As `LeasedStore.connect`, or that gave no connection.
        Exception: Another error of the author's, with a note. `check_handler` finds such a fault.
    """
    connect = f"{type(store).__name__}.connect()"
    try:
        made: StoreConnection | None = store.connect(writes=writes)
    except CheckpointError:
        raise
    except Exception as error:
        error.add_note(
            f"aiocheckpoint: {connect} has let out this error of {store.location}. Its author "
            "raises a StoreUnreachableError for an outage, and a StorageError with the remedy for "
            "all else."
        )
        raise
    if made is None:  # pyright: ignore[reportUnnecessaryComparison] - an author may be wrong
        raise StorageError(store.location, f"{connect} returned None, and no StoreConnection.")
    return made


class LeasedStore(StorePlace):
    """A place, and how to connect to it.

    Handlers with equal stores share one writer in this process. So a store is hashable, and equal
    to another one of the same place and options. A frozen dataclass serves well. It holds neither a
    connection nor a handler.
    """

    @abstractmethod
    def connect(self, *, writes: bool) -> StoreConnection:
        """Connect. Make or migrate the tables on the way, if `writes`.

        Args:
            writes: Whether the connection is the writer's. There is one of these in a process.
                Connections for reading are made as they are needed, and kept for the next reading.

        Raises:
            StorageError: It cannot be used as it is, with the remedy. A `StoreUnreachableError`
                where it is out of reach for the moment.
        """

    def listen(self) -> StoreListener | None:
        """Connect, to hear the notices that other processes send by `StoreConnection.notify`.

        Returns:
            The connection. None where nothing can be heard, so that everybody has to look. By
            default it is None.

        Raises:
            StorageError: As `connect`.
        """
        return None

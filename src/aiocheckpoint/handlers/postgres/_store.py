"""A schema in a PostgreSQL database as a place of many runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from aiocheckpoint.handlers.leased import LeasedStore
from aiocheckpoint.handlers.postgres._connecting import connect
from aiocheckpoint.handlers.postgres._connection import PostgresConnection
from aiocheckpoint.handlers.postgres._notifications import PostgresListener

if TYPE_CHECKING:
    from aiocheckpoint.handlers.postgres._url import ServerAddress

__all__ = ["PostgresStore"]

_LONGEST_ANSWER, _SHORTEST_ANSWER = 15.0, 1.0


@dataclass(frozen=True)
class PostgresStore(LeasedStore):
    """A schema in a database.

    Attributes:
        address: The server, the database and the schema.
        seconds_to_answer: How long a connection waits for an answer until it counts as lost.
        seconds_to_read: The same for connections for reading. Counts of millions of runs take long.
    """

    kind: ClassVar[str] = "PostgreSQL"
    largest_payload: ClassVar[int] = 900_000_000
    """A value has less than 1 GB, and so has a message to the server, which holds the footer too
    (MaxAllocSize in https://github.com/postgres/postgres, memutils.h, and PQ_LARGE_MESSAGE_LIMIT,
    libpq.h)."""

    address: ServerAddress
    seconds_to_answer: float
    seconds_to_read: float

    @classmethod
    def of(cls, address: ServerAddress, patience: float) -> PostgresStore:
        """Make the store of a handler with this patience, within which it tries more than once."""
        seconds = min(_LONGEST_ANSWER, max(_SHORTEST_ANSWER, patience / 3))
        return cls(address, seconds, max(_SHORTEST_ANSWER, patience))

    @property
    def location(self) -> str:
        """The place for messages, without a password."""
        return self.address.place

    def listen(self) -> PostgresListener | None:
        """Connect for notifications. None behind a pooler, which passes none on."""
        server = connect(self.address, writes=True, seconds_to_answer=self.seconds_to_answer)
        if server.is_pooled:
            server.close()
            return None
        return PostgresListener(server)

    def connect(self, *, writes: bool) -> PostgresConnection:
        """Connect, and make or migrate the tables on the way, if `writes`."""
        seconds = self.seconds_to_answer if writes else self.seconds_to_read
        server = connect(self.address, writes=writes, seconds_to_answer=seconds)
        try:
            return PostgresConnection(server, writes=writes)
        except BaseException:
            server.close()
            raise

"""One connection of psycopg, as the statements of this store use it.

Names of tables are qualified by the schema, because the `search_path` is the user's. Behind a
pooler, each transaction may have another session of the server. So no setting, prepared statement
or lock may outlive a transaction there.
"""

from __future__ import annotations

import os
import selectors
import time
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import pq
from psycopg.rows import TupleRow

from aiocheckpoint._concurrency.giving_up import is_given_up, stall_seconds
from aiocheckpoint.errors import StorageError
from aiocheckpoint.handlers.postgres._errors import translate_error
from aiocheckpoint.handlers.postgres._packing import Call, Whole, WholeDumper

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from psycopg.abc import PQGen

    from aiocheckpoint.handlers.postgres._packing import RowStatement
    from aiocheckpoint.handlers.postgres._url import ServerAddress

__all__ = ["Link", "ServerConnection", "in_schema"]

_Result = TypeVar("_Result")

_LIMITS = "lock_timeout = '1s'", "idle_in_transaction_session_timeout = '10s'"
"""A process that is stopped within a transaction, or cut off, holds its rows for so long."""

_BRIEF_LIMIT = "SET LOCAL lock_timeout = '20ms'"

_ISOLATION = "default_transaction_isolation = 'read committed'"
"""The statements decide by what others have committed. A database may have another default."""

_LARGE_BYTES = 1 << 26

_BYTES_A_SECOND = 4e6
"""The least that a server and its network are expected to take of a large snapshot."""


class Link(psycopg.Connection[TupleRow]):
    """A connection that waits for an answer, or for the next part of one, for a limited time.

    A frozen network gives no error: the kernel's own limits count unacknowledged data alone.
    """

    seconds_to_answer: float = float("inf")

    def wait(self, gen: PQGen[_Result], *args: Any, **options: Any) -> _Result:  # noqa: ANN401
        """Consume a generator of psycopg.

        Raises:
            psycopg.OperationalError: Nothing came for so long.
        """
        return super().wait(_limited(gen, self.seconds_to_answer), *args, **options)


def _limited(gen: PQGen[_Result], seconds: float) -> PQGen[_Result]:
    """Give a generator of psycopg an end: psycopg sends 0 to it while nothing happens."""
    since = time.monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready:
                since = time.monotonic()
            elif (silence := time.monotonic() - since) > seconds or (
                silence > stall_seconds() and is_given_up()
            ):
                raise psycopg.OperationalError(f"no answer came within {silence:.3g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        result: _Result = end.value
        return result


class ServerConnection:
    """A connection, and the schema of the tables. Used by one thread at a time.

    Args:
        link: The connection, in autocommit mode.
        address: The server.
        seconds_to_answer: How long an answer of the server may take, beside the time for the bytes
            of a large snapshot.
        is_pooled: Whether a pooler stands between.
        writes: Whether it is to write. Without, the server refuses each write in a transaction, and
            without a pooler any other one too.
    """

    def __init__(
        self,
        link: Link,
        address: ServerAddress,
        seconds_to_answer: float,
        *,
        is_pooled: bool,
        writes: bool,
    ) -> None:
        self.link = link
        self.address = address
        self.is_pooled = is_pooled
        self._seconds_to_answer = seconds_to_answer
        self._is_large = False
        link.seconds_to_answer = seconds_to_answer
        link.adapters.register_dumper(Whole, WholeDumper)
        self._begin = "BEGIN ISOLATION LEVEL READ COMMITTED" + ("" if writes else ", READ ONLY")
        if is_pooled:
            limits = "; ".join(f"SET LOCAL {limit}" for limit in _LIMITS)
            self._begin = f"{self._begin}; {limits}"
        else:
            settings = [*_LIMITS, _ISOLATION]
            if not writes:
                settings.append("default_transaction_read_only = on")
            self._simply("; ".join(f"SET {setting}" for setting in settings))

    def rows(
        self,
        statement: str,
        values: Mapping[str, Any] | tuple[Any, ...] = (),
        *,
        doing: str = "reading",
    ) -> list[tuple[Any, ...]]:
        """Execute a statement, and give its rows.

        Args:
            statement: The statement, with SCHEMA for the name of the schema.
            values: Its values, by name or by place.
            doing: The work for messages, a gerund.

        Raises:
            StorageError: The server refused it, or is out of reach.
        """
        call = Call(statement, values)
        return self._guarded(lambda: self._execute(call).fetchall(), doing)

    @property
    def commits_alone(self) -> bool:
        """Whether the next statement commits by itself: no transaction has begun."""
        return self.link.pgconn.transaction_status == pq.TransactionStatus.IDLE

    def note_size(self, size: int) -> None:
        """Note that so many bytes were read or written at once."""
        self._is_large = self._is_large or size > _LARGE_BYTES

    def write(self, statement: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> int:
        """Execute a statement that writes, and give the number of rows that it has written.

        Args:
            statement: The statement, with SCHEMA for the name of the schema.
            values: Its values, by name or by place.

        Raises:
            StorageError: The server refused it, or is out of reach.
        """
        return self.write_call(Call(statement, values))

    def write_rows(
        self, statement: RowStatement, rows: Sequence[tuple[Any, ...]], **common: object
    ) -> int:
        """Do as `write`, by one statement for all rows, one at least.

        Args:
            statement: The statement.
            rows: The values of each row.
            common: Other values of the statement.
        """
        return self.write_call(statement.call(rows, **common))

    def rows_of(
        self, statement: RowStatement, rows: Sequence[tuple[Any, ...]], **common: object
    ) -> list[tuple[Any, ...]]:
        """Do as `write_rows`, and give the rows of the statement."""
        return self.rows_of_call(statement.call(rows, **common))

    def rows_of_call(self, call: Call) -> list[tuple[Any, ...]]:
        """Execute a statement that writes, and give its rows."""
        return self._guarded(lambda: self._execute(call).fetchall(), "writing")

    def together(self, calls: Sequence[Call]) -> list[psycopg.Cursor[TupleRow]] | None:
        """Execute statements in one transaction and one round trip.

        Returns:
            Their cursors. None behind a pooler, some of which do not take several statements at
            once, and where libpq is too old for it.

        Raises:
            StorageError: One of them was refused, or the server is out of reach.
        """
        if self.is_pooled or not psycopg.Pipeline.is_supported():
            return None
        return self._guarded(lambda: self._pipelined(calls), "writing")

    def _pipelined(self, calls: Sequence[Call]) -> list[psycopg.Cursor[TupleRow]]:
        size = sum(call.size for call in calls)
        with self.link.pipeline():
            return [self._execute(call, size) for call in calls]

    def write_call(self, call: Call) -> int:
        """Execute a statement that writes, and give the number of rows that it has written."""
        return self._guarded(lambda: self._execute(call).rowcount, "writing")

    def _execute(self, call: Call, size: int | None = None) -> psycopg.Cursor[TupleRow]:
        """Execute a statement, with time for so many bytes, by default its own."""
        size = call.size if size is None else size
        self.note_size(size)
        self.link.seconds_to_answer = self._seconds_to_answer + size / _BYTES_A_SECOND
        statement = in_schema(call.statement, self.address.schema)
        return self.link.execute(statement, call.values, prepare=call.prepare, binary=True)

    @contextmanager
    def transaction(self, *, briefly: bool = False) -> Generator[None, None, None]:
        """Commit all statements of a `with` block together, or none of them after an exception.

        Args:
            briefly: Whether a statement hardly waits for a row that another transaction holds.

        Raises:
            StorageError: It cannot begin or be committed.
        """
        self._simply(f"{self._begin}; {_BRIEF_LIMIT}" if briefly else self._begin)
        try:
            yield
        except BaseException:
            with suppress(psycopg.Error):
                self.link.execute("ROLLBACK")
            raise
        # In a transaction with a failed statement it is no error, and rolls back.
        if self._simply("COMMIT") != "COMMIT":
            raise StorageError(
                self.address.place,
                f"writing {self.address.place} failed: the transaction was rolled back, because a "
                "statement in it had failed. Run again to resume from the stored state.",
            )

    def close(self) -> None:
        """Close the connection. Raises nothing."""
        with suppress(psycopg.Error, OSError):
            self.link.close()

    def is_lost(self) -> bool:
        """Whether the connection is known to be lost: by the end of its socket, without a query.

        One that has carried a large snapshot counts as well, as libpq keeps its buffer for ever.
        """
        pgconn = self.link.pgconn
        if self._is_large and pgconn.transaction_status == pq.TransactionStatus.IDLE:
            return True
        with suppress(psycopg.Error, OSError):
            while pgconn.status == pq.ConnStatus.OK and _is_readable(pgconn.socket):
                pgconn.consume_input()  # Raises psycopg's error at the end.
                while pgconn.notifies() is not None:
                    pass
            return pgconn.status != pq.ConnStatus.OK
        return True

    def abandon(self) -> None:
        """Close the socket in a forked child, without a word to the server, whose session goes on.

        psycopg says goodbye only in the process that has connected.
        """
        with suppress(psycopg.Error, OSError):
            os.close(self.link.pgconn.socket)

    def _simply(self, statements: str) -> str | None:
        """Execute statements without values, which go to the server in one message.

        Returns:
            What the server has done, in a word.
        """
        return self._guarded(
            lambda: self.link.execute(statements.encode()).statusmessage, "writing"
        )

    def _guarded(self, work: Callable[[], _Result], doing: str) -> _Result:
        try:
            return work()
        except psycopg.Error as error:
            failure = translate_error(error, self.address, doing)
        # Outside of the handler: a traceback would show psycopg's error, and its secrets, as well.
        raise failure


def _is_readable(descriptor: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))


@lru_cache
def in_schema(statement: str, schema: str) -> bytes:
    """Give a statement with the name of its schema.

    Args:
        statement: The statement, with SCHEMA for the name.
        schema: The name, as `checked_schema` lets it pass.
    """
    return statement.replace("SCHEMA.", f'"{schema}".').encode()

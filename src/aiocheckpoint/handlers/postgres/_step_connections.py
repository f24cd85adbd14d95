"""The connections of psycopg that steps get for their own SQL, and the rules of their use.

A step's connection and the library's own are two objects of psycopg on one connection of libpq.
They have nothing in common but the server's session. So settings that a step makes on its object,
such as a row factory or adapters, are gone with the attempt. A loader may be a coroutine and its
step a sync function: each gets an object of its own kind, in the same transaction.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import anyio
import psycopg
from psycopg import pq
from psycopg.rows import TupleRow, tuple_row

from aiocheckpoint._concurrency import forks
from aiocheckpoint.errors import StepTransactionError
from aiocheckpoint.handlers.postgres._unawaited import StepCursor, UnawaitedStatements

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from psycopg.abc import Params, PQGen, Query

__all__ = ["AsyncStepConnection", "ConnectionUse", "StepConnection"]

_TOO_LONG = {
    "25P03": "it stood idle for longer than idle_in_transaction_session_timeout",
    "25P04": "it took longer than transaction_timeout",
}
"""SQLSTATEs with which a server ends a transaction because of what the step does."""

_Result = TypeVar("_Result")

_ENDS_WITH_ATTEMPT = (
    "It is committed with the snapshot behind the step. To roll it back, raise an exception. A "
    "part that may fail alone belongs into a block of connection.transaction(), which is a "
    "savepoint."
)


class ConnectionUse:
    """The use of a connection by a step, from the begin of the transaction to the attempt's end.

    libpq frees its memory when a connection is closed. So while a thread or task waits for an
    answer, nobody else closes it.

    Args:
        link: The library's own object of psycopg on the connection, in a transaction.
        step: Name of the step, for messages.

    Attributes:
        pgconn: The connection of libpq.
        unawaited: The statements of coroutines that nobody has awaited yet.
    """

    def __init__(self, link: psycopg.Connection[TupleRow], step: str) -> None:
        self.pgconn: pq.abc.PGconn = link.pgconn
        self.unawaited: UnawaitedStatements = UnawaitedStatements()
        self._link = link  # psycopg warns if it goes before the connection is closed.
        self._step = step
        self._process = forks.process
        self._lock = threading.Lock()
        self._waits = 0
        self._has_ended = self._is_to_be_closed = self._was_ended_by_step = False

    @contextmanager
    def waiting(self) -> Generator[None, None, None]:
        """Note that a statement of the step is being executed, in a `with` block.

        Raises:
            StepTransactionError: The step may not use the connection any more. Or its statement
                has ended the transaction.
        """
        self._begin_wait()
        try:
            yield
        finally:
            self._end_wait()
        if self._was_ended_by_step:
            raise self.refusal("was ended by the step's own SQL")

    def _begin_wait(self) -> None:
        if self._process is not forks.process:
            raise StepTransactionError(
                self._step,
                "this process was forked during the step, and the connection is its parent's",
                "Open a connection of its own here, or let the parent execute the SQL.",
            )
        with self._lock:
            if not self._has_ended:
                self._waits += 1
                return
        raise StepTransactionError(
            self._step,
            "the attempt has ended, and with it the use of its connection",
            "Take a connection in each step, by current_step().connection(), and await what a step "
            "has started before it returns.",
        )

    def _end_wait(self) -> None:
        with self._lock:
            self._waits -= 1
            if self.pgconn.transaction_status == pq.TransactionStatus.IDLE:
                self._was_ended_by_step = True
            if self._is_to_be_closed and not self._waits:
                self.pgconn.finish()

    @property
    def is_in_use(self) -> bool:
        """Whether a statement is being executed, or rows of one are still to be read."""
        return self._waits > 0 or self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE

    @property
    def is_lost(self) -> bool:
        """Whether the connection broke, or was closed."""
        return self.pgconn.status != pq.ConnStatus.OK

    def ended_by_step(self, error: BaseException | None = None) -> StepTransactionError | None:
        """Make the error for a connection that is lost because of the step. None for another loss.

        Args:
            error: What came out of a statement, or of the step.
        """
        if getattr(self.pgconn, "pgconn_ptr", self) is None:  # libpq has freed its memory.
            return self.refusal("its connection was closed in the step")
        code = error.sqlstate if isinstance(error, psycopg.Error) else None
        if code not in _TOO_LONG:
            return None
        return StepTransactionError(
            self._step,
            f"the server ended it, because {_TOO_LONG[code]} allows",
            "Take the connection behind slow calls, or let the server allow more.",
        )

    @property
    def has_ended(self) -> bool:
        """Whether the step may not use it any more."""
        return self._has_ended

    def end(self) -> None:
        """Let the step not use it any more."""
        with self._lock:
            self._has_ended = True

    def close(self, *, is_left: bool = False) -> None:
        """Close the connection, now or behind the statement that is being executed.

        Args:
            is_left: Whether nobody waits for that statement any more, as its loop is closed.
        """
        with self._lock:
            self._has_ended = self._is_to_be_closed = True
            if (is_left or not self._waits) and self._process is forks.process:
                self.pgconn.finish()

    def check(self) -> None:
        """Check, behind the step, that the transaction can be committed.

        Raises:
            StepTransactionError: It cannot.
        """
        forgotten = self.unawaited.first
        if forgotten is not None:
            raise StepTransactionError(
                self._step,
                f"{forgotten} was not awaited, so that the server never got it",
                "Write `await` in front of each execute() of a coroutine.",
            )
        if self.is_in_use:
            raise StepTransactionError(
                self._step,
                "a statement is still being executed, or rows of one are still to be read",
                "Await what the step has started before it returns, and close streams, cursors of "
                "COPY and pipelines.",
            )
        if self._was_ended_by_step:
            raise self.refusal("was ended by the step's own SQL")
        if self.pgconn.transaction_status == pq.TransactionStatus.INERROR:
            raise StepTransactionError(
                self._step,
                "a statement has failed or was cancelled, and the step went on, so that the server "
                "would commit nothing of it",
                "Let the exception through. Or put what may fail, or a stream of rows that may be "
                "left early, into a block of connection.transaction(), which is a savepoint.",
            )

    def refusal(self, problem: str) -> StepTransactionError:
        """Make the error for what the step may not do."""
        return StepTransactionError(self._step, problem, _ENDS_WITH_ATTEMPT)


class _Ruled:
    """What a step may not do with its connection, for both kinds."""

    _use: ConnectionUse

    def __del__(self) -> None:
        """Do nothing: the connection belongs to the store."""

    @property
    def closed(self) -> bool:
        """Whether the step can use it no more."""
        return self._use.has_ended or self._use.is_lost

    @property
    def autocommit(self) -> bool:
        """False: all is in one transaction."""
        return False

    @autocommit.setter
    def autocommit(self, _: bool) -> None:
        self._refuse("the step switched it to autocommit")

    def _refuse(self, problem: str) -> NoReturn:
        raise self._use.refusal(problem)


class StepConnection(_Ruled, psycopg.Connection[TupleRow]):  # type: ignore[misc]
    """The connection of a sync function.

    Args:
        use: The connection of libpq, and its use by the step.
    """

    def __init__(self, use: ConnectionUse) -> None:
        self._use = use
        super().__init__(use.pgconn, tuple_row)
        self.prepare_threshold = None  # Behind a pooler, the next attempt has another session.

    def wait(self, gen: PQGen[_Result], *args: Any, **options: Any) -> _Result:  # noqa: ANN401
        with self._use.waiting():
            return super().wait(gen, *args, **options)

    def commit(self) -> None:
        self._refuse("the step called commit()")

    def rollback(self) -> None:
        self._refuse("the step called rollback()")

    def close(self) -> None:
        self._refuse("the step called close()")

    def set_autocommit(self, value: bool) -> None:  # noqa: FBT001 - as in psycopg
        del value
        self._refuse("the step called set_autocommit()")

    def set_read_only(self, value: bool | None) -> None:  # noqa: FBT001 - as in psycopg
        del value
        self._refuse("the step called set_read_only()")

    def __enter__(self) -> Self:
        self._refuse("the step used it in a `with` statement")


class AsyncStepConnection(_Ruled, psycopg.AsyncConnection[TupleRow]):  # type: ignore[misc]
    """The connection of a coroutine.

    Args:
        use: The connection of libpq, and its use by the step.
    """

    def __init__(self, use: ConnectionUse) -> None:
        self._use = use
        super().__init__(use.pgconn, tuple_row)
        self.prepare_threshold = None
        self.cursor_factory = StepCursor

    @property
    def unawaited(self) -> UnawaitedStatements:
        """The statements that nobody has awaited yet, for cursors."""
        return self._use.unawaited

    # A plain function, as it notes the statement before it is awaited.
    def execute(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        query: Query,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
    ) -> Coroutine[Any, Any, psycopg.AsyncCursor[TupleRow]]:
        call: Any = super().execute  # Two overloads, by the kind of query.
        return self.unawaited.watch(
            query, lambda: call(query, params, prepare=prepare, binary=binary)
        )

    async def wait(self, gen: PQGen[_Result], *args: Any, **options: Any) -> _Result:  # noqa: ANN401
        with self._use.waiting():
            return await super().wait(gen, *args, **options)

    async def _try_cancel(self, **options: Any) -> None:  # noqa: ANN401
        # An anyio scope cancels each `await`. psycopg would close the connection before it has told
        # the server, which would go on with the statement and hold its locks.
        with anyio.CancelScope(shield=True):
            await super()._try_cancel(**options)

    async def commit(self) -> None:
        self._refuse("the step called commit()")

    async def rollback(self) -> None:
        self._refuse("the step called rollback()")

    async def close(self) -> None:
        self._refuse("the step called close()")

    async def set_autocommit(self, value: bool) -> None:  # noqa: FBT001 - as in psycopg
        del value
        self._refuse("the step called set_autocommit()")

    async def set_read_only(self, value: bool | None) -> None:  # noqa: FBT001 - as in psycopg
        del value
        self._refuse("the step called set_read_only()")

    async def __aenter__(self) -> Self:
        self._refuse("the step used it in an `async with` statement")

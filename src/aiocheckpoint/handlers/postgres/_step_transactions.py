"""The transaction of a step's attempt: the step's own SQL and its snapshot in one commit.

A lost answer to a commit is decided by looking. The look locks the row of the run, which the
transaction has written. So it waits until that transaction has ended on the server, where it may
still be known after its connection broke. Until a look has decided, nothing else is written for the
run: it could be written over, or wait for the row.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg import pq

from aiocheckpoint._concurrency.giving_up import giving_up_after, is_given_up, stall_seconds
from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint._concurrency.stalls import StalledError
from aiocheckpoint._concurrency.threads import call_store
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint.errors import LeaseLostError, StorageError, StoreUnreachableError
from aiocheckpoint.handlers._step_transactions import TransactionLostError
from aiocheckpoint.handlers.leased._batches import into_batches
from aiocheckpoint.handlers.leased._saves import save as save_batch
from aiocheckpoint.handlers.postgres._errors import translate_error
from aiocheckpoint.handlers.postgres._step_connections import (
    AsyncStepConnection,
    ConnectionUse,
    StepConnection,
)
from aiocheckpoint.handlers.postgres._step_pool import execute, execute_raw, is_read_only

if TYPE_CHECKING:
    import asyncio

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
    from aiocheckpoint._concurrency.slots import Interruptions
    from aiocheckpoint._model.header import Header
    from aiocheckpoint.handlers.leased._requests import Save
    from aiocheckpoint.handlers.postgres._connection import PostgresConnection
    from aiocheckpoint.handlers.postgres._step_pool import BegunTransaction, StepConnectionPool

__all__ = ["PostgresStepTransaction"]

_BEFORE_SAVING = (
    "SET LOCAL lock_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '10s'; "
    "RESET statement_timeout; RESET SESSION AUTHORIZATION; RESET ROLE; "
    "SELECT extract(epoch FROM now())::text, current_setting('transaction_read_only')"
)
"""A process that is cut off before it commits holds the row of its run for so long. A role or limit
of the step is not for the library's own statements. The time tells the transaction from one that
the step has begun by SQL such as COMMIT AND CHAIN."""

_STORED = "SELECT token, footer FROM SCHEMA.runs WHERE id = %(run)s FOR UPDATE"
_ROLLBACK_SECONDS = 1.0
_LOOK_SECONDS = 0.5
"""How soon a drain ends the wait for a server out of reach."""


class SavingRun(Protocol):
    """A run whose snapshots transactions of its steps store.

    Attributes:
        location: The run, for messages.
        is_decided: Whether it is known if the last commit has taken place.
    """

    location: str
    is_decided: bool

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the run, or None if its thread may be blocked."""
        ...

    async def make_save(
        self, header: Header, state: dict[str, Any], step: str | None, *, drops_progress: bool
    ) -> Save:
        """Make the snapshot and the request to store it.

        Raises:
            LeaseLostError: The lease is not held.
            CheckpointError: The state cannot be stored.
        """
        ...

    def check_decided(self) -> None:
        """Raise an error if it is not known whether the last commit has taken place.

        Raises:
            StoreUnreachableError: It is not known.
        """

    def note_stored(self, save: Save) -> None:
        """Note that a transaction has committed a snapshot."""


class PostgresStepTransaction:
    """See `StepTransaction`.

    Args:
        run: The run.
        pool: The connections for transactions.
        step: Name of the step.

    Attributes:
        is_committed: Whether it is known to be committed.
    """

    def __init__(self, run: SavingRun, pool: StepConnectionPool, step: str) -> None:
        self.is_committed: bool = False
        self._run, self._pool, self._step = run, pool, step
        self._connection: PostgresConnection | None = None
        self._name = ""
        self._use: ConnectionUse | None = None
        self._slots = pool.slots  # A forked child has others.
        self._given: dict[bool, StepConnection | AsyncStepConnection] = {}

    @property
    def threads(self) -> DaemonThreads:
        """Its blocking calls are made there."""
        return self._pool.threads

    def lost_by(self, error: BaseException) -> bool:
        """Whether an exception of the step comes from a connection that broke without its doing."""
        use = self._use
        return use is not None and use.is_lost and use.ended_by_step(error) is None

    @property
    def is_in_use(self) -> bool:
        """Whether a statement of the step is still being executed."""
        return self._use is not None and self._use.is_in_use

    async def open(self, backend: Backend, interruptions: Interruptions) -> None:
        """Wait for one of the connections, and begin the transaction. See `StepTransaction`."""
        pool = self._pool
        pool.abandon_lost()
        await self._slots.take(backend, interruptions)
        if backend.loop is None:
            try:
                begun = pool.begin(interruptions.check)
            except BaseException:
                self._slots.give_back()
                raise
        else:
            begun = await self._begin_in_thread(backend, backend.loop, interruptions)
        self._connection, self._name = begun
        pool.note_open(self)
        self._use = ConnectionUse(self._connection.server.link, self._step)

    async def _begin_in_thread(
        self, backend: Backend, loop: asyncio.AbstractEventLoop, interruptions: Interruptions
    ) -> BegunTransaction:
        """Begin in a thread, which nobody waits for after an interruption."""
        pool, slots = self._pool, self._slots
        # Of the thread and a caller that leaves, the first one counts.
        taken: dict[None, BegunTransaction | None] = {}

        def begin() -> BegunTransaction | None:
            try:
                begun = pool.begin(_check_nothing)
            except BaseException:
                slots.give_back()
                raise
            if taken.setdefault(None, begun) is begun:
                return begun
            pool.discard(begun.connection)
            return None

        item = WorkItem(self.threads.made_call(begin), (), loop)
        try:
            self.threads.put(item)
            while not item.ended:
                await backend.wait_at_most(item, _LOOK_SECONDS)
                if not item.ended:
                    interruptions.check()
                    item.wait_again()
        except BaseException:
            if item.withdraw():
                slots.give_back()
            elif (made := taken.setdefault(None, None)) is not None:
                pool.discard(made.connection)
            raise
        begun = item.outcome()
        if begun is None:
            raise AssertionError(self._step)
        return begun

    def connection(self, *, is_async: bool) -> StepConnection | AsyncStepConnection:
        """Give the connection to the step, one object for each kind of function."""
        if self._use is None:
            raise AssertionError(self._step)
        given = self._given.get(is_async)
        if given is None:
            made = AsyncStepConnection(self._use) if is_async else StepConnection(self._use)
            given = self._given.setdefault(is_async, made)
        return given

    def settle(self) -> None:
        """Let the step use its connection no more, and look whether it can be committed."""
        if self._use is not None:
            self._use.end()
            self._use.check()

    async def write(
        self,
        header: Header,
        state: dict[str, Any],
        step: str | None,
        *,
        drops_progress: bool = False,
    ) -> int:
        """Store the snapshot and commit. See `StepTransaction`."""
        save = await self._run.make_save(header, state, step, drops_progress=drops_progress)
        if self._run.loop is None:
            self._commit(save)
        else:
            await call_store(self.threads, self._commit, save)
        return len(save.payload) + len(save.footer)

    def _commit(self, save: Save) -> None:
        self._run.check_decided()
        connection = self._connection
        if connection is None:
            raise LeaseLostError(save.lease.location)  # Another try has ended it.
        try:
            self._store(connection, save)
            self._send_commit(connection)
        except StoreUnreachableError as error:
            self._decide(save, error)
        except (Exception, GeneratorExit):
            raise
        except BaseException:  # Ctrl-C, while the server may have got the message.
            with suppress(Exception), giving_up_after(stall_seconds()):
                self._decide(save, StoreUnreachableError(self._run.location, "interrupted"))
                self._note_committed(save)
            raise
        self._note_committed(save)

    def _store(self, connection: PostgresConnection, save: Save) -> None:
        """Store the snapshot in the transaction, by the statements of the ordinary save.

        Raises:
            LeaseLostError: The lease was lost.
            StepTransactionError: It is not the transaction that was begun for the step, or the step
                has made it read-only or ended its connection.
            StorageError: The server refuses it, or is out of reach.
        """
        self._check(connection)
        pending: PendingResult[None] = PendingResult(save, None)
        (batch,) = into_batches([pending])
        save_batch(connection, batch, save.lease.owner)
        if pending.error is not None:
            raise pending.error

    def _check(self, connection: PostgresConnection) -> None:
        """Undo settings of the step, and check that the transaction is whole."""
        use = self._use
        if use is None:
            raise AssertionError(self._step)
        try:
            ((name, read_only),) = execute_raw(connection.server, _BEFORE_SAVING)
        except psycopg.Error as error:
            failure: Exception = use.ended_by_step(error) or translate_error(
                error, connection.server.address, "writing"
            )
        else:
            if name != self._name:
                raise use.refusal("was ended by the step's own SQL, and another one begun")
            if read_only == "on" and not is_read_only(connection):
                raise use.refusal("the step made it read-only")
            return
        raise failure

    def _send_commit(self, connection: PostgresConnection) -> None:
        """Commit.

        Raises:
            StoreUnreachableError: The connection broke. The server may have committed.
            psycopg.Error: The server refuses, as for a deferred constraint of the user's tables.
        """
        link = connection.server.link
        # Deferred triggers of the user's tables may take long in it.
        link.seconds_to_answer = max(link.seconds_to_answer, self._pool.patience.seconds)
        try:
            done = link.execute("COMMIT")
        except psycopg.Error as error:
            failure = translate_error(error, connection.server.address, "writing")
            if not isinstance(failure, StoreUnreachableError):
                raise
        else:
            if done.statusmessage == "COMMIT":
                return
            failure = StoreUnreachableError(self._run.location, "the server rolled it back")
        raise failure

    def _decide(self, save: Save, error: StoreUnreachableError) -> None:
        """Look whether it was committed, once no answer came or the server gave up.

        Raises:
            TransactionLostError: It was not.
            LeaseLostError: The lease was lost, perhaps behind the commit.
            StoreUnreachableError: Nobody can tell.
            StalledError: The same, and the caller was cancelled.
        """
        self._run.is_decided = False
        self._end()
        found = self._pool.patience.repeat(partial(self._look, save.lease.row))
        self._run.is_decided = True
        if found is not None and found[1] == save.footer:
            return
        if found is None or found[0] != save.lease.token:
            raise LeaseLostError(save.lease.location)
        raise TransactionLostError(error) from error

    def _look(self, row: int) -> tuple[int, bytes] | None:
        """Read token and footer of the run, when no transaction holds its row."""
        if is_given_up():
            raise StalledError(None)
        connection = self._pool.connect()
        try:
            with connection.transaction():
                execute(connection.server, _BEFORE_SAVING)
                rows = connection.server.rows(_STORED, {"run": row})
        finally:
            connection.close()
        return rows[0] if rows else None

    def _note_committed(self, save: Save) -> None:
        self.is_committed = True
        self._run.note_stored(save)
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection)

    def roll_back(self) -> None:
        """Roll it back, and let the step use its connection no more. See `StepTransaction`."""
        connection, use = self._connection, self._use
        if connection is None or use is None:
            return
        use.end()
        link = connection.server.link
        if use.is_in_use:
            with suppress(psycopg.Error, OSError):
                link.cancel_safe(timeout=_ROLLBACK_SECONDS)
            self._end()
            return
        link.seconds_to_answer = _ROLLBACK_SECONDS
        try:
            if link.info.transaction_status != pq.TransactionStatus.IDLE:
                execute(connection.server, "ROLLBACK")
        except StorageError:
            self._end()
        else:
            self._connection = None
            self._pool.give_back(connection)

    @property
    def is_lost(self) -> bool:
        """Whether its event loop was closed under the step."""
        loop = self._run.loop
        return loop is not None and loop.is_closed()

    def abandon(self) -> None:
        """End it at once. See `StepTransaction`."""
        self._end()

    def _end(self) -> None:
        """Close the connection, by which the server rolls all back that is not committed."""
        connection, self._connection = self._connection, None
        if connection is not None and self._use is not None:
            self._use.close(is_left=self.is_lost)
            self._slots.give_back()


def _check_nothing() -> None:
    pass

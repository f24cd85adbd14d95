"""The run store of a run in a PostgreSQL database, whose steps may have transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from aiocheckpoint.errors import LeaseLostError, StoreUnreachableError
from aiocheckpoint.handlers.leased._requests import Save
from aiocheckpoint.handlers.leased._run_store import LeasedRunStore
from aiocheckpoint.handlers.postgres._step_transactions import PostgresStepTransaction

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.progress_record import ProgressRecord
    from aiocheckpoint.handlers.leased._handler import LeasedStateHandler
    from aiocheckpoint.handlers.postgres._step_pool import StepConnectionPool
    from aiocheckpoint.handlers.postgres._store import PostgresStore

__all__ = ["PostgresRunStore"]


class PostgresRunStore(LeasedRunStore):
    """The snapshots of one run.

    Args:
        handler: The handler of the database.
        store: The database.
        run_id: The run, or None.
        backend: Waits for the writer thread.
        pool: Gives the connections for transactions, which few runs need.

    Attributes:
        is_decided: Whether it is known if the last commit of a transaction has taken place.
    """

    header: Header | None

    def __init__(
        self,
        handler: LeasedStateHandler,
        store: PostgresStore,
        run_id: str | None,
        backend: Backend,
        pool: Callable[[], StepConnectionPool],
    ) -> None:
        super().__init__(handler, store, run_id, backend, handler.newest_header)
        self._pool = pool
        self.is_decided: bool = True

    @property
    def transactions(self) -> Self:
        """The transactions of its steps."""
        return self

    @property
    def patience(self) -> float:
        """Seconds for which a step is repeated whose transaction was lost."""
        return self._pool().patience.seconds

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the run, or None if its thread may be blocked."""
        return self._backend.loop

    def begin(self, step: str) -> PostgresStepTransaction:
        """Make the transaction of an attempt at a step. It is not open yet."""
        return PostgresStepTransaction(self, self._pool(), step)

    async def make_save(
        self, header: Header, state: dict[str, Any], step: str | None, *, drops_progress: bool
    ) -> Save:
        """Make the snapshot behind a step, and the request to store it. See `SavingRun`."""
        snapshot = self.encode_small(header, state)
        if snapshot is None:
            snapshot = await self._backend.run(self._encode_snapshot, header, state, step)
        if not self._lease.held:
            raise LeaseLostError(self.location)
        return Save(self._lease.record, *snapshot, None, b"" if drops_progress else None)

    def check_decided(self) -> None:
        """Raise an error if it is not known whether the last commit has taken place."""
        if not self.is_decided:
            raise StoreUnreachableError(
                self.location, "no answer tells whether the last step was committed"
            )

    def note_stored(self, save: Save) -> None:
        """Note that a transaction has committed a snapshot."""
        self._lease.note_stored(save)
        self.header = save.header

    def update_header(
        self, change: Callable[[Header], Header], progress: ProgressRecord | None = None
    ) -> bool:
        # It would write the snapshot before the step over the one behind it.
        self.check_decided()
        return super().update_header(change, progress)

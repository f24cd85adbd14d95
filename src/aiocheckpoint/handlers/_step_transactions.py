"""Transactions that hold a step's own statements and its snapshot, as the engine uses them.

The engine is the same for every store. A store that has transactions begins one for the attempt
that asks for it, gives the step a connection inside it, and commits it with the snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
    from aiocheckpoint._concurrency.slots import Interruptions
    from aiocheckpoint._model.header import Header
    from aiocheckpoint.errors import StoreUnreachableError

__all__ = ["StepTransaction", "StepTransactions", "TransactionLostError"]


class TransactionLostError(Exception):
    """A transaction was not committed, since its connection broke. The step is to be repeated.

    Args:
        error: The error for the caller where the step is not repeated.
    """

    def __init__(self, error: StoreUnreachableError) -> None:
        super().__init__(str(error))
        self.error = error


class StepTransaction(Protocol):
    """The transaction of one attempt at a step. It is used by one thread at a time.

    Attributes:
        threads: Its blocking calls are made there, so that they wait for no other work.
    """

    @property
    def threads(self) -> DaemonThreads:
        """Its blocking calls are made there."""
        ...

    def lost_by(self, error: BaseException) -> bool:
        """Whether an exception of the step comes from a connection that broke without its doing."""
        ...

    @property
    def is_in_use(self) -> bool:
        """Whether a statement of the step is still being executed."""
        ...

    @property
    def is_committed(self) -> bool:
        """Whether it is known to be committed."""
        ...

    async def open(self, backend: Backend, interruptions: Interruptions) -> None:
        """Wait for one of the connections, and begin the transaction.

        Args:
            backend: Waits on the running loop, or in this thread.
            interruptions: The reasons for which it waits no more.

        Raises:
            BaseException: An interruption or a cancellation. It is not open then.
            StoreUnreachableError: The store was out of reach until `patience=` was over.
            StorageError: No connection can be made.
        """

    def connection(self, *, is_async: bool) -> Any:  # noqa: ANN401 - of the store's driver
        """Give the open connection to the step, as one for coroutines or for blocking calls."""
        ...

    def settle(self) -> None:
        """Let the step use its connection no more, and look whether it can be committed.

        Raises:
            StepTransactionError: A statement has failed in it, or is still being executed.
        """

    def write(
        self,
        header: Header,
        state: dict[str, Any],
        step: str | None,
        *,
        drops_progress: bool = False,
    ) -> Coroutine[Any, Any, int]:
        """Store the snapshot as `RunStore.write` does, and commit all together.

        Where the answer to the commit is lost, it is looked whether the snapshot is stored.

        Raises:
            LeaseLostError: The lease was lost. All is rolled back.
            TransactionLostError: It was not committed, since its connection broke.
            StoreUnreachableError: Nobody can tell whether it was committed.
            Exception: The store refuses the commit, as for a constraint of the user's tables. All
                is rolled back.
        """
        ...

    def roll_back(self) -> None:
        """Roll all back, if it was not committed. Blocking, for a second at most. Raises nothing.

        The step can use its connection no more.
        """

    def abandon(self) -> None:
        """End it at once, without waiting for the store, which rolls all back."""


class StepTransactions(Protocol):
    """The transactions of the steps of one run."""

    @property
    def patience(self) -> float:
        """Seconds for which a step is repeated whose transaction was lost."""
        ...

    def begin(self, step: str) -> StepTransaction:
        """Make the transaction of an attempt at a step. It is not open yet."""
        ...

"""The run store: the snapshots of one run, as the engine reads and writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Callable, Coroutine

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._model.given_state import Sameness
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.progress_record import ProgressRecord
    from aiocheckpoint._model.start_record import ClaimedStart
    from aiocheckpoint.errors import CheckpointError
    from aiocheckpoint.handlers._port import SnapshotPort
    from aiocheckpoint.handlers._step_transactions import StepTransactions

__all__ = ["FirstWrite", "FoundRun", "RunStore"]


class FoundRun(NamedTuple):
    """A stored run as one snapshot has it.

    Attributes:
        header: Its header.
        state: Its state with the reserved keys, or None where it was not asked for.
    """

    header: Header
    state: dict[str, Any] | None


class FirstWrite(NamedTuple):
    """A first snapshot that was stored by the same statement that took the lock.

    Attributes:
        bytes: Size of the snapshot.
        seconds: Time for both.
    """

    bytes: int
    seconds: float


class RunStore(Protocol):
    """The snapshots of one run.

    Attributes:
        location: The store and the run, for messages.
        run_id: The run, or None.
        header: Header of the newest snapshot read or written. None where there is none.
        skipped: Error of the newest snapshot, where an older one is used instead.
        first_write: Set when taking the lock stored the prepared first snapshot.
        keeps_cancellation: Whether one that comes while the lock is taken is kept, and not raised,
            where the store has recorded a start with the lock. The run that sets this records it.
        cancellation: The one that was kept.
        start: The start that the claim has recorded, from `read_header` on. None for a new run.
            Without a claim, as of a plan, the last start.
        progress: The record of the progress of a run that goes on, from `read_header` on under its
            lock. None where there is none that can be used.
        writes_async: Whether the method `write` of the handler is a coroutine function.
        port: The store that has the requests to terminate runs. None for a handler of dicts.
    """

    location: str
    run_id: str | None
    header: Header | None
    skipped: CheckpointError | None
    first_write: FirstWrite | None
    keeps_cancellation: bool
    cancellation: CancelledError | None
    start: ClaimedStart | None
    progress: ProgressRecord | None
    writes_async: bool
    port: SnapshotPort | None

    @property
    def transactions(self) -> StepTransactions | None:
        """The transactions of its steps. None for a store that has none."""
        ...

    def prepare_first_snapshot(
        self,
        make: Callable[[], tuple[Header, dict[str, Any]] | None],
        *,
        is_likely_stored: bool,
    ) -> None:
        """Prepare the first snapshot of a new run, before the lock is taken.

        Args:
            make: Makes it. None for a request that is not for a new run.
            is_likely_stored: Whether there is a run in most cases. A store may look for it first.
        """

    async def acquire(self) -> None:
        """Take the run's lock, or raise RunInProgressError."""

    def take_back_start(self) -> None:
        """Let the release take back the start that the claim recorded: the run was refused."""

    async def release(self) -> CancelledError | None:
        """Release the lock if it is held, and return a cancellation that came meanwhile.

        That of a cancelled run whose store hangs is released when the store answers again.
        """

    def release_nowait(self) -> None:
        """Release the lock, blocking."""

    async def read_header(self) -> Header | None:
        """Read the header, or give None where nothing is stored.

        Under the run's lock it also records the start of a run that goes on, in the same hop.
        """

    async def history(self) -> list[Header]:
        """Read the headers of the older snapshots of the run, newest first."""
        ...

    async def state(self, of: Header | None = None) -> dict[str, Any]:
        """Load the stored state, or that of a header from `history`."""
        ...

    async def find(self, wanted: Callable[[Header], bool]) -> FoundRun | None:
        """Read header and state of one snapshot, without the lock. None where nothing is stored.

        Args:
            wanted: Whether the state that belongs to a header is asked for.
        """
        ...

    async def compare(self, header: Header, state: dict[str, Any]) -> Sameness:
        """Compare a state with the one that the run of a header began with."""
        ...

    def write(
        self,
        header: Header,
        state: dict[str, Any],
        step: str | None,
        *,
        drops_progress: bool = False,
    ) -> Coroutine[Any, Any, int]:
        """Store a snapshot taken after `step`, and give its size in bytes, 0 if unknown.

        Args:
            header: Its header.
            state: The state.
            step: The step that has ended, or None.
            drops_progress: Whether there is a record of the progress of that step, to be deleted.
        """
        ...

    def update_header(
        self, change: Callable[[Header], Header], progress: ProgressRecord | None = None
    ) -> bool:
        """Read the stored header, and replace it by the changed one, blocking.

        Nothing is written where `change` gives the same object back, or nothing is stored.

        Args:
            change: Changes the header.
            progress: A record of the run's progress to be stored with it, or None.

        Returns:
            Whether `progress` is stored. A store that cannot store it still changes the header.
        """
        ...

    def begin_progress(self, record: ProgressRecord) -> PendingResult[None] | None:
        """Store a record of the run's progress in any thread, under its lock.

        Returns:
            None where it is stored, or what has to be waited for in the same thread.

        Raises:
            CheckpointError: It cannot be stored.
        """
        ...

    def drop_progress(self) -> None:
        """Delete the record of the run's progress, blocking.

        Raises:
            CheckpointError: It cannot be deleted.
        """

    async def remove(self) -> None:
        """Delete the snapshots."""

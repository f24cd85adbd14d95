"""A store as a whole: finding all its runs, counting, copying, making smaller and closing it."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

from aiocheckpoint._concurrency.async_reading import read_off_loop
from aiocheckpoint._concurrency.threads import call_store
from aiocheckpoint._logging import RunPlace, log_left_out
from aiocheckpoint._tracebacks import front_door
from aiocheckpoint.errors import (
    CorruptSnapshotError,
    IncompatibleSnapshotError,
    InvalidValueError,
    UntrustedSnapshotError,
)
from aiocheckpoint.handlers._counting import (
    CountBy,
    Counts,
    SeveralFacts,
    checked_facts,
    count_headers,
    with_all_statuses,
)
from aiocheckpoint.handlers._found_snapshots import FoundSnapshot
from aiocheckpoint.handlers._port import SnapshotPort
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers._run_filter import ALL, RunFilter
from aiocheckpoint.handlers._store_threads import maintenance_threads_of, threads_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.header import Header
    from aiocheckpoint.errors import CheckpointError

__all__ = ["WholeStorePort"]


class WholeStorePort(SnapshotPort):
    """The methods of `StateHandler` that are about a store as a whole.

    Each has a default. A subclass overrides those for which its store has a better way:
    `insert_runs`, `headers`, `counts` and `tally`, `exists`, `find_snapshots` and
    `find_all_snapshots`, `backup`, `compact`, `close`, `close_unused`.
    """

    async def insert_runs(
        self,
        common: Header,
        runs: Sequence[tuple[str, dict[str, Any]]],
        backend: Backend,
    ) -> list[Header | CheckpointError | None]:
        """Store first snapshots of runs of which nothing is stored, together, and take no lock.

        Args:
            common: The header of each, but for its run id, its times and its initial digest.
            runs: Run ids, and the states on entry to the first step. No two are of one run.
            backend: Does the blocking work.

        Returns:
            For each the header as it is stored, or the error that kept it from being stored. None
            where something is stored of the run, so that its lock is needed. By default for each.
        """
        del common, backend
        return [None] * len(runs)

    def headers(self) -> Iterable[Header]:
        """Give the headers of all runs of the flow, in no order.

        Raises:
            StorageError: The store cannot be read.
        """
        return self.runs(Query())

    @front_door
    def history(self, run_id: str | None = None) -> list[Header]:
        """Read the headers of the kept snapshots of a run, the newest first, and no state.

        Returns:
            The header that `header` gives, and those of the older snapshots as they are stored. One
            that is damaged is left out, and the log warns of it. Empty where nothing is stored.

        Raises:
            StorageError, CorruptSnapshotError, UntrustedSnapshotError, IncompatibleSnapshotError:
                As in `header`.
        """
        newest = self.header(run_id)
        if newest is None:
            return []
        first = newest.number, newest.sequence
        kept = [self._kept_header(run_id, one) for one in self.kept(run_id) if one != first]
        return [newest, *(header for header in kept if header is not None)]

    def _kept_header(self, run_id: str | None, kept: tuple[int, int]) -> Header | None:
        try:
            with ExitStack() as stack:
                snapshot = self._open_stored(run_id, kept, stack)
                return None if snapshot is None else snapshot.header
        except (CorruptSnapshotError, UntrustedSnapshotError, IncompatibleSnapshotError) as error:
            log_left_out(error, RunPlace(self.flow, run_id))
            return None

    def exists(self) -> bool:
        """Whether the store was made, for stores that are files. It may hold no run."""
        return True

    def missing_words(self) -> str:
        """Say how the place of a store that does not exist may have been meant.

        Raises:
            StorageError: The store cannot be asked.
        """
        return (
            "Is it the path that the flow was given? A run with an id has a file of its own, at "
            "cp.handler.locate(run_id)."
        )

    def find_snapshots(self, run_id: str | None) -> Iterator[FoundSnapshot]:
        """Find the snapshot of a run, without any change to the store.

        `inspect` and `adopt` do so. A store of several flows finds that of each flow where the
        handler's own flow has the empty name.

        Raises:
            StorageError: The store cannot be read.
        """
        location, known = self.locate(run_id), self.ownership(run_id)
        yield FoundSnapshot(location, run_id, self.flow, partial(self.open, run_id), known)

    def find_all_snapshots(self) -> Iterator[FoundSnapshot]:
        """Find the snapshots of all runs, without any change to the store.

        Raises:
            StorageError: The store cannot be read.
        """
        for header in self.headers():
            yield from self.find_snapshots(header.run_id)

    def counts(self, by: Literal["status", "step"]) -> dict[str | None, int]:
        """Count all runs of the flow by one fact of their headers, see `count`.

        Args:
            by: "status" or "step".

        Returns:
            The number of runs by status, or by the next step. None where there is no next step.

        Raises:
            StorageError: The store cannot be read.
        """
        return {value: number for (value,), number in count_headers(self.headers(), (by,)).items()}

    def tally(self, facts: tuple[CountBy, ...], where: RunFilter) -> Counts:
        """Count the chosen runs of the flow by some facts of their headers, see `count`.

        Args:
            facts: The facts, one at least.
            where: Chooses the runs.

        Returns:
            The number of runs by the values of these facts.

        Raises:
            StorageError: The store cannot be read.
        """
        first = facts[0]
        if where == ALL and facts == (first,) and (first == "status" or first == "step"):  # noqa: PLR1714 - narrows
            return {(value,): number for value, number in self.counts(first).items()}
        return count_headers(filter(where.wants, self.headers()), facts)

    @overload
    def count(self, by: None = None, where: RunFilter = ALL) -> int: ...

    @overload
    def count(self, by: Literal["status"], where: RunFilter = ALL) -> dict[str, int]: ...

    @overload
    def count(
        self, by: Literal["step", "error", "day"], where: RunFilter = ALL
    ) -> dict[str | None, int]: ...

    @overload
    def count(self, by: SeveralFacts, where: RunFilter = ALL) -> Counts: ...

    @front_door
    def count(
        self, by: CountBy | SeveralFacts | None = None, where: RunFilter = ALL
    ) -> int | dict[str, int] | dict[str | None, int] | Counts:
        """Count the stored runs of the flow. No state is read.

        A database counts by an index: a run whose snapshot is damaged counts as well, and no
        signature is verified. Files are counted by their headers, of which `runs` lists the same.
        So are the runs of a database where errors, attempts or owners are asked for.

        Args:
            by: None for the number of runs. "status", "step" (at which each run goes on), "error"
                (the type of the exception that an unfinished run broke on) or "day" (of the newest
                snapshot, in UTC) for a number by each. Several of them for a number by each
                combination.
            where: Only runs that this filter chooses.

        Returns:
            The number, or a dict of numbers whose sum it is. By status alone, every status is a
            key. The key None has the runs without a next step, without an error or without a known
            time, and comes first. By several facts, the keys are tuples of their values, the
            greatest number first.

        Raises:
            InvalidValueError: `by` is something else.
            StorageError: The store cannot be read.
        """
        return self._counted(by, where)

    @overload
    async def acount(self, by: None = None, where: RunFilter = ALL) -> int: ...

    @overload
    async def acount(self, by: Literal["status"], where: RunFilter = ALL) -> dict[str, int]: ...

    @overload
    async def acount(
        self, by: Literal["step", "error", "day"], where: RunFilter = ALL
    ) -> dict[str | None, int]: ...

    @overload
    async def acount(self, by: SeveralFacts, where: RunFilter = ALL) -> Counts: ...

    @front_door
    async def acount(
        self, by: CountBy | SeveralFacts | None = None, where: RunFilter = ALL
    ) -> int | dict[str, int] | dict[str | None, int] | Counts:
        """Do as `count`, without blocking the event loop."""
        checked_facts(by)
        return await read_off_loop(threads_of(self), self._counted, by, where)

    @front_door
    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the store to a new place, also while it is in use.

        The handlers "local" and "sqlite" do so. Nothing that exists is overwritten.

        Args:
            path: The place of the copy, as the handler takes it.

        Raises:
            InvalidValueError: The handler makes no copies.
            StorageError: Nothing is stored, something is at `path` already, or it cannot be
                written.
        """
        del path
        raise InvalidValueError(
            f"{type(self).__name__} makes no backup of its store. Use the tools of the store."
        )

    @front_door
    async def abackup(self, path: str | os.PathLike[str]) -> None:
        """Do as `backup`, without blocking the event loop. A cancellation waits for its end."""
        await call_store(maintenance_threads_of(self), self.backup, path)

    @front_door
    def compact(self) -> int:
        """Give space that the store no longer needs back to the file system.

        Deleted runs leave free pages in a database. Files have no such space.

        Returns:
            The number of bytes given back.

        Raises:
            StorageError: The store cannot be written, or others use it. The runs are as they were.
        """
        return 0

    @front_door
    async def acompact(self) -> int:
        """Do as `compact`, without blocking the event loop. A cancellation waits for its end."""
        return await call_store(maintenance_threads_of(self), self.compact)

    @front_door
    def close(self) -> None:
        """Close what the handler holds open. The next use opens it again.

        Call it when the runs have ended, for instance behind `drain()`. The handler "sqlite"
        releases the leases of this process, and puts all that is stored into the file itself.
        """

    def close_unused(self) -> None:
        """Close what the handler holds open, unless a run of this process needs it.

        The end of `async with flow:` calls it. A store whose handlers share a connection, as those
        of one database do, leaves it open while runs of other flows are in progress.
        """
        self.close()

    @front_door
    async def aclose(self) -> None:
        """Do as `close`, without blocking the event loop. A cancellation waits for its end."""
        await call_store(threads_of(self), self.close)

    def _counted(
        self, by: CountBy | SeveralFacts | None, where: RunFilter
    ) -> int | dict[str, int] | dict[str | None, int] | Counts:
        facts = checked_facts(by)
        counts = dict(sorted(self.tally(facts or ("status",), where).items(), key=_order))
        if facts is None:
            return sum(counts.values())
        if not isinstance(by, str):
            return dict(Counter(counts).most_common())
        single = {value: number for (value,), number in counts.items()}
        return with_all_statuses(single) if by == "status" else single


def _order(entry: tuple[tuple[str | None, ...], int]) -> list[tuple[bool, str]]:
    """The place of a count: by its values, None first."""
    return [(value is not None, value or "") for value in entry[0]]

"""The public methods that list and count the stored runs of a flow, and show their history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack, overload

from aiocheckpoint._model.shown_list import ShownList
from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._runs.filters import run_filter
from aiocheckpoint._runs.flow_methods import FlowMethods
from aiocheckpoint._runs.queries import listing_query
from aiocheckpoint.handlers._identifiers import checked_run_id

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint.handlers import FilterOptions
    from aiocheckpoint.handlers._counting import CountBy, Counts, SeveralFacts

__all__ = ["RunLists"]


class RunLists(FlowMethods[StateT]):
    """Lists and counts the stored runs of a flow."""

    async def aruns(
        self,
        status: Status | Collection[Status] | None = None,
        *,
        limit: int | None = None,
        after: Header | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> list[Header]:
        """List the headers of the stored runs, the newest run first, and read no state.

        `await cp.aruns("failed", step="charge", error="*Timeout*", since=timedelta(hours=2))` lists
        the runs that have all of this. A database finds statuses and the beginnings of ids by an
        index. It looks at the headers of runs for `error`, `tries` and `stale` alone.

        A run whose snapshot is damaged or badly signed is left out, and the log warns of it.

        Args:
            status: List runs of this status, or of several: "queued", "running" (in progress, or
                killed), "stopped", "paused", "failed", "cancelled", "terminated", "finished". All
                by default.
            limit: The most headers to list. All by default.
            after: The last header of the page before, for the next page.
            chosen: `step=`, `error=`, `ids=`, `since=`, `before=`, `tries=` and `stale=`, see
                `aiocheckpoint.handlers.FilterOptions`.

        Returns:
            The headers. The handler "sqlite" names in `owner` the process that owns a running one.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is unknown or invalid, or the handler
                is a user's own class, which stores one state.
            StorageError: The place cannot be read.
        """
        query = listing_query(run_filter(status, **chosen), limit, after)
        backend = await self._core.reading_backend()
        runs = await backend.read(self._core.snapshot_handler().runs, query)
        return ShownList(runs, "runs")

    def runs(
        self,
        status: Status | Collection[Status] | None = None,
        *,
        limit: int | None = None,
        after: Header | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> list[Header]:
        """List the headers of the stored runs, as `aruns` does, in scripts and notebooks."""
        query = listing_query(run_filter(status, **chosen), limit, after)
        return ShownList(self._core.snapshot_handler().runs(query), "runs")

    @overload
    async def acount(
        self,
        by: None = None,
        *,
        status: Status | Collection[Status] | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> int: ...

    @overload
    async def acount(
        self,
        by: Literal["status"],
        *,
        status: Status | Collection[Status] | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> dict[str, int]: ...

    @overload
    async def acount(
        self,
        by: Literal["step", "error", "day"],
        *,
        status: Status | Collection[Status] | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> dict[str | None, int]: ...

    @overload
    async def acount(
        self,
        by: SeveralFacts,
        *,
        status: Status | Collection[Status] | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> Counts: ...

    async def acount(
        self,
        by: CountBy | SeveralFacts | None = None,
        *,
        status: Status | Collection[Status] | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> int | dict[str, int] | dict[str | None, int] | Counts:
        """Count the stored runs, and read no state.

        `await cp.acount(("step", "error"), status="failed")` says where the failed runs broke, and
        on what. A database counts by an index. Of files, and where errors, attempts or owners are
        asked for, the headers are read one by one. See `StateHandler.count`.

        Args:
            by: None for the number of all runs. "status", "step" (at which a run goes on), "error"
                (the type of the exception that an unfinished run broke on) or "day" (of the newest
                snapshot, in UTC) for a number by each. Several of them, as a tuple, for a number by
                each combination.
            status: Count runs of this status, or of several, as in `aruns`.
            chosen: `step=`, `error=`, `ids=`, `since=`, `before=`, `tries=` and `stale=`, see
                `aiocheckpoint.handlers.FilterOptions`.

        Returns:
            The number, or a dict of numbers whose sum it is. By status alone, every status is a
            key. The key None has the runs without a next step, such as finished ones, those without
            an error, or those without a known time. By several facts, the keys are tuples, the
            greatest number first.

        Raises:
            InvalidTypeError, InvalidValueError: `by` is something else, an argument is unknown or
                invalid, or the handler is a user's own class, which stores one state.
            StorageError: The place cannot be read.
        """
        where = run_filter(status, **chosen)
        return await self._core.snapshot_handler().acount(by, where)

    @overload
    def count(
        self,
        by: None = None,
        *,
        status: Status | Collection[Status] | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> int: ...

    @overload
    def count(
        self,
        by: Literal["status"],
        *,
        status: Status | Collection[Status] | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> dict[str, int]: ...

    @overload
    def count(
        self,
        by: Literal["step", "error", "day"],
        *,
        status: Status | Collection[Status] | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> dict[str | None, int]: ...

    @overload
    def count(
        self,
        by: SeveralFacts,
        *,
        status: Status | Collection[Status] | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> Counts: ...

    def count(
        self,
        by: CountBy | SeveralFacts | None = None,
        *,
        status: Status | Collection[Status] | None = None,
        **chosen: Unpack[FilterOptions],
    ) -> int | dict[str, int] | dict[str | None, int] | Counts:
        """Count the stored runs, as `acount` does, in scripts and notebooks."""
        where = run_filter(status, **chosen)
        return self._core.snapshot_handler().count(by, where)

    async def ahistory(self, run_id: str | None = None) -> list[Header]:
        """List the headers of the kept snapshots of a run, the newest first, and read no state.

        `keep=` of the handler says how many snapshots are kept. `arun(checkpoint=...)` starts with
        the state of one of these, where it was taken on entry to that step.

        Args:
            run_id: The run, or None for the one without an id.

        Returns:
            The header of the newest snapshot, with the owner and the starts of the run, then those
            of the older ones, each as it was when it was the newest. A damaged one is left out, and
            the log warns of it. Empty where nothing is stored.

        Raises:
            InvalidTypeError, InvalidValueError: `run_id` is no id, or the handler is a user's own
                class, which stores one state.
            StorageError: The place cannot be read.
        """
        backend = await self._core.reading_backend()
        read = self._core.snapshot_handler().history
        return ShownList(await backend.read(read, checked_run_id(run_id)), "snapshots")

    def history(self, run_id: str | None = None) -> list[Header]:
        """List the headers of a run's snapshots, as `ahistory` does, in scripts and notebooks."""
        history = self._core.snapshot_handler().history(checked_run_id(run_id))
        return ShownList(history, "snapshots")

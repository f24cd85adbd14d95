"""The work of `awork`: runs that are queued, due or orphaned, until the flow is drained."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint._concurrency.pauses import doubled_pause
from aiocheckpoint._logging import log_look_failed
from aiocheckpoint._model.checks import checked_flag, checked_limit
from aiocheckpoint._model.due import backoff_seconds
from aiocheckpoint._model.plan import no_steps
from aiocheckpoint._model.statuses import TAKEN
from aiocheckpoint._runs.core import REFUSALS
from aiocheckpoint._runs.displaying import RunsDisplay
from aiocheckpoint._runs.resuming import RunTaker, taken_runs
from aiocheckpoint._runs.streams import Stream, bounded_results
from aiocheckpoint.errors import CheckpointError, CorruptSnapshotError, DrainingError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.run_result import RunResult
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.handlers._run_filter import FilterOptions

__all__ = ["work_runs"]

_LOOK_SECONDS = 1.0
"""Between two looks for runs that other processes have queued, or left."""
_LOOK_SHARE = 10
"""Looks that find nothing, and those at the whole list, take at most one part in so many of the
time, however many runs are left alone."""
_MOST_SECONDS = 30.0
"""The longest pause between two looks at a store that fails, or between two tries of a run that
another worker has taken each time."""
_LEAST_PAGE, _MOST_PAGE = 20, 500
_COLLISIONS = 8
"""After so many runs of a page that others have taken, the list is read again."""
_TRIES = 3
"""An `awork` that ends when nothing is left waits for so many tries of a run without a trace."""
_FOR_GOOD = (CorruptSnapshotError, *REFUSALS)
"""Errors of runs that this process refuses as long as their snapshot is the same."""


def work_runs(
    core: FlowCore,
    limit: int,
    status: object,
    chosen: FilterOptions,
    *,
    until_empty: bool,
    progress: object,
) -> Stream[RunResult[Any]]:
    """Check the arguments of `awork`, and make its stream.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid, the handler is a user's own
            class, or another `awork` of the flow object is in progress.
    """
    at_once, ends = checked_limit(limit), checked_flag("until_empty", until_empty)
    display = RunsDisplay(core, progress)
    taker = RunTaker(core, taken_runs(status, chosen), TAKEN, by_hand=False, display=display)
    core.settings.recovered.check_no_awork()
    return Stream(display.shown(_work(core, taker, at_once, until_empty=ends)), of="results")


async def _work(
    core: FlowCore, taker: RunTaker, limit: int, *, until_empty: bool
) -> AsyncGenerator[RunResult, None]:
    """Give the results of the runs. A drain ends them in good order.

    Raises:
        DrainingError: The flow was drained before.
    """
    taker.active_runs.check()
    if not core.registry.steps.names.all:
        raise no_steps()
    finder = _RunFinder(core, taker, limit, until_empty=until_empty)
    results = bounded_results(finder.listed(), finder.take, limit, taker.active_runs)
    with core.settings.recovered.working(), suppress(DrainingError):
        async with aclosing(results):
            async for result in results:
                yield result


class _Tried(NamedTuple):
    """A run that this `awork` has tried, in the snapshot that it had then.

    Attributes:
        snapshot: Number of the run and of its snapshot.
        tries: How often it was tried in that snapshot.
        until: When it is tried again, by `time.monotonic`.
        is_waited_for: Whether a worker that ends when nothing is left waits for that.
        failed: Whether it has ended by an error that may not come again.
    """

    snapshot: tuple[int, int]
    tries: int
    until: float
    is_waited_for: bool
    failed: bool

    def is_of(self, header: Header) -> bool:
        """Whether a listed run is as it was tried, or as a failure has left it without a trace."""
        return self.snapshot == _snapshot(header) or (self.failed and header.status == "running")


class _RunFinder:
    """Lists the runs that one `awork` takes, again and again.

    Args:
        core: The core of the flow.
        taker: Takes the runs.
        limit: The most runs at once.
        until_empty: Whether the list ends when there is nothing to take.
    """

    def __init__(self, core: FlowCore, taker: RunTaker, limit: int, *, until_empty: bool) -> None:
        self._core, self._taker = core, taker
        self._page = max(_LEAST_PAGE, min(2 * limit, _MOST_PAGE))
        self._until_empty = until_empty
        self._wake = asyncio.Event()
        self._under_way: set[str | None] = set()
        self._tried: dict[str | None, _Tried] = {}
        self._collisions = self._failed_looks = 0
        self._has_looked = self._keeps_trying = self._is_work_wanted = self._owes_look = False
        # The last run of the pages at the beginning of the list that held nothing to take, and when
        # the next look begins with them again. They may be thousands of runs of a newer version.
        self._passed: Header | None = None
        self._whole_look_at = 0.0

    async def take(self, listed: Header) -> RunResult | None:
        """Run a run of the list, and look for others when it has ended."""
        try:
            result = await self._taker.take(listed)
            if result is None or result.error is not None:
                self._note_tried(listed, result)
            return result
        finally:
            self._under_way.discard(listed.run_id)
            self._wake.set()

    def _note_tried(self, listed: Header, result: RunResult | None) -> None:
        """Remember a run that may have left no trace of its end, so that it is not tried at once.

        Where its failure is stored, its snapshot is another one, and the memory does not count.
        Else it waits as if the failure were stored.
        """
        before, failed = self._tried.get(listed.run_id), False
        tries = 1 if before is None or not before.is_of(listed) else before.tries + 1
        pause, least = 0.0, doubled_pause(_LOOK_SECONDS, tries - 1, _MOST_SECONDS)
        if result is None:
            self._collisions += 1
        elif isinstance(result.error, _FOR_GOOD):
            pause = math.inf
        else:
            failed, pause = True, backoff_seconds(tries, self._core.settings.backoff)
        until = time.monotonic() + max(least, pause)
        is_waited_for = pause <= least and tries <= _TRIES
        tried = _Tried(_snapshot(listed), tries, until, is_waited_for, failed)
        self._tried[listed.run_id] = tried

    async def listed(self) -> AsyncGenerator[Header, None]:
        """Give the headers of runs to take, the one that is due longest first.

        Raises:
            DrainingError: The flow is being drained.
            CheckpointError: The first look has failed.
        """
        with self._core.settings.work_wanted.listening(self._want_work):
            while True:
                self._wake.clear()
                self._is_work_wanted = False
                self._taker.active_runs.check()
                began = time.monotonic()
                page = await self._look()
                for header in self._in_turn(page):
                    self._under_way.add(header.run_id)
                    yield header
                if page:
                    continue
                if self._is_done():
                    return
                await self._pause(time.monotonic() - began)

    def _is_done(self) -> bool:
        """Whether nothing is left to take, and the runs in progress will leave nothing either."""
        waits = self._under_way or self._keeps_trying or self._failed_looks or self._wake.is_set()
        return self._until_empty and not waits

    def _want_work(self) -> None:
        self._is_work_wanted = self._owes_look = True
        self._wake.set()

    async def _pause(self, look_seconds: float) -> None:
        """Wait for the end of a run, for work of this process, or for the time of the next look.

        The end of a run makes no other run due. While further runs are in progress, it leads to a
        look only when looking has its share of the time.
        """
        share = look_seconds * _LOOK_SHARE
        seconds = max(_LOOK_SECONDS, share)
        if self._owes_look:  # The run that somebody has told of may be in front of the passed ones.
            seconds = min(seconds, max(self._whole_look_at - time.monotonic(), 0.0))
        if self._failed_looks:
            seconds = doubled_pause(_LOOK_SECONDS, self._failed_looks, _MOST_SECONDS)
        earliest = time.monotonic() + min(share, seconds)
        with self._taker.handler.on_queued(self._core.settings.work_wanted.notify):
            await self._wake_within(seconds)
            while self._under_way and not self._is_work_wanted and earliest > time.monotonic():
                self._wake.clear()
                await self._wake_within(earliest - time.monotonic())

    async def _wake_within(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _in_turn(self, page: list[Header]) -> Generator[Header, None, None]:
        """Give the runs of a page in order, as long as it is fresh.

        Other workers may have done most of an older page, and each run of it would cost a claim in
        vain. Workers that begin together have the same page in the same order. So one that meets a
        run that another has taken continues at a random place of the page.
        """
        until = time.monotonic() + _LOOK_SECONDS
        waiting, seen = deque(page), self._collisions
        first = seen
        while waiting:
            yield waiting.popleft()
            if time.monotonic() >= until or self._collisions - first > _COLLISIONS:
                return
            if self._collisions != seen:
                seen = self._collisions
                waiting.rotate(random.randrange(len(waiting) + 1))  # noqa: S311 - no secret

    async def _look(self) -> list[Header]:
        """Read a page of runs to take. Empty where there are none, or the store fails.

        Raises:
            CheckpointError: It is the first look that fails.
        """
        try:
            page = await self._read()
        except CheckpointError as error:
            if not self._has_looked:
                raise
            if not self._failed_looks:
                log_look_failed(self._core.settings.flow, error)
            self._failed_looks += 1
            return []
        self._has_looked, self._failed_looks = True, 0
        return page

    async def _read(self) -> list[Header]:
        """Read pages until one holds a run to take.

        Most looks begin behind the pages that earlier ones have passed over. Only a look at the
        whole list shows that nothing is left.
        """
        now = time.monotonic()
        kept = self._tried.items()
        self._tried = {run_id: one for run_id, one in kept if one.until > now - _MOST_SECONDS}
        if now < self._whole_look_at:
            page = await self._read_behind(now)
            if page or self._under_way or not self._until_empty:
                return page
        self._passed, self._keeps_trying, self._owes_look = None, False, False
        page = await self._read_behind(now)
        ended = time.monotonic()
        self._whole_look_at = ended + (ended - now) * _LOOK_SHARE
        return page

    async def _read_behind(self, now: float) -> list[Header]:
        """Read pages from the passed ones on, and pass over those that hold no run to take."""
        backend, query = await self._core.reading_backend(), self._taker.query(self._page)
        query = query._replace(after=self._passed)
        while headers := await backend.read(self._taker.handler.runs, query):
            page = [header for header in headers if self._wants(header, now)]
            if page:
                return page
            self._passed = headers[-1]
            if len(headers) < self._page:
                break
            query = query._replace(after=self._passed)
        return []

    def _wants(self, header: Header, now: float) -> bool:
        if header.run_id in self._under_way or not self._taker.wants(header):
            return False
        tried = self._tried.get(header.run_id)
        if tried is None or not tried.is_of(header) or tried.until <= now:
            return True
        self._keeps_trying |= tried.is_waited_for
        return False


def _snapshot(header: Header) -> tuple[int, int]:
    return header.number, header.sequence

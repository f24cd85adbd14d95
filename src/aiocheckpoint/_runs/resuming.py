"""How recovery takes runs, for `aresume_all` and `awork`, and the one pass of `aresume_all`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiocheckpoint._logging import log_refused
from aiocheckpoint._model.checks import checked_limit
from aiocheckpoint._model.compatibility import refusal_in_recovery
from aiocheckpoint._model.due import is_due
from aiocheckpoint._model.recovery import LeftAloneError, Recovery, is_suspect
from aiocheckpoint._model.run_result import RunResult
from aiocheckpoint._model.statuses import BEGUN, ENDED
from aiocheckpoint._runs.displaying import RunsDisplay
from aiocheckpoint._runs.filters import run_filter
from aiocheckpoint._runs.results import run_result
from aiocheckpoint._runs.streams import Stream, bounded_results
from aiocheckpoint.errors import (
    DrainingError,
    FlowChangedError,
    FlowVersionError,
    InvalidValueError,
    RunInProgressError,
)
from aiocheckpoint.handlers._query import Query
from aiocheckpoint.handlers._run_filter import ALL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.events import Hook
    from aiocheckpoint.handlers._run_filter import FilterOptions, RunFilter

__all__ = ["RunTaker", "resume_runs", "runs_to_resume", "taken_runs"]

_PAGE = 500


def resume_runs(
    core: FlowCore, limit: int, status: object, chosen: FilterOptions, *, progress: object
) -> Stream[RunResult[Any]]:
    """Check the arguments of `aresume_all`, and make its stream.

    Raises:
        InvalidTypeError, InvalidValueError: An argument is invalid, or the handler is a user's own
            class.
    """
    at_once, where = checked_limit(limit), taken_runs(status, chosen)
    display = RunsDisplay(core, progress)
    taker = RunTaker(core, where, BEGUN, by_hand=where != ALL, display=display)
    results = bounded_results(_listed_once(core, taker), taker.take, at_once, taker.active_runs)
    return Stream(display.shown(results), of="results")


def runs_to_resume(core: FlowCore, status: object, chosen: FilterOptions) -> Iterator[Header]:
    """Give the headers of the runs that `aresume_all` would take now. None is taken.

    Raises:
        InvalidTypeError, InvalidValueError: As `resume_runs` has them.
        StorageError: The store cannot be read.
    """
    where = taken_runs(status, chosen)
    taker = RunTaker(core, where, BEGUN, by_hand=where != ALL)
    query = taker.query(_PAGE)
    while headers := taker.handler.runs(query):
        yield from filter(taker.wants, headers)
        query = query._replace(after=headers[-1])


def taken_runs(status: object, chosen: FilterOptions) -> RunFilter:
    """Make the filter of `aresume_all` and `awork` from their arguments.

    Raises:
        InvalidTypeError, InvalidValueError: One is invalid, or a status is that of runs that have
            ended for good.
    """
    where = run_filter(status, **chosen)
    ended = sorted(ENDED & (where.statuses or frozenset()))
    if ended:
        remedy = "arequeue() makes one due again" if "terminated" in ended else "arun() begins anew"
        raise InvalidValueError(f"status={status!r}: {ended[-1]} runs do not go on. {remedy}.")
    return where


class RunTaker:
    """Takes runs of a list, as recovery does.

    Args:
        core: The core of the flow.
        where: Chooses the runs that are taken.
        statuses: The statuses of these runs, unless `where` has its own.
        by_hand: Whether these runs were chosen by hand. They are taken whether due or not, and
            none is terminated.
        display: Shows the runs. None where none is taken.

    Attributes:
        handler: The handler of the flow.
        active_runs: The active runs of the present lifespan of the flow.

    Raises:
        InvalidValueError: The handler is a user's own class.
    """

    def __init__(
        self,
        core: FlowCore,
        where: RunFilter,
        statuses: frozenset[Status],
        *,
        by_hand: bool,
        display: RunsDisplay | None = None,
    ) -> None:
        self.handler = core.snapshot_handler()
        self.active_runs = core.settings.active_runs
        self._core, self._by_hand, self._display = core, by_hand, display
        self._where = where if where.statuses else where._replace(statuses=statuses)
        self._request = core.request(None)

    def query(self, page: int) -> Query:
        """The query for the first page of runs to take, the one that is due longest first."""
        due_before, where = None if self._by_hand else time.time(), self._where
        return Query(where.statuses, page, unowned=True, due_before=due_before, where=where)

    def wants(self, header: Header) -> bool:
        """Whether a run of a page is to be taken.

        Runs of a newer version and of other flows are left alone, without being claimed. The log
        says so once.
        """
        if header.owner is not None or not self._where.wants(header):
            return False
        if not (self._by_hand or is_due(header, time.time())):
            return False
        core, location = self._core, self.handler.locate(header.run_id)
        names = core.registry.steps.names
        refused = refusal_in_recovery(names, header, self._request, location)
        if refused is not None:
            log_refused(core.settings.flow, header.run_id, refused, once=True)
        return refused is None

    async def take(self, listed: Header) -> RunResult | None:
        """Run a run of a list. A suspect is run alone.

        Returns:
            Its result. None if it was left alone, since somebody else has had it meanwhile, or
            since it belongs to a newer version or another flow.
        """
        try:
            return await self._take(listed, alone=is_suspect(listed))
        except LeftAloneError as left:
            if not left.is_suspect:
                return None
        try:
            return await self._take(listed, alone=True)
        except LeftAloneError:
            return None

    async def _take(self, listed: Header, *, alone: bool) -> RunResult | None:
        core, run_id = self._core, listed.run_id
        recovery = Recovery(
            listed, self._where.wants, core.settings.starts, by_hand=self._by_hand, alone=alone
        )
        try:
            run = await core.settings.recovered.enter(self.active_runs, alone=alone)
        except DrainingError as error:
            return RunResult(run_id=run_id, state=None, error=error)
        hook: Hook | None = run.see if alone else None
        try:
            request = core.request(None, recovery=recovery)
            listener = None if self._display is None else self._display.of_run()
            result = await run_result(core, request, run_id, hook, listener=listener)
        finally:
            run.leave()
        return None if _is_left_alone(result, self.handler.locate(run_id)) else result


def _is_left_alone(result: RunResult, location: str) -> bool:
    """Whether another owner took the run first, or it belongs to a newer version or another flow.

    The error of a run inside one of its steps has another path.
    """
    match result.error:
        case RunInProgressError(path=path) | FlowVersionError(path=path):
            return path == location
        case FlowChangedError(path=path, of_other_flow=True):
            return path == location
        case _:
            return False


async def _listed_once(core: FlowCore, taker: RunTaker) -> AsyncGenerator[Header, None]:
    """Give the headers of the runs to take, a page at a time.

    Raises:
        DrainingError: The flow is being drained. Runs of earlier headers may have begun.
    """
    backend = await core.reading_backend()
    query = taker.query(_PAGE)
    while headers := await backend.read(taker.handler.runs, query):
        for header in headers:
            taker.active_runs.check()
            if taker.wants(header):
                yield header
        query = query._replace(after=headers[-1])

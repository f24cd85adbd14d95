"""The work of `aresume_all`: every unfinished run that no live process owns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._model.checks import checked_limit
from aiocheckpoint._model.request import AlreadyFinishedError
from aiocheckpoint._runs.results import run_result
from aiocheckpoint._runs.streams import Stream, bounded_results
from aiocheckpoint.errors import RunInProgressError
from aiocheckpoint.handlers._query import Query

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint._model.run_result import RunResult
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.handlers import StateHandler

__all__ = ["resume_runs"]

_UNFINISHED: frozenset[Status] = frozenset({"running", "stopped", "failed", "cancelled"})
_PAGE = 500


def resume_runs(core: FlowCore, limit: int) -> Stream[RunResult]:
    """Check the argument of `aresume_all`, and make its stream.

    Raises:
        InvalidTypeError, InvalidValueError: `limit` is no number of runs, or the handler is a
            user's own class.
    """
    at_once, handler = checked_limit(limit), core.snapshot_handler()
    request = core.request(None, unfinished_only=True)

    async def resume(header: Header) -> RunResult | None:
        try:
            result = await run_result(core, request, header.run_id)
        except AlreadyFinishedError:
            return None
        return None if _is_owned_elsewhere(result, handler) else result

    active_runs = core.settings.active_runs
    headers = _unfinished_headers(core, handler)
    return Stream(bounded_results(headers, resume, at_once, active_runs), of="results")


def _is_owned_elsewhere(result: RunResult, handler: StateHandler) -> bool:
    """Whether another owner took the run first. A run inside one of its steps has another path."""
    error = result.error
    return isinstance(error, RunInProgressError) and error.path == handler.locate(result.run_id)


async def _unfinished_headers(
    core: FlowCore, handler: StateHandler
) -> AsyncGenerator[Header, None]:
    """Give the headers of unfinished runs without a live owner, a page at a time.

    Raises:
        DrainingError: The flow is being drained. Runs of earlier headers may have begun.
    """
    backend = await core.reading_backend()
    query = Query(_UNFINISHED, _PAGE, unowned=True)
    while headers := await backend.read(handler.runs, query):
        for header in headers:
            core.settings.active_runs.check()
            yield header
        query = query._replace(after=headers[-1])

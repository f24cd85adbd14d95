"""Resumes the unfinished runs that nobody owns, some at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiocheckpoint._calls import LoopCalls
from aiocheckpoint._plan import NothingLeftError, Request
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError, RunInProgressError
from aiocheckpoint.handlers._query import Query

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from aiocheckpoint._header import Header, Status
    from aiocheckpoint.handlers import StateHandler

__all__ = ["RunResult", "checked_limit", "resume_all"]

_UNFINISHED: frozenset[Status] = frozenset({"running", "stopped", "failed", "cancelled"})
_PAGE = 500
_REST = Request(state=None, load_policy="first only", checkpoint=None, until=None, rest_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How one of many runs ended.

    Attributes:
        run_id: The run, or None for the one without an id.
        state: Its final state; None where it failed.
        error: What came out of it instead, with the note that tells how to go on; or None.
    """

    run_id: str | None
    state: dict[str, Any] | None
    error: BaseException | None


async def resume_all(
    handler: StateHandler,
    resume: Callable[[Request, str | None], Awaitable[dict[str, Any]]],
    limit: int,
) -> AsyncGenerator[RunResult, None]:
    """Resume what is unfinished and not under way, at most `limit` at once, and yield the ends."""
    tasks: set[asyncio.Task[RunResult | None]] = set()
    try:
        async for header in _unfinished(handler):
            location = handler.locate(header.run_id)
            tasks.add(asyncio.ensure_future(_outcome(resume, header.run_id, location)))
            while len(tasks) >= limit:
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for result in _results(done):
                    yield result
        while tasks:
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for result in _results(done):
                yield result
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _unfinished(handler: StateHandler) -> AsyncIterator[Header]:
    calls = await LoopCalls.make()
    query = Query(_UNFINISHED, _PAGE, unowned=True)
    while headers := await calls.block(handler.runs, query):
        for header in headers:
            yield header
        query = query._replace(after=headers[-1])


async def _outcome(
    resume: Callable[[Request, str | None], Awaitable[dict[str, Any]]],
    run_id: str | None,
    location: str,
) -> RunResult | None:
    """How a run ended; None where it is under way, or nothing was left of it."""
    try:
        state = await resume(_REST, run_id)
    except NothingLeftError:
        return None
    except RunInProgressError as error:
        if error.path == location:
            return None
        return RunResult(run_id=run_id, state=None, error=error)  # that of a run inside a step
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return RunResult(run_id=run_id, state=None, error=error)  # a step raised it by itself
    except Exception as error:  # noqa: BLE001 - whatever a step raised
        return RunResult(run_id=run_id, state=None, error=error)
    return RunResult(run_id=run_id, state=state, error=None)


def _results(done: set[asyncio.Task[RunResult | None]]) -> list[RunResult]:
    return [result for task in done if (result := task.result()) is not None]


def checked_limit(limit: Any) -> int | None:  # noqa: ANN401 - whatever a user passes
    """Give `limit` back if it is None or a number from 1.

    Raises:
        InvalidTypeError: It is something else.
        InvalidValueError: It is less.
    """
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise InvalidTypeError(f"limit= is a number of runs, not a {type(limit).__name__}.")
    if limit < 1:
        raise InvalidValueError(f"limit={limit!r}: it is a number of runs, at least 1.")
    return limit

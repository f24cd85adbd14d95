"""Many runs of one flow: each is a result, whatever came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._concurrency.backends import AsyncBackend
from aiocheckpoint._model.request import AlreadyFinishedError
from aiocheckpoint._model.run_result import RunResult
from aiocheckpoint.errors import InvalidTypeError, RunInProgressError
from aiocheckpoint.handlers._identifiers import check_run_id
from aiocheckpoint.handlers._query import Query

if TYPE_CHECKING:
    from aiocheckpoint._engine.drain import Drain
    from aiocheckpoint._engine.runner import RunOutcome
    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint._model.request import Request
    from aiocheckpoint.handlers import StateHandler

__all__ = [
    "Resume",
    "Runs",
    "checked_runs",
    "each",
    "outcome",
    "resumed",
    "unfinished",
]

Resume = Callable[["Request", "str | None"], Awaitable["RunOutcome"]]
State = dict[str, Any]
Runs = Mapping[str, State] | Iterable[tuple[str, State]] | AsyncIterable[tuple[str, State]]
"""States by run id, all at once or in pairs as they come."""

_UNFINISHED: frozenset[Status] = frozenset({"running", "stopped", "failed", "cancelled"})
_PAGE = 500


async def outcome(resume: Resume, request: Request, run_id: str | None) -> RunResult:
    """Run one run, and give what came of it.

    A cancellation is a result as well: where all are cancelled nobody looks at it, and where a step
    cancelled the task that it runs in, that is no cancellation of the others.

    Raises:
        NothingLeftError: Nothing was left of it.
    """
    try:
        ended = await resume(request, run_id)
    except AlreadyFinishedError:
        raise
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever a step raised
        return RunResult(run_id=run_id, state=None, error=error)
    return RunResult(run_id=run_id, state=ended.state, error=None, status=ended.status)


async def resumed(
    resume: Resume, request: Request, handler: StateHandler, run_id: str | None
) -> RunResult | None:
    """Resume one run; give None where it is under way, or nothing was left of it."""
    try:
        result = await outcome(resume, request, run_id)
    except AlreadyFinishedError:
        return None
    error = result.error
    # That of a run inside a step has another path.
    if isinstance(error, RunInProgressError) and error.path == handler.locate(run_id):
        return None
    return result


async def unfinished(handler: StateHandler, drain: Drain) -> AsyncGenerator[Header, None]:
    """Give the headers of the runs that are unfinished and not under way.

    Raises:
        DrainingError: The flow is being drained; those before may have begun.
    """
    backend = await AsyncBackend.make()
    query = Query(_UNFINISHED, _PAGE, unowned=True)
    while headers := await backend.run(handler.runs, query):
        for header in headers:
            drain.check()
            yield header
        query = query._replace(after=headers[-1])


async def each(runs: Runs, drain: Drain) -> AsyncGenerator[tuple[str, State], None]:
    """Give the pairs of id and state one by one.

    Raises:
        DrainingError: The flow is being drained; those before may have begun.
        InvalidTypeError: What was given is no pair.
    """
    drain.check()
    if isinstance(runs, AsyncIterable):
        async for pair in runs:
            yield _checked_pair(pair)
            drain.check()
        return
    for pair in runs.items() if isinstance(runs, Mapping) else runs:
        yield _checked_pair(pair)
        drain.check()


def checked_runs(runs: Any) -> Runs:  # noqa: ANN401 - whatever a user passes
    """Give `runs` back if it can be looped over; of a mapping, check what it holds.

    Raises:
        InvalidTypeError, InvalidValueError: It cannot be, or holds other than states by run id.
    """
    if isinstance(runs, Mapping):
        for run_id, state in cast("Mapping[object, object]", runs).items():
            _checked_pair((run_id, state))
            check_run_id(cast("str", run_id))
    elif isinstance(runs, (str, bytes)) or not isinstance(runs, (Iterable, AsyncIterable)):
        raise InvalidTypeError(
            "amap() takes a dict of states by run id, or an iterable, sync or async, of pairs "
            f"(run_id, state), not a {type(runs).__name__}."
        )
    return cast("Runs", runs)


def _checked_pair(pair: object) -> tuple[str, State]:
    if isinstance(pair, tuple):
        parts = cast("tuple[object, ...]", pair)
        if len(parts) == 2 and isinstance(parts[0], str) and isinstance(parts[1], dict):  # noqa: PLR2004
            return cast("tuple[str, State]", parts)
        found = f"({', '.join(type(part).__name__ for part in parts)})"
    else:
        found = f"a {type(pair).__name__}"
    raise InvalidTypeError(
        f"amap() takes pairs of a run id and a state, a str and a dict, not {found}."
    )

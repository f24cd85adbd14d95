"""The result of one of many runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._model.recovery import LeftAloneError
from aiocheckpoint._model.run_result import RunResult
from aiocheckpoint._tracebacks import shortened_traceback
from aiocheckpoint.errors import RunTerminatedError, UnserializableStateError

if TYPE_CHECKING:
    from aiocheckpoint._engine.listeners import Listener
    from aiocheckpoint._model.followers import Follower
    from aiocheckpoint._model.header import Status
    from aiocheckpoint._model.request import Request
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.events import Hook

__all__ = ["drop_states", "run_result"]


async def run_result(
    core: FlowCore,
    request: Request,
    run_id: str | None,
    hook: Hook | None = None,
    *,
    listener: Listener | Follower | None = None,
) -> RunResult:
    """Run one run, and give its final state or its exception as a result.

    A cancellation is a result as well. If all runs are cancelled, no result is taken any more. If
    a step cancels its own task, the other runs are not cancelled. The same goes for an exception
    that is no `Exception`: one run does not end the others.

    Raises:
        LeftAloneError: Recovery has claimed a run that it is not to take.
        KeyboardInterrupt, SystemExit, GeneratorExit: The program ends, or closes the coroutine.
    """
    request.remembers, request.unattended = False, True
    try:
        with shortened_traceback:
            backend = await core.async_backend()
            work = core.run_async(backend, request, run_id, hook=hook, listener=listener)
            del request  # The traceback of the result's error would keep its state.
            outcome = await work
    except (LeftAloneError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - steps raise anything
        drop_states(error)
        status: Status | None = "terminated" if isinstance(error, RunTerminatedError) else None
        return RunResult(run_id=run_id, state=None, error=error, status=status)
    return RunResult(
        run_id=run_id,
        state=outcome.state,
        error=None,
        status=outcome.status,
        pause_number=outcome.pause_number,
    )


def drop_states(error: BaseException | None) -> None:
    """Take the state out of each `UnserializableStateError` in a chain of exceptions.

    Somebody may collect the errors of thousands of runs. Causes and tracebacks go as well: their
    frames, those of the picklers, hold the state.
    """
    while error is not None:
        if isinstance(error, UnserializableStateError) and error.state is not None:
            error.args = UnserializableStateError(error.step, error.offenders).args
            error.state = error.__cause__ = error.__context__ = error.__traceback__ = None
        error = error.__cause__ or error.__context__

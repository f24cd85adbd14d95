"""The result of one of many runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiocheckpoint._model.request import AlreadyFinishedError

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Status
    from aiocheckpoint._model.request import Request
    from aiocheckpoint._runs.core import FlowCore

__all__ = ["RunResult", "run_result"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How one of many runs ended.

    Attributes:
        run_id: The run, or None for the one without an id.
        state: The final state, or None where there is an error.
        error: The exception that ended the run, with a note on how to resume it, or None.
        status: "finished", or "stopped" or "paused" where the run can be resumed. None where
            there is an error.
    """

    run_id: str | None
    state: dict[str, Any] | None
    error: BaseException | None
    status: Status | None = None


async def run_result(core: FlowCore, request: Request, run_id: str | None) -> RunResult:
    """Run one run, and give its final state or its exception as a result.

    A cancellation is a result as well. If all runs are cancelled, no result is taken any more. If
    a step cancels its own task, the other runs are not cancelled.

    Raises:
        AlreadyFinishedError: The request was for an unfinished run, and this one is finished.
    """
    try:
        outcome = await core.run_async(request, run_id)
    except AlreadyFinishedError:
        raise
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - steps raise anything
        return RunResult(run_id=run_id, state=None, error=error)
    return RunResult(run_id=run_id, state=outcome.state, error=None, status=outcome.status)

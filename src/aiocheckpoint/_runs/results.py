"""The result of one of many runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiocheckpoint._model.request import AlreadyFinishedError
from aiocheckpoint._model.run_result import RunResult

if TYPE_CHECKING:
    from aiocheckpoint._model.request import Request
    from aiocheckpoint._runs.core import FlowCore

__all__ = ["run_result"]


async def run_result(core: FlowCore, request: Request, run_id: str | None) -> RunResult:
    """Run one run, and give its final state or its exception as a result.

    A cancellation is a result as well. If all runs are cancelled, no result is taken any more. If
    a step cancels its own task, the other runs are not cancelled.

    Raises:
        AlreadyFinishedError: The request was for an unfinished run, and this one is finished.
    """
    try:
        outcome = await core.run_async(await core.async_backend(), request, run_id)
    except AlreadyFinishedError:
        raise
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - steps raise anything
        return RunResult(run_id=run_id, state=None, error=error)
    return RunResult(run_id=run_id, state=outcome.state, error=None, status=outcome.status)

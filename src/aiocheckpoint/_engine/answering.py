"""A run that is resumed by an answer to its pause: the answer waits for the pause, or is refused.

The look at the header before a claim only saves claims. The plan looks again under the lock.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiocheckpoint._engine.locking import wait_a_moment
from aiocheckpoint._model.answers import answer_fit, awaited_pause, pause_conflict
from aiocheckpoint._model.compatibility import check_not_terminated
from aiocheckpoint.errors import PauseConflictError, RunInProgressError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiocheckpoint._engine.outcomes import RunOutcome
    from aiocheckpoint._engine.runner import Run
    from aiocheckpoint._model.header import Header

__all__ = ["run_answer"]

_SECONDS_FOR_ANOTHER_ANSWER = 1.0
"""The most that an answer waits for the outcome of another one that came first."""


async def run_answer(
    make: Callable[[], Run],
    *,
    read: Callable[[], Awaitable[Header | None]],
    execute: Callable[[Run], Awaitable[RunOutcome]],
    check: Callable[[], None],
    wait: float,
) -> RunOutcome:
    """Resume a paused run by an answer.

    An answer that names no pause is for the one that the run waits in when this is called, or for
    the next one where it waits in none. Of several answers to one pause, the first to take the lock
    is stored, and the others are refused.

    Args:
        make: Makes the run anew for each claim. Its request has `update` or `answers`.
        read: Reads the header of the run, with the status since its claim.
        execute: Claims and executes it.
        check: Called between two looks. It raises to end the wait.
        wait: Seconds to wait for the pause.

    Raises:
        PauseConflictError: The pause was answered, has not come within `wait`, or never will.
        RunTerminatedError: The run was ended for good.
        RunInProgressError: The run is in progress and may pause yet.
    """
    deadline = time.monotonic() + wait
    patience = time.monotonic() + _SECONDS_FOR_ANOTHER_ANSWER
    while True:
        run, header = make(), await read()
        request, backend = run.context.request, run.context.backend
        is_done = request.once and header is not None and header.finished
        fit = "fits" if is_done else answer_fit(header, request.answers)
        if fit == "late":
            if header is not None:
                check_not_terminated(header, run.context.run_store.location)
            raise pause_conflict(run.context.run_store.location, header, request.answers)
        if request.answers is None and not is_done:
            request.answers = awaited_pause(header)
        if fit == "fits" and not is_done:
            deadline = max(deadline, patience)
        left = deadline - time.monotonic()
        if fit == "fits" or left <= 0:
            try:
                return await execute(run)
            except (RunInProgressError, PauseConflictError) as error:
                refused_for_good = isinstance(error, PauseConflictError) and not error.early
                if run.is_planned or refused_for_good or left <= 0:
                    raise
        check()
        run_store = run.context.run_store
        await wait_a_moment(run_store.port, run_store.run_id, backend, left)

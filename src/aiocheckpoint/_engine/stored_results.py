"""Results of runs that other calls have run: finished ones, and the one that a call waited for.

Such a result is a read. It needs no lock, so that any number of calls have it at once. Header and
state are those of one snapshot.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiocheckpoint._engine.conflicts import check_given, compare_given
from aiocheckpoint._engine.outcomes import RunOutcome
from aiocheckpoint._engine.planning import plan_from
from aiocheckpoint._model.plan import is_done
from aiocheckpoint._snapshot.keys import pop_reserved_keys
from aiocheckpoint.errors import StateConflictError

if TYPE_CHECKING:
    from typing import Any

    from aiocheckpoint._engine.context import RunContext
    from aiocheckpoint._engine.shared_ends import RunEnd
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.request import Request

__all__ = ["find_result", "share_end", "shares"]


def shares(request: Request) -> bool:
    """Whether a call takes the result of the run that it waits for."""
    return (request.once or request.resumes) and request.update is None


async def find_result(
    context: RunContext, began_with: dict[str, Any] | None = None
) -> RunOutcome | None:
    """Give the stored result of a finished run, if the call asks for one and there is one.

    Args:
        context: The run as this call asks for it.
        began_with: The very dict that the stored run began with, if it is known.

    Raises:
        FlowDefinitionError, RunNotFoundError: A stored run is to be resumed, and there is none.
        FlowChangedError: The finished run is another flow's.
        RunTerminatedError: The run was ended for good.
        StateConflictError: The stored run began with another state, under `conflict="raise"`, or
            was queued with another one.
        CheckpointError: The snapshot cannot be read, or is not trusted.
    """
    request, run_store = context.request, context.run_store
    if not (request.once or request.resumes):
        return None
    found = await run_store.find(lambda header: is_done(header, request))
    if found is None and request.resumes:
        await plan_from(context.steps, request, run_store, None)  # Refuses it.
    if found is None:
        return None
    header, state = found
    if state is None:
        if header.status == "terminated":
            await plan_from(context.steps, request, run_store, header)  # Refuses it.
        await _refuse_early(context, header)
        return None
    plan = await plan_from(context.steps, request, run_store, header)
    if request.state is not None and request.state is began_with:
        plan = replace(plan, given="equal")
    check_given(plan, request, context)
    pop_reserved_keys(state)
    return RunOutcome(state, "finished")


async def share_end(context: RunContext, end: RunEnd) -> RunOutcome | None:
    """Give this call the end of the run that it waited for. None where it has to run for itself.

    A finished run is the result of each call. That a step failed, or that the run is paused or
    stopped, is the result of those that have asked for the same.

    Raises:
        BaseException: The exception of the step, the same object.
        CheckpointError: As `find_result`.
    """
    if end.status == "finished":
        return await find_result(context, end.request.state)
    if not (_asks_alike(context.request, end.request) and await _begins_alike(context, end)):
        return None
    if end.failure is not None:
        end.failure.reraise()
    found = await context.run_store.find(lambda header: header == end.header)
    if found is None or found.state is None or end.status is None:
        return None
    pop_reserved_keys(found.state)
    number = found.header.pause_number if end.status == "paused" else 0
    return RunOutcome(found.state, end.status, number)


async def _refuse_early(context: RunContext, header: Header) -> None:
    """Refuse another state than the stored run began with, before its lock is waited for."""
    request, run_store = context.request, context.run_store
    queued = header.status == "queued"
    is_conflict = (queued or context.settings.conflict == "raise") and header.number > 0
    if request.state is None or not is_conflict or header.finished:
        return
    if await compare_given(run_store, header, request.state) == "different":
        raise StateConflictError(
            *(run_store.location, context.run_id),
            finished=False,
            step=header.next_step,
            raised=True,
            queued=queued,
        )


def _asks_alike(request: Request, other: Request) -> bool:
    """Whether two calls ask for the same of one run, in one version, apart from their states."""
    if not request.once or request.update is not None or request.data is not None:
        return False
    same_steps = (request.version, request.migrates) == (other.version, other.migrates)
    same_part = (request.until, request.load_policy) == (other.until, other.load_policy)
    return same_steps and same_part


async def _begins_alike(context: RunContext, end: RunEnd) -> bool:
    given = context.request.state
    if given is None or given is end.request.state:
        return True
    if end.header is None:
        return False
    return await compare_given(context.run_store, end.header, given) in {"equal", "similar"}

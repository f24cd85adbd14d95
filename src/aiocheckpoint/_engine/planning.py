"""Reads what is stored, and plans a run from it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from aiocheckpoint._engine.conflicts import compare_given
from aiocheckpoint._model.plan import make_plan
from aiocheckpoint._model.start_record import SHOWN_RUNNING_AFTER_CLAIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.plan import Plan
    from aiocheckpoint._model.request import Request
    from aiocheckpoint._model.steps import Steps
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["plan_from", "plan_run"]

_ENDS_BEFORE_A_START = SHOWN_RUNNING_AFTER_CLAIM - {"running"}
_LOST = "the last run recorded no end there, as where its process is killed"


async def plan_run(
    steps: Steps, request: Request, run_store: RunStore
) -> tuple[Plan, Header | None]:
    """Read the stored header, and plan the run from it. Give both.

    Raises:
        LeftAloneError: Recovery has claimed a run that it is not to take.
        CheckpointError: The run is refused, or cannot be read.
    """
    stored = await run_store.read_header()
    if request.recovery is not None:
        request.recovery.check(stored, run_store.start, time.time())
    history = [] if request.checkpoint is None else await run_store.history()
    plan = await plan_from(steps, request, run_store, stored, history)
    return _with_lost_start(plan, request, run_store, stored), stored


def _with_lost_start(
    plan: Plan, request: Request, run_store: RunStore, stored: Header | None
) -> Plan:
    """Let the plan tell of a start that has stored nothing, and not of the end before it."""
    if plan.fresh or plan.done or stored is None or run_store.start is None:
        return plan
    is_lost = run_store.start.was_running and stored.status in _ENDS_BEFORE_A_START
    if not is_lost or request.checkpoint is not None:
        return plan
    return replace(plan, reason=_LOST)


async def plan_from(
    steps: Steps,
    request: Request,
    run_store: RunStore,
    stored: Header | None,
    history: Sequence[Header] = (),
) -> Plan:
    """Plan the run from a stored header, and compare the given state where it is ignored."""
    plan = make_plan(steps, stored, request, run_store.location, history)
    if stored is None:
        return plan
    if plan.ignores_given and request.state is not None:
        plan = replace(plan, given=await compare_given(run_store, stored, request.state))
    if not (plan.fresh or plan.done or plan.migrates is not None):
        edited = steps.edited(plan.start, stored)
        plan = replace(plan, edited=edited) if edited else plan
    return plan

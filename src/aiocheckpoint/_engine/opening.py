"""The opening of a run: its plan, its state and its header, before its first event and step."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._engine.migration import Migration
from aiocheckpoint._engine.planning import plan_run
from aiocheckpoint._model.given_state import UNDIGESTED
from aiocheckpoint._model.header import Header
from aiocheckpoint._model.plan import Plan, make_plan, place_plan
from aiocheckpoint._snapshot.keys import has_reserved_keys, pop_reserved_keys
from aiocheckpoint._snapshot.versions import stamped
from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import FlowSettings, RunContext
    from aiocheckpoint._model.step_names import StepNames
    from aiocheckpoint._model.steps import Steps

__all__ = ["NEW_HEADER", "Opening", "new_header"]

_Value = TypeVar("_Value")

_LEAST_EXPECTED_SECONDS = 0.1
"""Nobody waits for a shorter run, and its steps need no longer headers."""

NEW_HEADER = stamped(Header(flow="", position=0))


class Opening:
    """What one run does before its first event and step. It is called in the order of its methods.

    Args:
        context: The run, whose header it sets.

    Attributes:
        attempt_number: The number of the first attempt at the first step.
    """

    def __init__(self, context: RunContext) -> None:
        self._context, self._request = context, context.request
        self._run_store, self._steps = context.run_store, context.steps
        self._prepared: Plan | None = None
        self.attempt_number: int = 1

    def first_snapshot(self) -> tuple[Header, dict[str, Any]] | None:
        """Make the first snapshot of a new run. None for a request that may be for a stored one."""
        request = self._request
        state = {} if request.state is None else request.state
        only_stored = request.recovery is not None or request.resumes or request.is_answer
        if only_stored or request.checkpoint is not None or has_reserved_keys(state):
            return None
        try:
            self._prepared = self._new_plan()
        except CheckpointError:
            return None  # Planning raises it again once the lock is held.
        header = self._opening_header(self._prepared, None)
        start = self._prepared.start
        return header.next("running", start, time.time(), header.excerpt), state

    def _new_plan(self) -> Plan:
        """The plan of a run with nothing stored, made once for all such requests."""
        request = self._request
        policy = request.load_policy
        if request.until is not None or not isinstance(policy, str):
            return make_plan(self._steps, None, request, self._run_store.location)
        key, plans = (request.state is not None, policy), self._context.settings.new_plans
        steps, plan = plans.get(key, (None, None))
        if plan is None or steps is not self._steps:
            plan = make_plan(self._steps, None, request, self._run_store.location)
            plans[key] = self._steps, plan
        return plan

    async def plan(self) -> tuple[Plan, Header | None]:
        """Read the stored header and make the plan, unless the run has begun with its lock."""
        if self._run_store.first_write is not None and self._prepared is not None:
            return self._prepared, None
        return await plan_run(self._steps, self._request, self._run_store)

    async def state(self, plan: Plan) -> dict[str, Any]:
        """Give the state that the run starts with, and put the stored data into `data`."""
        request = self._request
        if plan.source in {"stored", "kept"}:
            state = await self._run_store.state(plan.kept)
        else:
            state = {} if request.state is None or plan.source == "empty" else request.state
        data = pop_reserved_keys(state)
        if plan.restores_data:
            self._context.data.update(data)
        return state

    async def migrate(self, plan: Plan, version: int, state: dict[str, Any]) -> Plan:
        """Call `migrate` with the state, and give the plan with the step at which the run goes on.

        Raises:
            InvalidValueError: `until` is before that step.
            BaseException: See `Migration.change`. The stored run is as it was.
        """
        context, steps, settings = self._context, self._steps, self._context.settings
        if settings.migrate is None:
            raise AssertionError(plan.migrates)
        context.migration = migration = Migration(
            settings.migrate,
            version,
            settings.version,
            steps=steps.names.all,
            location=self._run_store.location,
            backend=context.backend,
        )
        place = None if plan.returned_step == "required" else plan.start
        first = await migration.change(state, place)
        if plan.returned_step == "ignored":
            return plan
        return place_plan(plan, steps, self._request, first)

    def set_header(self, plan: Plan, stored: Header | None) -> None:
        """Set the header with which the run begins, and its number."""
        context, run_store = self._context, self._run_store
        if run_store.first_write is not None and run_store.header is not None:
            context.header = run_store.header
        else:
            context.header = self._opening_header(plan, stored)
        context.dispatcher.number = context.header.number

    def _opening_header(self, plan: Plan, stored: Header | None) -> Header:
        before = None if plan.fresh else stored
        self.attempt_number = _attempts_before(self._steps.names, plan.start, before) + 1
        return _header_at_start(self._context, plan, stored)


def new_header(
    settings: FlowSettings, steps: Steps, run_id: str | None, stored: Header | None, start: int = 0
) -> Header:
    """Make the header that a new run begins with.

    Args:
        settings: The settings of the flow.
        steps: Its steps.
        run_id: The run.
        stored: The stored header of an earlier run in this place, or None where nothing is stored.
        start: Index of the first step that runs.
    """
    names = steps.names
    facts = {
        **NEW_HEADER.__dict__,
        "flow": settings.flow,
        "run_id": run_id,
        "steps": names.listed,
        "excerpt": names.excerpt(start, finished=False),
        "position": start,
        "number": 1 if stored is None else stored.number + 1,
        "sequence": 0 if stored is None else stored.sequence,
        "pause_number": 0 if stored is None else stored.pause_number,
        "version": settings.version,
        "durations": {},
        "expected": {} if stored is None else _expected(names, stored),
        "snapshots": {},
        "attempts": {},
        "initial_digest": UNDIGESTED,
        "step_digests": steps.digests(start, None),
        "started_at": time.time(),
    }
    return Header.from_trusted(facts)


def _header_at_start(context: RunContext, plan: Plan, stored: Header | None) -> Header:
    """Make the header that a run has when it starts.

    Args:
        context: The run.
        plan: Its plan.
        stored: The stored header, or None where nothing is stored.
    """
    settings, steps = context.settings, context.steps
    header = new_header(settings, steps, context.run_id, stored, plan.start)
    if plan.fresh or stored is None:
        return header
    most = steps.names.max_recorded
    facts = {
        **header.__dict__,
        "number": stored.number,
        "pause": _unanswered_pause(context, plan, stored),
        "durations": _newest(stored.durations, most),
        "snapshots": dict(stored.snapshots),
        "attempts": _newest(stored.attempts, most),
        "initial_digest": stored.initial_digest,
        "step_digests": steps.digests(plan.start, stored),
        "holds_data": plan.restores_data,
        "started_at": stored.started_at,
    }
    return Header.from_trusted(facts)


def _expected(names: StepNames, stored: Header) -> dict[str, float]:
    """Seconds by step of the last finished run in this place, as its own or a later header has it.

    Args:
        names: Names of the flow's steps.
        stored: The stored header.
    """
    if not stored.finished:
        return _newest(stored.expected, names.max_recorded)
    durations = _newest(stored.durations, names.max_recorded)
    if sum(durations.values()) < _LEAST_EXPECTED_SECONDS:
        return {}
    return {name: round(seconds, 3) for name, seconds in durations.items()}


def _unanswered_pause(context: RunContext, plan: Plan, before: Header) -> str | None:
    """The reason of the pause that the run may come to again: the same step, and no answer."""
    if before.pause is None or plan.kept is not None or context.request.is_answer:
        return None
    same_index = plan.start == before.position
    is_same = same_index if plan.migrates is None else before.next_step == plan.first
    return before.pause if is_same else None


def _attempts_before(names: StepNames, start: int, before: Header | None) -> int:
    """The number of recorded attempts at the step where a run resumes."""
    if before is None or start == len(names.all):
        return 0
    step = names.all[start]
    broken = before.failure
    failed = broken.attempt if broken is not None and broken.step == step else 0
    if not before.is_at(names, start):
        return failed
    paused = before.status == "paused"  # A pause is an attempt, though not every one is recorded.
    return max(failed, before.attempts.get(step, int(paused)))


def _newest(entries: dict[str, _Value], most: int) -> dict[str, _Value]:
    """So many of the entries that were set last."""
    return dict(islice(entries.items(), max(0, len(entries) - most), None))

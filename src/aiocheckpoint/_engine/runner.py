"""The only loop over steps. It carries out a plan, and has no decisions left to make."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._engine.attempts import attempt, attempt_repeatedly
from aiocheckpoint._engine.context import DrainedError, FlowSettings, RunContext, StepProgress
from aiocheckpoint._engine.dispatch import EventDispatcher
from aiocheckpoint._engine.outcomes import end_failed, end_paused, end_stopped
from aiocheckpoint._logging import LARGE_BYTES, warn_large
from aiocheckpoint._model.current_step import CURRENT
from aiocheckpoint._model.header import Header, Status
from aiocheckpoint._model.pause import Pause
from aiocheckpoint._model.plan import Plan, make_plan
from aiocheckpoint._snapshot.keys import DATA_KEY, has_reserved_keys, pop_reserved_keys
from aiocheckpoint._snapshot.versions import stamped
from aiocheckpoint.errors import CheckpointError
from aiocheckpoint.events import RunFinished, RunStarted, SnapshotSkipped, SnapshotWritten

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._model.request import Request
    from aiocheckpoint._model.step_names import StepNames
    from aiocheckpoint._model.steps import Steps
    from aiocheckpoint.errors import DrainingError
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["Run", "RunOutcome", "plan_run"]

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended, without an exception.

    Args:
        state: Its state.
        status: "finished", "stopped" or "paused".
    """

    state: dict[str, Any]
    status: Status


async def plan_run(
    steps: Steps, request: Request, run_store: RunStore
) -> tuple[Plan, Header | None]:
    """Read the stored header, and plan the run from it. Give both."""
    stored = await run_store.read_header()
    history = [] if request.checkpoint is None else await run_store.history()
    return make_plan(steps, stored, request, run_store.location, history), stored


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


_NEW = stamped(Header(flow="", position=0))


def _newest(entries: dict[str, _Value], most: int) -> dict[str, _Value]:
    """So many of the entries that were set last."""
    return dict(islice(entries.items(), max(0, len(entries) - most), None))


class Run:
    """One run through the steps of a flow.

    Args:
        settings: The settings that all runs of the flow share.
        run_id: The run's id, or None.
        request: The caller's request.
        steps: The steps, which do not change during the run.
        run_store: The store of the run's snapshots.
        backend: Does the blocking work, and calls the users' functions.
    """

    def __init__(
        self,
        settings: FlowSettings,
        run_id: str | None,
        request: Request,
        *,
        steps: Steps,
        run_store: RunStore,
        backend: Backend,
    ) -> None:
        self._context = RunContext(
            settings=settings,
            run_id=run_id,
            steps=steps,
            run_store=run_store,
            backend=backend,
            dispatcher=EventDispatcher(settings.flow, run_id, settings.hooks, backend),
            header=_NEW,
        )
        self._request, self._steps, self._run_store = request, steps, run_store
        self._warned_of_size = False
        self._first_attempt_number = 1
        self._prepared: Plan | None = None

    def prepare(self) -> None:
        """Offer the first snapshot of a new run to the store, before its lock is taken.

        A store that finds no run can write this snapshot together with the lock, in one commit.
        """
        self._run_store.prepare_first_snapshot(self._first_snapshot)

    def _first_snapshot(self) -> tuple[Header, dict[str, Any]] | None:
        request = self._request
        state = {} if request.state is None else request.state
        only_stored = request.unfinished_only or request.update is not None
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

    async def execute(self) -> RunOutcome:
        """Read, plan, run the steps, and return the final state. The run's lock is held.

        Raises:
            AlreadyFinishedError: The request was for an unfinished run, and there is none.
            DrainingError: The run was stopped behind a step, because its flow is being drained.
        """
        began = time.perf_counter()
        plan, stored = await self._plan()
        state = await self._opening_state(plan)
        if plan.done:
            return RunOutcome(state, "finished")
        await self._begin(plan, stored, state)
        drained = await self._run_steps(plan, state)
        await self._emit_finished(began)
        if drained is not None:
            raise drained
        return RunOutcome(state, self._context.header.status)

    async def _run_steps(self, plan: Plan, state: dict[str, Any]) -> DrainingError | None:
        """Run the steps of the plan. Give the error for the caller if a drain stopped them."""
        active_runs = self._context.settings.active_runs
        try:
            for index in range(plan.start, plan.stop):
                if active_runs.drain_requested:
                    return await end_stopped(self._context)
                if not await self._run_step(index, plan, state):
                    return None
        except DrainedError:
            return await end_stopped(self._context)
        if plan.start == len(self._steps):
            await self._write(state, None, *self._status_at(plan.stop, plan))
        return None

    async def _begin(self, plan: Plan, stored: Header | None, state: dict[str, Any]) -> None:
        """Emit the start of the run, and store its first snapshot if that is needed."""
        run_store, dispatcher = self._run_store, self._context.dispatcher
        first_write, run_store.first_write = run_store.first_write, None
        if first_write is not None and run_store.header is not None:
            self._context.header = run_store.header
        else:
            self._context.header = self._opening_header(plan, stored)
        dispatcher.number = self._context.header.number
        if run_store.skipped is not None:
            await dispatcher.emit(SnapshotSkipped, error=run_store.skipped)
        if dispatcher.enabled or plan.ignores_given:
            await dispatcher.emit(RunStarted, plan=plan)
        if first_write is not None:
            if dispatcher.enabled:
                await self._emit_written(*first_write)
        elif plan.fresh or (plan.relocates and not self._stays_paused(stored)):
            await self._write(state, None, "running", plan.start)

    def _stays_paused(self, stored: Header | None) -> bool:
        """Whether a drain keeps a paused run from its step, so that it still needs its update."""
        return self._is_draining and stored is not None and stored.status == "paused"

    async def _plan(self) -> tuple[Plan, Header | None]:
        if self._run_store.first_write is not None and self._prepared is not None:
            return self._prepared, None
        return await plan_run(self._steps, self._request, self._run_store)

    async def _opening_state(self, plan: Plan) -> dict[str, Any]:
        request = self._request
        if plan.source in {"stored", "kept"}:
            state = await self._run_store.state(plan.kept)
            state.update(request.update or {})
        else:
            state = {} if request.state is None or plan.source == "empty" else request.state
        data = pop_reserved_keys(state)
        if plan.restores_data:
            self._context.data.update(data)
        return state

    def _opening_header(self, plan: Plan, stored: Header | None) -> Header:
        before, names = None if plan.fresh else stored, self._steps.names
        most = names.max_recorded
        self._first_attempt_number = _attempts_before(names, plan.start, before) + 1
        facts = {
            **_NEW.__dict__,
            "flow": self._context.settings.flow,
            "run_id": self._context.run_id,
            "steps": names.listed,
            "excerpt": names.excerpt(plan.start, finished=False),
            "position": plan.start,
            "number": 1 if stored is None else stored.number + (before is None),
            "sequence": 0 if stored is None else stored.sequence,
            "durations": _newest(before.durations, most) if before else {},
            "attempts": _newest(before.attempts, most) if before else {},
            "holds_data": plan.restores_data,
            "started_at": before.started_at if before else time.time(),
        }
        return Header.from_trusted(facts)

    async def _run_step(self, index: int, plan: Plan, state: dict[str, Any]) -> bool:
        """Run one step and store its snapshot. False if it paused the run."""
        step, context = self._steps[index], self._context
        attempt_number = self._first_attempt_number if index == plan.start else 1
        progress = StepProgress(
            index, step.name, loads=plan.loads[index], of=len(self._steps), attempt=attempt_number
        )
        outer = CURRENT.get()
        try:
            if step.retry is None:
                await attempt(context, step, progress, state)
            else:
                await attempt_repeatedly(context, step, step.retry, progress, state)
            progress.part = "snapshot"
            if has_reserved_keys(state):
                pop_reserved_keys(state)
            await self._write(state, step.name, *self._status_at(index + 1, plan))
        except (GeneratorExit, DrainedError):
            raise
        except BaseException as error:
            if isinstance(error, Pause) and progress.part == "step":
                await end_paused(context, progress, error, state)
                return False
            await end_failed(context, progress, error)
            raise
        finally:
            CURRENT.set(outer)
        return True

    @property
    def _is_draining(self) -> bool:
        return self._context.settings.active_runs.drain_requested

    def _status_at(self, position: int, plan: Plan) -> tuple[Status, int]:
        """The status and position to store once everything before `position` is done."""
        if position == len(self._steps):
            return "finished", 0
        stops = position == plan.stop or self._is_draining
        return ("stopped" if stops else "running"), position

    async def _write(
        self, state: dict[str, Any], step: str | None, status: Status, position: int
    ) -> None:
        began, context = time.perf_counter(), self._context
        excerpt = self._steps.names.excerpt(position, finished=status == "finished")
        context.header = context.header.next(status, position, time.time(), excerpt)
        if context.settings.keep_data:
            size = await self._write_with_data(state, step)
        else:
            size = await self._run_store.write(context.header, state, step)
        if size >= LARGE_BYTES and not self._warned_of_size:
            warn_large(context.header, size, self._run_store.location)
            self._warned_of_size = True
        if context.dispatcher.enabled:
            await self._emit_written(size, time.perf_counter() - began)

    async def _write_with_data(self, state: dict[str, Any], step: str | None) -> int:
        """Write state and data into one pickle, which keeps the objects that they share shared."""
        context, header = self._context, self._context.header
        holds = not header.finished and (step is not None or header.holds_data)
        context.header = replace(header, holds_data=holds)
        if holds:
            state[DATA_KEY] = context.data
        try:
            return await self._run_store.write(context.header, state, step)
        finally:
            state.pop(DATA_KEY, None)

    async def _emit_written(self, size: int, seconds: float) -> None:
        facts = {"position": self._context.header.position, "bytes": size, "seconds": seconds}
        await self._context.dispatcher.emit(SnapshotWritten, **facts)

    async def _emit_finished(self, began: float) -> None:
        dispatcher, header = self._context.dispatcher, self._context.header
        if dispatcher.enabled:
            facts = {"status": header.status, "position": header.position}
            seconds = time.perf_counter() - began
            await dispatcher.emit(RunFinished, **facts, seconds=seconds)

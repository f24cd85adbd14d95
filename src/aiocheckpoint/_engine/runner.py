"""One run, from its plan to its end. It carries out the plan, and has no decisions left to make."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiocheckpoint._engine.active_run import ActiveRun
from aiocheckpoint._engine.around import run_inside_managers
from aiocheckpoint._engine.claimed_runs import note_claimed, note_released
from aiocheckpoint._engine.conflicts import check_given, note_end
from aiocheckpoint._engine.context import FlowSettings, RunContext
from aiocheckpoint._engine.dispatch import EventDispatcher
from aiocheckpoint._engine.given_dicts import claim_dicts, release_dicts
from aiocheckpoint._engine.live_facts import LiveFacts
from aiocheckpoint._engine.opening import NEW_HEADER, Opening
from aiocheckpoint._engine.outcomes import RunOutcome
from aiocheckpoint._engine.program import note_ended
from aiocheckpoint._engine.shared_ends import RunEnd
from aiocheckpoint._engine.snapshots import SnapshotWriter
from aiocheckpoint._engine.step_loop import StepLoop
from aiocheckpoint._engine.termination import terminate_claimed
from aiocheckpoint._engine.unbegun import end_unbegun
from aiocheckpoint._logging import tell_resumed
from aiocheckpoint._model.failure_texts import CANCELLATIONS
from aiocheckpoint._model.given_state import UNDIGESTED
from aiocheckpoint._model.trace import OwnTrace
from aiocheckpoint.events import RunFinished, RunStarted, SnapshotSkipped

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._engine.listeners import Listener
    from aiocheckpoint._model.followers import Follower
    from aiocheckpoint._model.header import Header, Status
    from aiocheckpoint._model.plan import Plan
    from aiocheckpoint._model.request import Request
    from aiocheckpoint._model.steps import Steps
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["Run"]


class Run:
    """One run through the steps of a flow.

    Args:
        settings: The settings that all runs of the flow share.
        run_id: The run's id, or None.
        request: The caller's request.
        steps: The steps, which do not change during the run.
        run_store: The store of the run's snapshots.
        backend: Does the blocking work, and calls the users' functions.
        listener: A listener of the events of this run alone, or what follows it, or None.

    Attributes:
        run_store: The store.
        is_planned: Whether it was not refused: what it raises from then on is not of its start.
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
        listener: Listener | Follower | None = None,
    ) -> None:
        self._context = RunContext(
            settings=settings,
            active_run=ActiveRun(settings.active_runs, run_id),
            run_id=run_id,
            steps=steps,
            run_store=run_store,
            backend=backend,
            dispatcher=EventDispatcher(
                *(settings.flow, run_id, settings.hooks, backend),
                listeners=settings.listeners,
                listener=listener,
                unattended=request.unattended,
            ),
            request=request,
            header=NEW_HEADER,
            data={} if request.data is None else request.data,
        )
        self._request, self._run_store = request, run_store
        self._snapshots = SnapshotWriter(self._context)
        self._write = self._snapshots.write_within if settings.around else self._snapshots.write
        self._opening = Opening(self._context)
        self._loop = StepLoop(self._context, self._opening, self._write)
        self._started: RunStarted | None = None
        self._trace = OwnTrace()
        self.is_planned: bool = False
        self._has_begun = False
        self._facts: LiveFacts | None = None
        self._end: RunEnd | None = None

    @property
    def context(self) -> RunContext:
        """Its parts, and its current header."""
        return self._context

    @property
    def end_emitted(self) -> bool:
        """Whether an exception has ended the run, and an event has said so."""
        return self._context.dispatcher.end_emitted

    def prepare(self) -> None:
        """Offer the first snapshot of a new run to the store, before its lock is taken.

        A store that finds no run can write this snapshot together with the lock, in one commit. Not
        with `around=`, whose functions may set the trace that the snapshot holds.
        """
        self._run_store.keeps_cancellation = True
        if self._context.settings.around:
            return
        likely = self._request.state is None or self._run_store.run_id is None
        self._run_store.prepare_first_snapshot(
            self._opening.first_snapshot, is_likely_stored=likely
        )

    async def execute(self) -> RunOutcome:
        """Read, plan, run the steps, and return the final state. The run's lock is held.

        Raises:
            LeftAloneError: Recovery has claimed a run that it is not to take.
            RunTerminatedError: It was ended for good: by recovery, by a step, or by hand.
            DrainingError: The run was stopped behind a step, because its flow is being drained.
        """
        run, port, location = (
            self._context.active_run,
            self._run_store.port,
            self._run_store.location,
        )
        run.has_lock = True
        if port is None:  # A user's own handler keeps no requests.
            return await self._execute()
        run.note_interrupter(self._context.backend)
        note_claimed(location, port, run)
        try:
            return await self._execute()
        finally:
            note_released(location, run)

    async def _execute(self) -> RunOutcome:
        began = time.perf_counter()
        try:
            # Claimed before as well, unless the call has waited for a run with the same dict.
            claim_dicts(self._request, self._run_store, owns=True)
            plan, stored = await self._opening.plan()
            await self._end_if_hopeless(stored)
        except BaseException:
            self._run_store.take_back_start()
            raise
        try:
            self._raise_kept_cancellation()
            state = await self._opening.state(plan)
            check_given(plan, self._request, self._context)
            self.is_planned = True
            if plan.done:
                return self._ended(state, "finished")
            if plan.migrates is not None:
                plan = await self._opening.migrate(plan, plan.migrates, state)
            state.update(self._request.update or {})
        except BaseException as error:
            await self._end_unbegun(plan, stored, error)
            raise
        try:
            self._opening.set_header(plan, stored)
            if self._context.settings.around:
                await self._run_within(plan, stored, state, began)
            else:
                await self._run(plan, stored, state, began)
        except BaseException as error:
            if not self._has_begun:
                await self._end_unbegun(plan, stored, error)
            raise
        finally:
            if self._facts is not None:
                self._facts.end()
            finished = self._context.header.finished
            note_end(self._run_store.location, plan, self._request, finished=finished)
            release_dicts(self._request, self._run_store)
        return self._ended(state, self._context.header.status)

    def _raise_kept_cancellation(self) -> None:
        """Raise a cancellation that came while the lock was taken."""
        if self._run_store.cancellation is not None:
            raise self._run_store.cancellation

    async def _end_unbegun(self, plan: Plan, stored: Header | None, error: BaseException) -> None:
        """Record a cancellation before the first step, or take the start back."""
        if isinstance(error, CANCELLATIONS):
            if self._context.header is NEW_HEADER:
                self._opening.set_header(plan, stored)
            if await end_unbegun(self._context, plan, self._opening.attempt_number, error):
                return
        self._run_store.take_back_start()

    async def _end_if_hopeless(self, stored: Header | None) -> None:
        """Terminate a run that recovery would start once too often.

        Raises:
            RunTerminatedError: It did.
        """
        recovery = self._request.recovery
        if recovery is None or stored is None:
            return
        reason = recovery.reason_to_terminate(stored, self._run_store.start)
        if reason is not None:
            raise await terminate_claimed(self._context, stored, reason)

    def take_end(self) -> RunEnd | None:
        """Give its end to the calls that wait for it. None where these have to run for themselves.

        It is not kept here. Its exception has a traceback, whose frames hold the run.
        """
        end = self._end or self._loop.end
        self._end = self._loop.end = None
        return end

    def _ended(self, state: dict[str, Any], status: Status) -> RunOutcome:
        note_ended()
        self._end = RunEnd(self._request, self._run_store.header, status)
        header = self._context.header
        return RunOutcome(state, status, header.pause_number if status == "paused" else 0)

    async def _run_within(
        self, plan: Plan, stored: Header | None, state: dict[str, Any], began: float
    ) -> None:
        """Do as `_run`, inside the context managers of `around=`."""
        self._started = event = self._started_event(plan, stored)
        work = self._run(plan, stored, state, began)
        cancellation = await run_inside_managers(self._context, "run", event, work)
        if cancellation is not None:
            raise cancellation

    async def _run(
        self, plan: Plan, stored: Header | None, state: dict[str, Any], began: float
    ) -> None:
        """Run from the event of the start to that of the end."""
        await self._begin(plan, stored, state)
        drained = await self._loop.run(plan, state)
        await self._emit_finished(began)
        if drained is not None:
            raise drained

    async def _begin(self, plan: Plan, stored: Header | None, state: dict[str, Any]) -> None:
        """Emit the start of the run, and store its first snapshot if that is needed."""
        run_store, dispatcher = self._run_store, self._context.dispatcher
        first_write, run_store.first_write = run_store.first_write, None
        self._context.cursors.header = self._context.header
        if run_store.progress is not None:
            await self._take_over_cursor(plan, stored)
        if run_store.skipped is not None:
            await dispatcher.emit(SnapshotSkipped, error=run_store.skipped)
        if not plan.fresh and self._request.recovery is None:
            tell_resumed(self._context.header, plan)
        if dispatcher.follower is not None:
            self._facts = LiveFacts(self._context)
            dispatcher.follower.follow(self._facts)
        if self._started is not None or dispatcher.tells_of_runs or plan.needs_warning:
            await self._emit_started(self._started or self._started_event(plan, stored))
        if first_write is not None:
            if dispatcher.enabled:
                await self._snapshots.emit_written(*first_write)
        elif plan.fresh or (plan.relocates and not self._stays_paused(stored)):
            await self._write(state, None, "running", plan.start)
            self._note_digest()
        self._has_begun = True

    async def _take_over_cursor(self, plan: Plan, stored: Header | None) -> None:
        """Give the cursor of an earlier attempt to the first step, or delete it."""
        context = self._context
        is_patched = stored is None or stored.stopped_by == "patch"
        goes_on = self._request.checkpoint is None and not is_patched
        if not context.cursors.take_over(context.header, plan.first, may_go_on=goes_on):
            await context.backend.run(context.cursors.drop_found)

    def _started_event(self, plan: Plan, stored: Header | None) -> RunStarted:
        trace = None if stored is None else stored.trace
        facts = {"plan": plan, "trace": trace, "header": self._context.header.apart()}
        return self._context.dispatcher.make(RunStarted, **facts, _own_trace=self._trace)

    async def _emit_started(self, event: RunStarted) -> None:
        """Emit the start of the run, and take over the trace that it was given."""
        await self._context.dispatcher.send(event)
        trace = self._trace.freeze()
        if trace is not None:
            self._context.header = replace(self._context.header, trace=trace)

    def _note_digest(self) -> None:
        """Take over the digest of the initial state, which the thread made that stored it."""
        header, stored = self._context.header, self._run_store.header
        if header.initial_digest == UNDIGESTED:
            digest = None if stored is None else stored.initial_digest or None
            self._context.header = header.from_trusted(
                {**header.__dict__, "initial_digest": digest}
            )

    def _stays_paused(self, stored: Header | None) -> bool:
        """Whether a drain keeps a paused run from its step, so that it still needs its update."""
        return self._context.active_run.drains and stored is not None and stored.status == "paused"

    async def _emit_finished(self, began: float) -> None:
        dispatcher, header = self._context.dispatcher, self._context.header
        if dispatcher.tells_of_runs:
            facts = {"status": header.status, "position": header.position}
            seconds = time.perf_counter() - began
            await dispatcher.emit(RunFinished, **facts, seconds=seconds)

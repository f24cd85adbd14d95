"""The only loop over steps: carries a plan out."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiocheckpoint._engine.attempts import attempt, attempt_repeatedly
from aiocheckpoint._engine.context import DrainedError, Passage, Progress, Setting
from aiocheckpoint._engine.dispatch import Teller
from aiocheckpoint._engine.outcomes import fail, pause, stop
from aiocheckpoint._logging import LARGE_BYTES, warn_large
from aiocheckpoint._model.current_step import CURRENT
from aiocheckpoint._model.durations import Durations, newest
from aiocheckpoint._model.header import Header, Status
from aiocheckpoint._model.pause import Pause
from aiocheckpoint._model.plan import Plan, make_plan
from aiocheckpoint._model.step_names import most_told
from aiocheckpoint._snapshot.keys import DATA_KEY, is_marked, unmarked
from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.backends import Calls
    from aiocheckpoint._model.request import Request
    from aiocheckpoint._model.step_names import StepNames
    from aiocheckpoint._model.steps import Steps
    from aiocheckpoint.errors import DrainingError
    from aiocheckpoint.handlers._run_store import Slot

__all__ = ["Ended", "Run", "plan_run"]


class Ended:
    """How a run ended, without an exception.

    Args:
        state: Its state.
        status: "finished", "stopped" or "paused".
    """

    __slots__ = ("state", "status")

    def __init__(self, state: dict[str, Any], status: Status) -> None:
        self.state: dict[str, Any] = state
        self.status: Status = status


async def plan_run(steps: Steps, request: Request, slot: Slot) -> tuple[Plan, Header | None]:
    """Read what is stored and decide what to do; give that, and the stored header."""
    stored = await slot.find()
    history = [] if request.checkpoint is None else await slot.history()
    return make_plan(steps, stored, request, slot.location, history), stored


def _attempts_at(names: StepNames, start: int, before: Header | None) -> int:
    """How many attempts of a run at the step where it goes on the checkpoint tells of."""
    if before is None or start == len(names.all):
        return 0
    step = names.all[start]
    broken = before.failure
    failed = broken.attempt if broken is not None and broken.step == step else 0
    if not before.enters(names, start):
        return failed
    paused = before.status == "paused"  # by an attempt, if not by one that stands in the list
    return max(failed, before.attempts.get(step, int(paused)))


_NEW = Header(flow="", position=0, durations=Durations())


class Run:
    """One passage through the steps of a flow.

    Args:
        setting: What all runs of the flow have in common.
        run_id: The run's id, or None.
        request: What the caller asked for.
        steps: The steps, fixed for the length of the run.
        slot: Where the snapshots go; its lock is held.
        calls: How functions are called.
    """

    def __init__(
        self,
        setting: Setting,
        run_id: str | None,
        request: Request,
        *,
        steps: Steps,
        slot: Slot,
        calls: Calls,
    ) -> None:
        self._passage = Passage(
            setting=setting,
            run_id=run_id,
            steps=steps,
            slot=slot,
            calls=calls,
            teller=Teller(setting.flow, run_id, setting.hooks, calls),
            header=_NEW,
        )
        self._request, self._steps, self._slot = request, steps, slot
        self._warned = False
        self._attempt = 1
        self._offered: Plan | None = None

    def offer(self) -> None:
        """Let the slot have, before its lock is taken, what a new run would store first."""
        self._slot.offer(self._first)

    def _first(self) -> tuple[Header, dict[str, Any]] | None:
        request = self._request
        state = {} if request.state is None else request.state
        only_stored = request.rest_only or request.update is not None
        if only_stored or request.checkpoint is not None or is_marked(state):
            return None
        try:
            self._offered = self._new_plan()
        except CheckpointError:
            return None  # It comes out once the lock is held.
        header = self._opening_header(self._offered, None)
        start = self._offered.start
        return header.advanced("running", start, time.time(), header.excerpt), state

    def _new_plan(self) -> Plan:
        """The plan of a run of which nothing is stored, made once for all that are alike."""
        request = self._request
        policy = request.load_policy
        if request.until is not None or not isinstance(policy, str):
            return make_plan(self._steps, None, request, self._slot.location)
        key = request.state is not None, policy
        plan = self._steps.new.get(key)
        if plan is None:
            plan = make_plan(self._steps, None, request, self._slot.location)
            self._steps.new[key] = plan
        return plan

    async def carry_out(self) -> Ended:
        """Read, plan, run the steps, and return the final state.

        Raises:
            NothingLeftError: As in `make_plan`.
            DrainingError: The run was stopped behind a step, because its flow is being drained.
        """
        began = time.perf_counter()
        plan, stored = await self._decide()
        state = await self._opening_state(plan)
        if plan.done:
            return Ended(state, "finished")
        await self._begin(plan, stored, state)
        drained = await self._go_through(plan, state)
        await self._tell_end(began)
        if drained is not None:
            raise drained
        return Ended(state, self._passage.header.status)

    async def _go_through(self, plan: Plan, state: dict[str, Any]) -> DrainingError | None:
        """Carry out the steps, and give the error that says why not all of them, if it was so."""
        drain = self._passage.setting.drain
        try:
            for index in range(plan.start, plan.stop):
                if drain.asked:
                    return await stop(self._passage)
                if not await self._step(index, plan, state):
                    return None
        except DrainedError:
            return await stop(self._passage)
        if plan.start == len(self._steps):
            await self._write(state, None, *self._reached(plan.stop, plan))
        return None

    async def _begin(self, plan: Plan, stored: Header | None, state: dict[str, Any]) -> None:
        """Tell that the run starts, and store its start where that is not stored yet."""
        (begun, self._slot.begun), teller = (self._slot.begun, None), self._passage.teller
        if begun is not None and self._slot.header is not None:
            self._passage.header = self._slot.header
        else:
            self._passage.header = self._opening_header(plan, stored)
        teller.number = self._passage.header.number
        if self._slot.skipped is not None:
            await teller.tell("SnapshotSkipped", error=self._slot.skipped)
        if teller.heard or plan.ignores_given:
            await teller.tell("RunStarted", plan=plan)
        if begun is not None and teller.heard:
            await self._tell_written(*begun)
        elif begun is None and (plan.fresh or (plan.moves and not self._stays_paused(stored))):
            await self._write(state, None, "running", plan.start)

    def _stays_paused(self, stored: Header | None) -> bool:
        """Whether a run goes on waiting for its update, as it does not come to its step again."""
        return self._drained and stored is not None and stored.status == "paused"

    async def _decide(self) -> tuple[Plan, Header | None]:
        if self._slot.begun is not None and self._offered is not None:
            return self._offered, None
        return await plan_run(self._steps, self._request, self._slot)

    async def _opening_state(self, plan: Plan) -> dict[str, Any]:
        request = self._request
        if plan.source in {"stored", "kept"}:
            state = await self._slot.state(plan.kept)
            state.update(request.update or {})
        else:
            state = {} if request.state is None or plan.source == "empty" else request.state
        data = unmarked(state)
        if plan.restores_data:
            self._passage.data.update(data)
        return state

    def _opening_header(self, plan: Plan, stored: Header | None) -> Header:
        before, names = None if plan.fresh else stored, self._steps.names
        excerpt = names.excerpt(plan.start, finished=False)
        most = most_told(excerpt)
        self._attempt = _attempts_at(names, plan.start, before) + 1
        facts = {
            **_NEW.__dict__,
            "flow": self._passage.setting.flow,
            "run_id": self._passage.run_id,
            "steps": names.listed,
            "excerpt": excerpt,
            "position": plan.start,
            "number": 1 if stored is None else stored.number + (before is None),
            "sequence": 0 if stored is None else stored.sequence,
            "durations": Durations(newest(before.durations, most) if before else None, most),
            "attempts": newest(before.attempts, most) if before else {},
            "holds_data": plan.restores_data,
            "started_at": before.started_at if before else time.time(),
        }
        return Header.made_of(facts)

    async def _step(self, index: int, plan: Plan, state: dict[str, Any]) -> bool:
        """Carry out one step, and tell whether the run goes on."""
        step, passage = self._steps[index], self._passage
        number = self._attempt if index == plan.start else 1
        progress = Progress(
            index, step.name, loads=plan.loads[index], of=len(self._steps), attempt=number
        )
        outer = CURRENT.get()
        try:
            if step.retry is None:
                await attempt(passage, step, progress, state)
            else:
                await attempt_repeatedly(passage, step, step.retry, progress, state)
            progress.part = "snapshot"
            if is_marked(state):
                unmarked(state)
            await self._write(state, step.name, *self._reached(index + 1, plan))
        except (GeneratorExit, DrainedError):
            raise
        except BaseException as error:
            if isinstance(error, Pause) and progress.part == "step":
                await pause(passage, progress, error, state)
                return False
            await fail(passage, progress, error)
            raise
        finally:
            CURRENT.set(outer)
        return True

    @property
    def _drained(self) -> bool:
        return self._passage.setting.drain.asked

    def _reached(self, position: int, plan: Plan) -> tuple[Status, int]:
        """How the run stands when everything before `position` is done."""
        if position == len(self._steps):
            return "finished", 0
        stops = position == plan.stop or self._drained
        return ("stopped" if stops else "running"), position

    async def _write(
        self, state: dict[str, Any], step: str | None, status: Status, position: int
    ) -> None:
        began, passage = time.perf_counter(), self._passage
        excerpt = self._steps.names.excerpt(position, finished=status == "finished")
        passage.header = passage.header.advanced(status, position, time.time(), excerpt)
        if passage.setting.keep_data:
            size = await self._write_with_data(state, step)
        else:
            size = await self._slot.write(passage.header, state, step)
        if size >= LARGE_BYTES and not self._warned:
            warn_large(passage.header, size, self._slot.location)
            self._warned = True
        if passage.teller.heard:
            await self._tell_written(size, time.perf_counter() - began)

    async def _write_with_data(self, state: dict[str, Any], step: str | None) -> int:
        """Write both into one pickle, where what they share stays shared."""
        passage, header = self._passage, self._passage.header
        holds = not header.finished and (step is not None or header.holds_data)
        passage.header = replace(header, holds_data=holds)
        if holds:
            state[DATA_KEY] = passage.data
        try:
            return await self._slot.write(passage.header, state, step)
        finally:
            state.pop(DATA_KEY, None)

    async def _tell_written(self, size: int, seconds: float) -> None:
        facts = {"position": self._passage.header.position, "bytes": size, "seconds": seconds}
        await self._passage.teller.tell("SnapshotWritten", **facts)

    async def _tell_end(self, began: float) -> None:
        teller, header = self._passage.teller, self._passage.header
        if teller.heard:
            facts = {"status": header.status, "position": header.position}
            seconds = time.perf_counter() - began
            await teller.tell("RunFinished", **facts, seconds=seconds)

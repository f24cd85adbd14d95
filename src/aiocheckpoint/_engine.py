"""The only loop over steps: carries a plan out."""

from __future__ import annotations

import time
from asyncio import CancelledError
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint import events
from aiocheckpoint._calls import Carrier
from aiocheckpoint._current import CURRENT, CurrentStep
from aiocheckpoint._header import Durations, Header, Status
from aiocheckpoint._logging import LARGE_BYTES, is_logged, log_event, logger, warn_large
from aiocheckpoint._plan import Plan, Request, make_plan
from aiocheckpoint._snapshot import POSITION_KEY
from aiocheckpoint._trouble import Trouble, put_note
from aiocheckpoint.errors import CheckpointError, InvalidTypeError, RunInProgressError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiocheckpoint._calls import Calls
    from aiocheckpoint._slots import Slot
    from aiocheckpoint._steps import Step, Steps

__all__ = ["Run", "plan_run", "under_lock"]

_Result = TypeVar("_Result")
_POLL_SECONDS = 0.05


async def plan_run(
    steps: Sequence[Step], request: Request, slot: Slot
) -> tuple[Plan, Header | None]:
    """Read what is stored and decide what to do; give that, and the stored header."""
    stored = await slot.find()
    history = [] if request.checkpoint is None else await slot.history()
    return make_plan(steps, stored, request, slot.location, history), stored


async def under_lock(
    slot: Slot, calls: Calls, wait: float, work: Callable[[], Awaitable[_Result]]
) -> _Result:
    """Do `work` while holding the lock of `slot`, waiting for it up to `wait` seconds."""
    try:
        await _acquire(slot, calls, wait)
        result = await work()
        cancellation = await slot.release()
    except GeneratorExit:
        # The coroutine is thrown away and may not await any more.
        slot.abandon()
        raise
    except BaseException as error:
        # Also where Ctrl-C under `run` struck in the middle of the release above.
        _supersede(await slot.release(), error)
        raise
    if cancellation is not None:
        raise cancellation
    return result


def _supersede(cancellation: CancelledError | None, error: BaseException) -> None:
    """Let a cancellation that came while `error` was dealt with take its place, as in asyncio."""
    if cancellation is not None and isinstance(error, Exception):
        raise cancellation from error


async def _acquire(slot: Slot, calls: Calls, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            return await slot.acquire()
        except RunInProgressError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
        await calls.sleep(min(_POLL_SECONDS, left))


@dataclass(slots=True)
class _Progress:
    """Where a run is, for the account of a failure."""

    index: int
    step: str
    part: str
    began: float
    attempt: int


_UNPLANNED = Header(flow="", position=0, durations=Durations())


class Run:
    """One passage through the steps of a flow.

    Args:
        flow: Name of the flow.
        run_id: The run's id, or None.
        steps: The steps, fixed for the length of the run.
        slot: Where the snapshots go; its lock is held.
        calls: How functions are called.
        hooks: Are told the events.
    """

    def __init__(
        self,
        flow: str,
        run_id: str | None,
        *,
        steps: Steps,
        slot: Slot,
        calls: Calls,
        hooks: Sequence[events.Hook],
    ) -> None:
        self._steps = steps
        self._flow, self._run_id = flow, run_id
        self._slot = slot
        self._calls = calls
        self._hooks = hooks
        # Else only surprises have a hearer, and events cost time in every step.
        self._heard = bool(hooks) or is_logged()
        self._header: Header = _UNPLANNED
        self._data: dict[str, Any] = {}
        self._warned = False
        self._attempt = 1
        self._offered: Plan | None = None

    def offer(self, request: Request) -> None:
        """Let the slot have, before its lock is taken, what a new run would store first."""
        self._slot.offer(partial(self._first, request))

    def _first(self, request: Request) -> tuple[Header, dict[str, Any]] | None:
        state = {} if request.state is None else request.state
        if request.rest_only or request.checkpoint is not None or POSITION_KEY in state:
            return None
        try:
            self._offered = self._new_plan(request)
        except CheckpointError:
            return None  # It comes out once the lock is held.
        header = self._opening_header(self._offered, None, once=False)
        return header.advanced("running", self._offered.start, time.time()), state

    def _new_plan(self, request: Request) -> Plan:
        """The plan of a run of which nothing is stored, made once for all that are alike."""
        policy = request.load_policy
        if request.until is not None or not isinstance(policy, str):
            return make_plan(self._steps, None, request, self._slot.location)
        key = request.state is not None, policy
        plan = self._steps.new.get(key)
        if plan is None:
            plan = make_plan(self._steps, None, request, self._slot.location)
            self._steps.new[key] = plan
        return plan

    async def carry_out(self, request: Request) -> dict[str, Any]:
        """Read, plan, run the steps, and return the final state.

        Raises:
            NothingLeftError: As in `make_plan`.
        """
        began = time.perf_counter()
        plan, stored = await self._decide(request)
        state = await self._opening_state(plan, request.state)
        state.pop(POSITION_KEY, None)
        if plan.done:
            return state
        begun = self._slot.begun
        if begun is not None and self._slot.header is not None:
            self._header = self._slot.header
        else:
            self._header = self._opening_header(plan, stored, once=request.once)
        if self._slot.skipped is not None:
            await self._emit(events.SnapshotSkipped, error=self._slot.skipped)
        if self._heard or plan.ignores_given:
            await self._emit(events.RunStarted, plan=plan)
        if begun is not None and self._heard:
            await self._tell_written(*begun)
        elif begun is None and (plan.fresh or plan.moves):
            await self._write(state, None, "running", plan.start)
        for index in range(plan.start, plan.stop):
            await self._step(index, plan, state)
        if plan.start == len(self._steps):
            await self._write(state, None, *self._reached(plan.stop, plan))
        if self._heard:
            seconds = time.perf_counter() - began
            facts = {"status": self._header.status, "position": self._header.position}
            await self._emit(events.RunFinished, **facts, seconds=seconds)
        return state

    async def _decide(self, request: Request) -> tuple[Plan, Header | None]:
        if self._slot.begun is not None and self._offered is not None:
            return self._offered, None
        return await plan_run(self._steps, request, self._slot)

    async def _opening_state(self, plan: Plan, given: dict[str, Any] | None) -> dict[str, Any]:
        if plan.source in {"stored", "kept"}:
            return await self._slot.state(plan.kept)
        return {} if given is None or plan.source == "empty" else given

    def _opening_header(self, plan: Plan, stored: Header | None, *, once: bool) -> Header:
        # A request that is tried again is the same run, although it was killed in its first step.
        again = once and stored is not None and stored.number > 0 and not stored.finished
        rest = again or not plan.fresh
        broken = None if stored is None else stored.failure
        if rest and broken is not None and broken.step == plan.first:
            self._attempt = broken.attempt + 1
        return Header(
            flow=self._flow,
            run_id=self._run_id,
            steps=plan.steps,
            position=plan.start,
            number=1 if stored is None else stored.number + (not rest),
            sequence=0 if stored is None else stored.sequence,
            durations=Durations(stored.durations if stored and rest else None),
            started_at=stored.started_at if stored and rest else time.time(),
        )

    async def _step(self, index: int, plan: Plan, state: dict[str, Any]) -> None:
        step, header = self._steps[index], self._header
        attempt = self._attempt if index == plan.start else 1
        progress = _Progress(index, step.name, "load", time.perf_counter(), attempt)
        outer = CURRENT.get()
        CURRENT.set(CurrentStep(header.flow, header.run_id, header.number, step.name, attempt))
        try:
            if self._heard:
                await self._emit(events.StepStarted, **self._where(progress))
            await self._parts(step, progress, plan.loads[index], state)
            progress.part = "snapshot"
            state.pop(POSITION_KEY, None)
            await self._write(state, step.name, *self._reached(index + 1, plan))
        except GeneratorExit:
            raise
        except BaseException as error:
            await self._fail(error, progress)
            raise
        finally:
            CURRENT.set(outer)

    def _where(self, progress: _Progress) -> dict[str, Any]:
        return {"step": progress.step, "index": progress.index, "of": len(self._steps)}

    async def _parts(
        self,
        step: Step,
        progress: _Progress,
        loads: bool,  # noqa: FBT001
        state: dict[str, Any],
    ) -> None:
        """Call the loader, the step and the saver."""
        seconds: dict[str, float] = {}
        result: Any = None
        for name, part in step.parts if loads else step.parts_but_load:
            progress.part = name
            began = time.perf_counter()
            args = (state, self._data) if part.takes_data else (state,)
            given = await self._calls.user(part, *args)
            seconds[name] = time.perf_counter() - began
            if name == "load":
                self._data.update(_checked(given, step.name))
                where = self._where(progress)
                await self._emit(events.StepLoaded, **where, seconds=seconds["load"])
            elif name == "step":
                result = given
        self._header.durations[step.name] = sum(seconds.values())
        ignored = result is not None and result is not state and result is not self._data
        if self._heard or ignored:
            where = self._where(progress)
            await self._emit(events.StepFinished, **where, seconds=seconds, result_ignored=ignored)

    def _reached(self, position: int, plan: Plan) -> tuple[Status, int]:
        """How the run stands when everything before `position` is done."""
        if position == len(self._steps):
            return "finished", 0
        return ("stopped" if position == plan.stop else "running"), position

    async def _write(
        self, state: dict[str, Any], step: str | None, status: Status, position: int
    ) -> None:
        began = time.perf_counter()
        self._header = self._header.advanced(status, position, time.time())
        size = await self._slot.write(self._header, state, step)
        if size >= LARGE_BYTES and not self._warned:
            warn_large(self._header, size, self._slot.location)
            self._warned = True
        if self._heard:
            await self._tell_written(size, time.perf_counter() - began)

    async def _tell_written(self, size: int, seconds: float) -> None:
        facts = {"position": self._header.position, "bytes": size, "seconds": seconds}
        await self._emit(events.SnapshotWritten, **facts)

    async def _fail(self, error: BaseException, progress: _Progress) -> None:
        """Record what came out of a step, put a note on it, and tell the hooks."""
        error = error.error if isinstance(error, Carrier) else error
        seconds = time.perf_counter() - progress.began
        trouble = Trouble(error, progress.step, progress.part, seconds, progress.attempt)
        record = trouble.cancelled or progress.part != "snapshot"
        cancellation = await self._record(trouble) if record else None
        stored = self._slot.header
        done = stored is not None and (stored.position != progress.index or stored.finished)
        of = len(self._steps)
        note = trouble.account(progress.index, of, self._slot.location, done=done)
        put_note(error, note)
        told = self._emit(
            events.StepFailed,
            **self._where(progress),
            part=progress.part,
            error=error,
            cancelled=trouble.cancelled,
            seconds=seconds,
        )
        _supersede(await self._calls.shelter(told) or cancellation, error)

    async def _record(self, trouble: Trouble) -> CancelledError | None:
        own = self._header

        def amended(stored: Header) -> Header:
            if stored.finished and trouble.part == "snapshot":
                return stored  # cancelled after the last snapshot: there is nothing to go on with
            who = replace(stored, flow=own.flow, run_id=own.run_id, number=own.number)
            return trouble.recorded_in(replace(who, steps=own.steps, started_at=own.started_at))

        try:
            return await self._calls.settle(self._slot.amend, amended)
        # The first exception is what the user must see.
        except Exception as second:  # noqa: BLE001
            problem = f"{type(second).__name__}: {second}"
            put_note(
                trouble.error,
                "aiocheckpoint: the checkpoint does not tell of this, because writing that down "
                f"failed as well: {problem}",
            )
        return None

    async def _emit(self, kind: type[events.Event], **facts: Any) -> None:  # noqa: ANN401
        header = self._header
        event = kind(flow=self._flow, run_id=self._run_id, number=header.number, **facts)
        log_event(event)
        for hook in self._hooks:
            before = self._calls.cancellations()
            try:
                await self._calls.finish(hook(event))
            except (Exception, CancelledError) as error:
                if isinstance(error, CancelledError) and self._calls.cancellations() > before:
                    raise  # the run was cancelled, not the hook by itself
                logger.exception("a hook failed on %s; the run goes on", kind.__name__)


def _checked(loaded: object, step: str) -> dict[str, Any]:
    if not isinstance(loaded, dict):
        raise InvalidTypeError(
            f"the loader of step {step!r} returned a {type(loaded).__name__}, and a loader returns "
            "a dict, which is merged into `data`."
        )
    return loaded

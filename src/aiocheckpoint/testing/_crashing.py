"""Runs a user's own flow, and breaks it off at every boundary there is."""

from __future__ import annotations

import asyncio
import copy
import operator
import os
import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from aiocheckpoint._concurrency.backends import AsyncBackend, SyncBackend, run_to_completion
from aiocheckpoint._concurrency.executors import AsyncExecutor, SyncExecutor
from aiocheckpoint._concurrency.private_loop import PrivateLoop
from aiocheckpoint._concurrency.step_threads import DEFAULT_STEP_THREADS
from aiocheckpoint._engine.failures import put_note

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiocheckpoint._concurrency.callables import UserFunction
    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._engine.runner import RunOutcome
    from aiocheckpoint._model.request import LoadPolicy, Request
    from aiocheckpoint.flow import CheckpointFlow

__all__ = ["crash_everywhere"]

_Result = TypeVar("_Result")
_Way = Literal["crash", "cancel"]
_Method = Literal["run", "arun"]
_State = dict[str, Any]

_WORDS = {
    "acquire": "taking the lock",
    "Claim": "taking the lock",
    "Save": "storing a snapshot",
    "_find": "looking for a checkpoint",
    "_load": "reading the state",
    "_replace": "storing a snapshot",
}


def crash_everywhere(
    make_flow: Callable[[str], CheckpointFlow],
    state: _State | None = None,
    *,
    load_policy: LoadPolicy = "first only",
    door: Literal["run", "arun"] = "run",
    same: Callable[[Any, Any], object] = operator.eq,
    update: _State | None = None,
) -> int:
    """Break a flow off at every boundary, resume it, and see that it ends as if nothing happened.

    The flow is run once undisturbed. Then, for every boundary of that run (before and after each
    loader, step and saver, and before and after each snapshot), it is run again in a new place
    and broken off there: once as if the process were killed, when nothing is recorded, and once
    by a cancellation, a `KeyboardInterrupt` under "run". A new flow in the same place then runs
    to its end, and its final state must be that of the undisturbed run.

    What breaks off is the run, not this process, so fakes of outside services keep what they were
    told, as real ones would: count in them what was done twice. (Tests with killed processes, at
    every system call, are those of the library itself.)

    A run that a step pauses ends there, and it is that state which must be the same, unless there
    is an `update`: then each run goes on with it, once for each step at most, and is broken off
    behind the pause as well. Between the attempts of `retry=` the waiting is real, except where
    `stamina.set_testing(True)` says otherwise.

    Args:
        make_flow: `make_flow(path)` makes the flow, with all its steps, to be stored at `path`;
            called anew for every run.
        state: The initial state; each run is given a deep copy.
        load_policy: As in `CheckpointFlow.run`.
        door: Whether the flow runs as under `run`, or on an event loop as under `arun`.
        same: `same(expected, final)` tells whether two final states are as good as equal, where
            `==` does not tell, as with times or arrays.
        update: What a run that is paused goes on with, as in `CheckpointFlow.run`: all that its
            steps wait for, by key. Each run is given a deep copy.

    Returns:
        How many boundaries there are.

    Raises:
        AssertionError: After one of the interruptions the final state was another; the message
            tells where, and the keys that differ.
        BaseException: What the flow raised, with a note that tells after which interruption.
    """
    trial = _Trial(make_flow, state, load_policy, door, update)
    with tempfile.TemporaryDirectory(prefix="aiocheckpoint-") as directory:
        boundaries: list[str] = []
        expected = trial.run(f"{directory}/undisturbed", _Breaker(boundaries, None, "crash", door))
        for way in ("crash", "cancel"):
            for number, boundary in enumerate(boundaries):
                place = f"{directory}/{way}-{number}"
                where = f"crash_everywhere: after a {way} {boundary}, number {number}"
                try:
                    final = trial.break_and_resume(place, _Breaker([], number, way, door))
                except BaseException as error:
                    put_note(error, where)
                    raise
                if not same(expected, final):
                    raise AssertionError(
                        f"{where}, the flow ended otherwise: {_differ(expected, final)}"
                    )
    return len(boundaries)


class _Crash(GeneratorExit):
    """Ends a run as its coroutine would end if it were thrown away: nothing is recorded."""


class _Breaker:
    """Counts the boundaries, and breaks off at one of them.

    Args:
        seen: Each boundary is appended to it in words.
        at: Number of the boundary to break off at; None for none.
        way: "crash" or "cancel".
        method: The method of the flow that runs it: a run under "run" has no task to cancel.
    """

    def __init__(self, seen: list[str], at: int | None, way: _Way, method: _Method) -> None:
        self._seen = seen
        self._at = at
        self._way = way
        self._method = method

    async def reach(self, boundary: str) -> None:
        """Come by a boundary."""
        self._seen.append(boundary)
        if len(self._seen) - 1 != self._at:
            return
        if self._way == "crash":
            raise _Crash
        if self._method == "run":
            raise KeyboardInterrupt
        task = asyncio.current_task()
        if task is not None:
            task.cancel()
        await asyncio.sleep(0)

    async def around(self, name: str, call: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """Come by the boundaries before and after a call."""
        await self.reach(f"before {name}")
        result = await call()
        await self.reach(f"after {name}")
        return result


class _BreakingExecutor:
    """A mixin of executors: calls of users' functions are boundaries."""

    breaker: _Breaker

    async def call(self, function: UserFunction, *args: Any) -> Any:  # noqa: ANN401
        call = partial(super().call, function, *args)  # type: ignore[misc]
        return await self.breaker.around(_words(function.function), call)


class _BreakingBackend:
    """A mixin of backends: the library's own blocking work is a boundary."""

    breaker: _Breaker

    async def wait_for(self, pending: PendingResult[_Result]) -> _Result:
        # It was asked for already, so there is no boundary before it.
        result: _Result = await super().wait_for(pending)  # type: ignore[misc]
        await self.breaker.reach(f"after {_words(pending.work)}")
        return result

    async def run(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        call = partial(super().run, function, *args)  # type: ignore[misc]
        return await self.breaker.around(_words(function), call)


class _BreakingSyncExecutor(_BreakingExecutor, SyncExecutor):
    def __init__(self, breaker: _Breaker) -> None:
        super().__init__()
        self.breaker = breaker


class _BreakingSyncBackend(_BreakingBackend, SyncBackend):
    def __init__(self, breaker: _Breaker) -> None:
        super().__init__()
        self.breaker = breaker
        self.executor = _BreakingSyncExecutor(breaker)


class _BreakingAsyncExecutor(_BreakingExecutor, AsyncExecutor):
    def __init__(self, breaker: _Breaker) -> None:
        super().__init__(DEFAULT_STEP_THREADS)
        self.breaker = breaker


class _BreakingAsyncBackend(_BreakingBackend, AsyncBackend):
    def __init__(self, breaker: _Breaker) -> None:
        super().__init__(_BreakingAsyncExecutor(breaker))
        self.breaker = breaker


def _words(function: object) -> str:
    name = str(getattr(function, "__name__", type(function).__name__))
    return _WORDS.get(name, f"{name}()")


class _Trial:
    """How a flow is made and run."""

    def __init__(
        self,
        make_flow: Callable[[str], CheckpointFlow],
        state: _State | None,
        load_policy: LoadPolicy,
        door: _Method,
        update: _State | None,
    ) -> None:
        self._make_flow = make_flow
        self._state = state
        self._load_policy: LoadPolicy = load_policy
        self._door = door
        self._update = update

    def run(self, directory: str, breaker: _Breaker) -> _State:
        """Run a new flow in a directory that may have a checkpoint, and go on where it pauses."""
        os.makedirs(directory, exist_ok=True)
        flow = self._make_flow(f"{directory}/checkpoint.pkl")
        state = copy.deepcopy(self._state)
        given = None if flow.plan(state).ignores_given else state
        ended = self._carry_out(flow, breaker, given)
        for _ in flow._steps:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            if ended.status != "paused" or self._update is None:
                break
            ended = self._carry_out(flow, breaker, None, copy.deepcopy(self._update))
        return ended.state

    def _carry_out(
        self,
        flow: CheckpointFlow,
        breaker: _Breaker,
        state: _State | None,
        update: _State | None = None,
    ) -> RunOutcome:
        request = flow._request(state, self._load_policy, update=update)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if self._door == "arun":
            return _on_a_loop(_run_on_loop(flow, request, breaker))
        backend = _BreakingSyncBackend(breaker)
        try:
            return run_to_completion(flow._run(backend, request, None, 0.0))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        finally:
            backend.close()

    def break_and_resume(self, directory: str, breaker: _Breaker) -> _State:
        """Run a flow that breaks off, and then another one to its end."""
        try:
            self.run(directory, breaker)
        except (_Crash, KeyboardInterrupt, asyncio.CancelledError):
            pass
        else:
            raise AssertionError("the run did not come that far: make_flow makes different flows")
        return self.run(directory, _Breaker([], None, "crash", self._door))


async def _run_on_loop(flow: CheckpointFlow, request: Request, breaker: _Breaker) -> RunOutcome:
    backend = _BreakingAsyncBackend(breaker)
    return await flow._run(backend, request, None, 0.0)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _on_a_loop(work: Coroutine[Any, Any, _Result]) -> _Result:
    loop = PrivateLoop()
    try:
        return loop.run(work)
    finally:
        loop.close()


def _differ(expected: _State, final: _State) -> str:
    keys = [key for key in {**expected, **final} if not _equal(expected, final, key)]
    return f"the values of {', '.join(map(repr, keys))} differ" if keys else "same() says so"


def _equal(expected: _State, final: _State, key: str) -> bool:
    if key not in expected or key not in final:
        return False
    try:
        return bool(expected[key] == final[key])
    except Exception:  # noqa: BLE001 - an array compares to no single truth
        return False

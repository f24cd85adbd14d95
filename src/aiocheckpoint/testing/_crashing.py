"""Runs a user's own flow, and interrupts it at every boundary."""

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
from aiocheckpoint._concurrency.interrupters import LoopInterrupter
from aiocheckpoint._concurrency.private_loop import PrivateLoop
from aiocheckpoint._engine.failures import add_note_once
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError
from aiocheckpoint.flow import CheckpointFlow
from aiocheckpoint.handlers._registry import moves_snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiocheckpoint._concurrency.callables import UserFunction
    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._engine.outcomes import RunOutcome
    from aiocheckpoint._model.request import LoadPolicy, Request
    from aiocheckpoint._runs.core import FlowCore

__all__ = ["crash_everywhere"]

_Result = TypeVar("_Result")
_Way = Literal["crash", "cancel"]
_Method = Literal["run", "arun"]
_State = dict[str, Any]

_BLOCKING_WORK = {
    "_acquire": "taking the lock",
    "Claim": "taking the lock",
    "Save": "storing a snapshot",
    "_read_and_record_start": "looking for a checkpoint",
    "_load": "reading the state",
    "_replace": "storing a snapshot",
}
"""What the library's own blocking functions and requests do, by their names."""


def crash_everywhere(
    make_flow: Callable[[str], CheckpointFlow[Any]],
    state: _State | None = None,
    *,
    load_policy: LoadPolicy | None = None,
    method: Literal["run", "arun"] = "run",
    same: Callable[[Any, Any], object] = operator.eq,
    update: _State | None = None,
) -> int:
    """Interrupt a flow at every boundary, resume it, and check that the final state is the same.

    The flow runs once undisturbed. It has a boundary before and after each loader, step, saver and
    snapshot. For every boundary it runs twice more, each time at a new path, and is interrupted
    there. The first interruption is like a killed process, so nothing is recorded. The second is
    a cancellation, or a `KeyboardInterrupt` under "run". A new flow at the same path then runs to
    its end, and its final state must be that of the undisturbed run.

    The interruption ends the run, not this process. Fakes of outside services therefore keep
    their records, as real services would. Count in them the work that was done twice.

    A step that pauses ends its run, and the states at the pause are compared. With an `update`,
    each run resumes with it instead, at most once for each step, and is interrupted behind the
    pause as well. The waits between the attempts of `retry=` are real, unless
    `stamina.set_testing(True)` shortens them.

    Args:
        make_flow: A function that takes one argument, the path of a checkpoint as a `str`. It
            returns a new flow with all its steps, stored at that path, as by
            `CheckpointFlow(path)` or `CheckpointFlow(path, "sqlite")`. It is called for every
            run, twice with the same path: to be interrupted, and to resume.
        state: The initial state. Each run is given a deep copy.
        load_policy: The loaders to call, as in `CheckpointFlow.run`.
        method: The method that runs the flow: "run", or "arun" on an event loop, which a flow
            with limiters needs.
        same: `same(expected, final)` compares two final states where `==` is of no use, as with
            times or arrays.
        update: The update for a paused run, as in `CheckpointFlow.run`, with the values for all
            its steps. Each run is given a deep copy.

    Returns:
        The number of boundaries.

    Raises:
        InvalidTypeError: `make_flow` is no function, or what it returns is no flow.
        InvalidValueError: The flow is stored elsewhere than at the path, or `same` raises an error.
        AssertionError: The final state after an interruption differs. The message names the
            boundary, and the keys that differ.
        BaseException: The exception of the flow, with a note that names the interruption.
    """
    trial = _Trial(make_flow, state, load_policy, method, update)
    with tempfile.TemporaryDirectory(prefix="aiocheckpoint-") as directory:
        boundaries: list[str] = []
        undisturbed = _Breaker(boundaries, None, "crash", method)
        expected = trial.run(f"{directory}/undisturbed", undisturbed)
        for way in ("crash", "cancel"):
            for number, boundary in enumerate(boundaries):
                place = f"{directory}/{way}-{number}"
                where = f"crash_everywhere: after a {way} {boundary}, number {number}"
                try:
                    final = trial.break_and_resume(place, _Breaker([], number, way, method))
                except BaseException as error:
                    add_note_once(error, where)
                    raise
                if not _compare(same, expected, final):
                    raise AssertionError(
                        f"{where}, the flow ended otherwise: {_differ(expected, final)}"
                    )
    return len(boundaries)


class _Crash(GeneratorExit):
    """Ends a run as `coroutine.close()` does: nothing is recorded."""


class _Breaker:
    """Counts the boundaries, and interrupts the run at one of them.

    Args:
        seen: A list that each boundary is appended to, in words.
        at: Number of the boundary to interrupt at, or None.
        way: "crash" or "cancel".
        method: The method that runs the flow. A run under "run" has no task to cancel.
    """

    def __init__(self, seen: list[str], at: int | None, way: _Way, method: _Method) -> None:
        self._seen = seen
        self._at = at
        self._way = way
        self._method = method

    async def reach(self, boundary: str) -> None:
        """Count a boundary, and interrupt the run if it is the one."""
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
        """Count the boundaries before and after a call."""
        await self.reach(f"before {name}")
        result = await call()
        await self.reach(f"after {name}")
        return result


class _BreakingExecutor:
    """A mixin of executors: calls of users' functions are boundaries."""

    breaker: _Breaker

    async def call(self, function: UserFunction, *args: Any) -> Any:  # noqa: ANN401
        call = partial(super().call, function, *args)  # type: ignore[misc]
        return await self.breaker.around(f"{_name(function.function)}()", call)


class _BreakingBackend:
    """A mixin of backends: the library's own blocking work is a boundary."""

    breaker: _Breaker

    async def wait_for(self, pending: PendingResult[_Result]) -> _Result:
        # The request was made before, so there is no boundary before it.
        result: _Result = await super().wait_for(pending)  # type: ignore[misc]
        await self.breaker.reach(f"after {_blocking_work(pending.request)}")
        return result

    async def run(self, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
        call = partial(super().run, function, *args)  # type: ignore[misc]
        return await self.breaker.around(_blocking_work(function), call)


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
    def __init__(self, breaker: _Breaker, core: FlowCore) -> None:
        super().__init__(core.step_threads, core.store_threads)
        self.breaker = breaker


class _BreakingAsyncBackend(_BreakingBackend, AsyncBackend):
    def __init__(self, breaker: _Breaker, core: FlowCore) -> None:
        super().__init__(_BreakingAsyncExecutor(breaker, core))
        self.breaker = breaker


def _name(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _blocking_work(work: object) -> str:
    name = _name(work)
    return _BLOCKING_WORK.get(name, f"{name}()")


class _Trial:
    """Makes a flow and runs it, as often as needed."""

    def __init__(
        self,
        make_flow: Callable[[str], CheckpointFlow[Any]],
        state: _State | None,
        load_policy: LoadPolicy | None,
        method: _Method,
        update: _State | None,
    ) -> None:
        self._make_flow = make_flow
        self._state = state
        self._load_policy: LoadPolicy | None = load_policy
        self._method: _Method = method
        self._update = update

    def run(self, directory: str, breaker: _Breaker) -> _State:
        """Run a new flow in a directory that may have a checkpoint, and resume it at its pauses."""
        os.makedirs(directory, exist_ok=True)
        flow = _made(self._make_flow, f"{directory}/checkpoint.pkl")
        state = copy.deepcopy(self._state)
        given = None if flow.plan(state).ignores_given else state
        core = flow._core  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        outcome = self._run_once(core, breaker, given)
        for _ in core.registry.steps:
            if outcome.status != "paused" or self._update is None:
                break
            outcome = self._run_once(core, breaker, None, copy.deepcopy(self._update))
        return outcome.state

    def _run_once(
        self,
        core: FlowCore,
        breaker: _Breaker,
        state: _State | None,
        update: _State | None = None,
    ) -> RunOutcome:
        request = core.request(state, self._load_policy, update=update)
        if self._method == "arun":
            return _on_a_loop(_run_on_loop(core, request, breaker))
        backend = _BreakingSyncBackend(breaker)
        try:
            return run_to_completion(core.run(backend, request, None))
        finally:
            backend.close()

    def break_and_resume(self, directory: str, breaker: _Breaker) -> _State:
        """Run a flow that is interrupted, and then another one to its end."""
        try:
            self.run(directory, breaker)
        except (_Crash, KeyboardInterrupt, asyncio.CancelledError):
            pass
        else:
            raise AssertionError("the run did not come that far: make_flow makes different flows")
        return self.run(directory, _Breaker([], None, "crash", self._method))


def _made(make_flow: Any, path: str) -> CheckpointFlow:  # noqa: ANN401 - any argument of a user
    """Make a flow by the user's function.

    Raises:
        InvalidTypeError: It is no function, or makes no flow.
    """
    if not callable(make_flow):
        kind = type(make_flow).__name__
        raise InvalidTypeError(
            f"make_flow is a function of a path that makes a flow, not a {kind}."
        )
    flow = make_flow(path)
    if not isinstance(flow, CheckpointFlow):
        kind = type(flow).__name__
        raise InvalidTypeError(
            f"make_flow must return a CheckpointFlow, not a {kind}. Was its `return` forgotten?"
        )
    location = flow.handler.locate() if moves_snapshots(flow.handler) else ""
    if os.path.isabs(location) and not _is_below(location, os.path.dirname(path)):
        raise InvalidValueError(
            f"make_flow(path) made a flow that is stored in {location}, which the interrupted runs "
            f"would overwrite. Store it at the path given, here {path!r}."
        )
    return flow


def _is_below(path: str, directory: str) -> bool:
    real = os.path.realpath(directory)
    return os.path.commonpath([os.path.realpath(path), real]) == real


async def _run_on_loop(core: FlowCore, request: Request, breaker: _Breaker) -> RunOutcome:
    backend = _BreakingAsyncBackend(breaker, core)
    return await core.run(backend, request, None)


def _on_a_loop(work: Coroutine[Any, Any, _Result]) -> _Result:
    loop = PrivateLoop(LoopInterrupter())
    try:
        return loop.run(work)
    finally:
        loop.close()


def _compare(same: Callable[[Any, Any], object], expected: _State, final: _State) -> bool:
    try:
        return bool(same(expected, final))
    except Exception as error:
        raise InvalidValueError(
            "the final states cannot be compared, as with == of arrays or tables. Give "
            "crash_everywhere(..., same=f): f(expected, final) says whether two states are the "
            "same, for instance by numpy.array_equal of each array."
        ) from error


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

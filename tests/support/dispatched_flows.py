"""Flows whose runs are sent to workers, which are killed, or whose answers are lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocheckpoint import CheckpointFlow, Pause, Terminate, current_step

if TYPE_CHECKING:
    from collections.abc import Callable

State = dict[str, Any]


def begin(state: State) -> None:
    """Note the worker, and the idempotency key."""
    state["pid"], state["key"] = os.getpid(), current_step().idempotency_key
    note(state, "begin")


def work(state: State) -> None:  # noqa: C901 - one line for each word
    """Do as the state says."""
    note(state, "work")
    match state.get("do"):
        case "kill":
            kill_once(state)
        case "kill always":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise ValueError(f"run {state['n']} is broken")
        case "raise what cannot be sent":
            raise _make_local_error()
        case "raise what cannot be loaded":
            raise TwoArgumentsError("one", "two")
        case "exit":
            raise SystemExit(3)
        case "pause":
            raise Pause("to be approved")
        case "terminate":
            raise Terminate("no longer wanted")
        case "sleep":
            time.sleep(0.3)
        case "make":
            state["made"] = OnlyThere()
        case _:
            pass


async def end(state: State) -> None:
    """Double the number, in a coroutine."""
    await asyncio.sleep(0)
    note(state, "end")
    state["n"] *= 2


def note(state: State, word: str) -> None:
    """Append a line to the file of the test."""
    with Path(state["log"]).open("a") as file:
        file.write(f"{word} {state['n']}\n")


def kill_once(state: State) -> None:
    """Kill this process, unless it was done before for the run."""
    marker = Path(f"{state['log']}-{state['n']}")
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _make_local_error() -> Exception:
    lock = __import__("threading").Lock()

    class LocalError(Exception):
        held = lock

        def __reduce__(self) -> tuple[Any, ...]:
            raise TypeError("it holds a lock")

    return LocalError("a text")


class TwoArgumentsError(Exception):
    """An exception that pickle makes anew with one argument too few."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


class OnlyThere:
    """A value that is loaded in the workers alone."""

    def __reduce__(self) -> tuple[Any, ...]:
        return make_there, (os.getpid(),)


def make_there(pid: int) -> OnlyThere:
    """Make a value, in the process that has stored it."""
    if pid != os.getpid():
        raise ZeroDivisionError(pid)
    return OnlyThere()


def dispatched_flow(place: str, **options: Any) -> CheckpointFlow:  # noqa: ANN401 - as the class
    """Make a flow of three steps that plain pickle finds."""
    flow = CheckpointFlow(place, name="dispatched", fsync=False, **options)
    for step in (begin, work, end):
        flow.add_step()(step)
    return flow


def spawned_pool(processes: int = 2) -> ProcessPoolExecutor:
    """Make a pool of new processes."""
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


class LosingExecutor(Executor):
    """Carries calls out in a pool, and loses answers of calls that have ended.

    Args:
        pool: The pool.
        losses: How many answers are lost.
        error: Makes the error in place of each.
    """

    def __init__(
        self,
        pool: Executor,
        losses: int,
        error: Callable[[], BaseException] = lambda: BrokenExecutor("lost"),
    ) -> None:
        self._pool, self.losses, self._error = pool, losses, error
        self.submitted = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
        """Submit a call."""
        self.submitted += 1
        given, inner = Future[Any](), self._pool.submit(fn, *args, **kwargs)
        given.set_running_or_notify_cancel()

        def take(ended: Future[Any]) -> None:
            if self.losses:
                self.losses -= 1
                given.set_exception(self._error())
            elif (error := ended.exception()) is not None:
                given.set_exception(error)
            else:
                given.set_result(ended.result())

        inner.add_done_callback(take)
        return given

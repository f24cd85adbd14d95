"""Tracebacks: the user's own line comes right behind one frame of the library."""

from __future__ import annotations

import asyncio
import logging
import math
import pdb  # noqa: T100 - its look at an exception is what is tested
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from run_factories import UNFINISHED
from seen_tracebacks import PACKAGE, frames, own_frames, printed
from support import Runner, State, add_with

from aiocheckpoint import (
    CheckpointFlow,
    Pause,
    Retry,
    RunInProgressError,
    StepTimeoutError,
    UnserializableStateError,
)
from aiocheckpoint._engine import opening as opening_module
from aiocheckpoint.events import AttemptFailed, StepFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from aiocheckpoint.events import Event

FRONT = {"run": "lib:run", "notebook": "lib:run", "arun": "lib:arun"}
every_part = pytest.mark.parametrize("part", ["load", "step", "save"])


def broken_line(state: State) -> None:
    """Break on a line of the user's own."""
    state["x"] = 1 / 0


def sync_part(state: State) -> None:
    """Break in a sync function."""
    broken_line(state)


async def async_part(state: State) -> None:
    """Break in a coroutine."""
    await asyncio.sleep(0)
    broken_line(state)


def awaitable_part(state: State) -> Any:  # noqa: ANN401
    """Give an awaitable that breaks."""
    return async_part(state)


BREAKING: dict[str, Callable[[State], Any]] = {
    "sync": sync_part,
    "async": async_part,
    "awaitable": awaitable_part,
}


def behind_front(runner: Runner, error: BaseException) -> list[str]:
    """The frames behind the library's one frame, which must be that of the public method."""
    front, *rest = frames(error)
    assert front == FRONT[runner.name]
    return rest


@pytest.mark.parametrize("kind", BREAKING)
@every_part
def test_users_line_comes_first(kind: str, part: str, any_runner: Runner, tmp_path: Path) -> None:
    """Whatever part breaks, and however it is called, one frame of the library is left."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    add_with(cp, "s", part, BREAKING[kind])
    with pytest.raises(ZeroDivisionError) as info:
        any_runner(cp)
    part_frame = {"sync": "sync_part"}.get(kind, "async_part")
    assert behind_front(any_runner, info.value) == [part_frame, "broken_line"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_retried_step(kind: str, any_runner: Runner, tmp_path: Path) -> None:
    """The frames of the packages that repeat an attempt are not shown either."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    policy = Retry(attempts=3, wait_initial=0, wait_jitter=0)
    cp.add_step(name="s", retry=policy)(BREAKING[kind])
    with pytest.raises(ZeroDivisionError) as info:
        any_runner(cp)
    assert behind_front(any_runner, info.value) == [f"{kind}_part", "broken_line"]


def test_broken_retry_decision(any_runner: Runner, tmp_path: Path) -> None:
    """A function that decides on retries is the user's code as well."""
    cp = CheckpointFlow(tmp_path / "c.pkl")

    def decide(error: Exception) -> bool:
        raise LookupError

    cp.add_step(name="s", retry=Retry(on=decide, wait_initial=0))(sync_part)
    with pytest.raises(LookupError) as info:
        any_runner(cp)
    assert behind_front(any_runner, info.value) == ["decide"]
    assert isinstance(info.value.__context__, ZeroDivisionError)
    assert frames(info.value.__context__) == []  # Nothing of the library, so nothing is listed.


def test_function_without_frames(any_runner: Runner, tmp_path: Path) -> None:
    """A step that is written in C has no line to show."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="s")(cast("Callable[[State], float]", math.sqrt))
    with pytest.raises(TypeError, match="real number") as info:
        any_runner(cp)
    assert behind_front(any_runner, info.value) == []


def test_time_limit_shows_the_line_that_took_too_long(any_runner: Runner, tmp_path: Path) -> None:
    """The cause of a `StepTimeoutError` is the cancellation, at the line of the step."""
    cp = CheckpointFlow(tmp_path / "c.pkl")

    @cp.add_step(timeout=0.05)
    async def slow(state: State) -> None:
        await asyncio.sleep(60)

    with pytest.raises(StepTimeoutError) as info:
        any_runner(cp)
    assert behind_front(any_runner, info.value) == []
    cause = info.value.__cause__
    assert isinstance(cause, asyncio.CancelledError)
    assert own_frames(cause) == []
    assert "in slow" in printed(cause)
    assert "timeouts.py" not in printed(info.value)


async def test_cancelled_coroutine(tmp_path: Path) -> None:
    """A cancellation shows the line at which the step was."""
    cp, begun = CheckpointFlow(tmp_path / "c.pkl"), asyncio.Event()

    @cp.add_step()
    async def wait(state: State) -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(cp.arun())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as info:
        await task
    assert frames(info.value)[:2] == ["lib:arun", "wait"]
    assert len(own_frames(info.value)) == 1


async def test_cancelled_wait_for_a_thread(tmp_path: Path) -> None:
    """A cancellation that waited for a thread has the step's exception as its cause."""
    cp, begun = CheckpointFlow(tmp_path / "c.pkl"), threading.Event()

    @cp.add_step()
    def work(state: State) -> None:
        begun.set()
        time.sleep(0.1)
        broken_line(state)

    task = asyncio.create_task(cp.arun())
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as info:
        await task
    assert frames(info.value) == ["lib:arun"]
    assert isinstance(info.value.__cause__, ZeroDivisionError)
    assert own_frames(info.value.__cause__) == []
    assert "in work" in printed(info.value.__cause__)


def test_same_object_keeps_causes_and_group(any_runner: Runner, tmp_path: Path) -> None:
    """Causes and exception groups of the user's own are left as they are."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    raised = list[BaseException]()

    @cp.add_step()
    async def grouped(state: State) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(async_part(state))
        except ExceptionGroup as error:
            raised.extend((error, ValueError("mine")))
            raise raised[1] from error

    with pytest.raises(ValueError, match="mine") as info:
        any_runner(cp)
    group, error = raised
    assert info.value is error
    assert error.__cause__ is group
    assert behind_front(any_runner, error) == ["grouped"]
    assert "in async_part" in printed(error)
    assert printed(error).count(PACKAGE) == 1


def test_flow_in_a_step(any_runner: Runner, tmp_path: Path) -> None:
    """A run inside a step adds its own one frame."""
    inner, outer = CheckpointFlow(tmp_path / "i.pkl"), CheckpointFlow(tmp_path / "o.pkl")
    inner.add_step(name="s")(sync_part)

    @outer.add_step()
    async def nest(state: State) -> None:
        await inner.arun()

    with pytest.raises(ZeroDivisionError) as info:
        any_runner(outer)
    assert behind_front(any_runner, info.value) == ["nest", "lib:arun", "sync_part", "broken_line"]


def test_own_error_in_a_step(any_runner: Runner, tmp_path: Path) -> None:
    """An error of the library that comes out of a step shows the line of the step."""
    cp = CheckpointFlow(tmp_path / "c.pkl")

    @cp.add_step()
    def nest(state: State) -> None:
        cp.run()

    with pytest.raises(RunInProgressError) as info:
        any_runner(cp)
    assert behind_front(any_runner, info.value) == ["nest", "lib:run"]


class Handler:
    """A user's own handler, whose `write` breaks."""

    def __init__(self, path: object) -> None:
        """Take the path."""

    def read(self) -> State:
        """Give nothing."""
        return {}

    def write(self, state: State) -> None:
        """Break."""
        broken_line(state)


class AsyncHandler(Handler):
    """The same with coroutines."""

    async def write(self, state: State) -> None:  # type: ignore[override]
        """Break."""
        broken_line(state)


@pytest.mark.parametrize("handler", [Handler, AsyncHandler])
def test_own_handler(handler: type[Handler], any_runner: Runner, tmp_path: Path) -> None:
    """The line of a handler of dicts is shown as that of a step."""
    cp = CheckpointFlow(tmp_path / "c.pkl", handler)
    cp.add_step(name="s")(lambda state: None)
    with pytest.raises(ZeroDivisionError) as info:
        any_runner(cp)
    assert behind_front(any_runner, info.value) == ["write", "broken_line"]


class Unpicklable:
    """A value whose own method breaks when it is stored."""

    def __reduce__(self) -> str:
        """Break."""
        raise ValueError("cannot")


def test_value_that_cannot_be_stored(any_runner: Runner, tmp_path: Path) -> None:
    """The cause is the user's exception at the user's line, without the pickler's frames."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="s")(lambda state: state.update(x=[[[Unpicklable()]]]))
    with pytest.raises(UnserializableStateError) as info:
        any_runner(cp)
    assert behind_front(any_runner, info.value) == []
    assert isinstance(info.value.__cause__, ValueError)
    text = printed(info.value)
    assert "in __reduce__" in text
    assert "pickling" not in text
    assert "/dill/" not in text


def test_refused_value_has_no_cause_of_the_library(any_runner: Runner, tmp_path: Path) -> None:
    """Private exceptions of the library are not shown as causes."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="s")(lambda state: state.update(lock=threading.Lock()))
    with pytest.raises(UnserializableStateError) as info:
        any_runner(cp)
    assert info.value.__cause__ is None
    assert printed(info.value).count("Traceback") == 1


def test_pause_in_a_loader(any_runner: Runner, tmp_path: Path) -> None:
    """The exception that an error of the library was made from keeps the user's frames alone."""
    cp = CheckpointFlow(tmp_path / "c.pkl")

    def load(state: State) -> State:
        raise Pause("no")

    add_with(cp, "s", "load", load)
    with pytest.raises(Exception, match="only a step may pause") as info:
        any_runner(cp)
    assert behind_front(any_runner, info.value) == []
    assert isinstance(info.value.__cause__, Pause)
    assert own_frames(info.value.__cause__) == []


def test_fault_of_the_library_keeps_its_frames(
    any_runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that the library itself raises is shown whole, to be reported."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="s")(sync_part)

    def fault(*_: object) -> None:
        raise AttributeError("a bug")

    monkeypatch.setattr(opening_module, "plan_run", fault)
    with pytest.raises(AttributeError, match="a bug") as info:
        any_runner(cp, checkpoint=0)
    assert {"lib:hold_lock", "lib:execute", "fault"} <= set(frames(info.value))


def test_events_and_logs_of_a_hook(
    any_runner: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Hooks get short tracebacks, and an exception of a hook is logged with a short one."""
    seen = dict[str, list[str]]()

    async def hook(event: Event) -> None:
        if isinstance(event, (AttemptFailed, StepFailed)):
            seen[type(event).__name__] = frames(event.error)
            raise OSError("hook")

    cp = CheckpointFlow(tmp_path / "c.pkl", hooks=[hook])
    policy = Retry(attempts=2, wait_initial=0, wait_jitter=0)
    cp.add_step(name="s", retry=policy)(async_part)
    with caplog.at_level(logging.ERROR), pytest.raises(ZeroDivisionError):
        any_runner(cp)
    for names in seen.values():
        assert names[-2:] == ["async_part", "broken_line"]
        assert len([name for name in names if name.startswith("lib:")]) <= 2
    assert len(seen) == 2
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert errors
    assert [frames(error)[1:] for error in errors if error] == [["hook"]] * len(errors)


async def test_results_and_streams(tmp_path: Path) -> None:
    """Results of many runs, and streams, show at most two frames before the user's line."""
    cp = CheckpointFlow(f"{tmp_path}/runs/")
    cp.add_step(name="s")(sync_part)
    results = [*await cp.amap({"a": {}, "b": {}}), *await cp.aresume_all(status=UNFINISHED)]
    assert len(results) == 4
    for result in results:
        assert isinstance(result.error, ZeroDivisionError)
        assert frames(result.error) == ["lib:run_result", "sync_part", "broken_line"]
    for way in (looped, awaited, stepped):
        with pytest.raises(ZeroDivisionError) as info:
            await way(cp)
        assert frames(info.value)[-2:] == ["sync_part", "broken_line"]
        assert len(own_frames(info.value)) <= 2


async def looped(cp: CheckpointFlow) -> None:
    """Loop over the events of a run."""
    async for _ in cp.astream(run_id="a"):
        pass


async def awaited(cp: CheckpointFlow) -> None:
    """Await the events of a run."""
    await cp.astream(run_id="a")


async def stepped(cp: CheckpointFlow) -> None:
    """Ask for each event of a run."""
    stream = cp.astream(run_id="a")
    while True:
        await anext(stream)


def pairs() -> Iterator[tuple[str, State]]:
    """Break behind the first pair."""
    yield "a", {}
    broken_line({})


async def apairs() -> AsyncIterator[tuple[str, State]]:
    """Break behind the first pair."""
    for pair in pairs():
        yield pair


@pytest.mark.parametrize(("source", "last"), [(pairs, "pairs"), (apairs, "apairs")])
async def test_source_of_runs(source: Callable[[], Any], last: str, tmp_path: Path) -> None:
    """An exception of the iterable that `amap` was given shows its line."""
    cp = CheckpointFlow(f"{tmp_path}/runs/")
    cp.add_step(name="s")(lambda state: None)
    with pytest.raises(ZeroDivisionError) as info:
        await cp.amap(source())
    assert len(own_frames(info.value)) <= 2
    assert frames(info.value)[2] == last


def test_debugger_lands_on_the_users_line(
    any_runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pdb.pm()` starts in the frame that broke, with its variables."""
    cp, seen = CheckpointFlow(tmp_path / "c.pkl"), list[tuple[str, bool]]()
    cp.add_step(name="s")(async_part)

    def interaction(self: pdb.Pdb, frame: object, tb: object) -> None:
        self.setup(None, tb)  # type: ignore[arg-type]
        current = self.curframe
        assert current is not None
        seen.append((current.f_code.co_name, "state" in current.f_locals))

    monkeypatch.setattr(pdb.Pdb, "interaction", interaction)
    with pytest.raises(ZeroDivisionError) as info:
        any_runner(cp)
    monkeypatch.setattr(sys, "last_traceback", info.value.__traceback__, raising=False)
    pdb.post_mortem(info.value.__traceback__)
    assert seen == [("broken_line", True)]


def test_recursion(any_runner: Runner, tmp_path: Path) -> None:
    """A step that calls itself for ever is shown from its first line on."""
    cp = CheckpointFlow(tmp_path / "c.pkl")

    def again(state: State) -> None:
        again(state)

    cp.add_step(name="s")(again)
    with pytest.raises(RecursionError) as info:
        any_runner(cp)
    assert set(behind_front(any_runner, info.value)) == {"again"}

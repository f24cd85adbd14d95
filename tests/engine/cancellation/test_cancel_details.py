"""Further promises for a cancelled run: locks, notes, hooks, causes and other calls."""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import signal
import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from held_runs import HOLD_POINTS, NAMES, HeldRun, state_after
from interrupts import PATIENCE, Latch, check_nothing_comes_after, this_task, turns
from support import notes_of

from aiocheckpoint import CheckpointFlow, LocalStateHandler, RunInProgressError
from aiocheckpoint.events import StepFailed
from aiocheckpoint.handlers._files.lock import FileLock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from support import FlowFactory, State


def held_run_at(place: str, tmp_path: Path) -> HeldRun:
    """Make a run that blocks at a given point."""
    return HeldRun(tmp_path / "checkpoint.pkl", HOLD_POINTS[place])


@pytest.mark.parametrize("place", ["step-sync", "snapshot-begun", "own-async-write"])
async def test_path_stays_locked_until_the_work_has_ended(place: str, tmp_path: Path) -> None:
    """While a cancelled run waits for its work, no other run of the same path may begin."""
    held_run = held_run_at(place, tmp_path)
    other = held_run.flow() if held_run.place.own else CheckpointFlow(held_run.path)
    if not held_run.place.own:
        other.add_step(name="a")(lambda state: None)
    flow = other if held_run.place.own else held_run.flow()
    task = asyncio.create_task(flow.arun(state_after(0), "always"))
    await held_run.latch.reached()
    task.cancel()
    await turns(5)
    with pytest.raises(RunInProgressError):
        await other.arun()
    held_run.latch.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await held_run.start() == state_after(3)


@pytest.mark.parametrize(
    ("place", "when"),
    [
        ("load-sync", "before 'b'"),
        ("snapshot-begun", "after 'b'"),
        ("snapshot-queued", "after 'b'"),
    ],
)
async def test_note_names_the_point_of_cancellation(place: str, when: str, tmp_path: Path) -> None:
    """The raised cancellation has one note, which says where the run was cancelled."""
    held_run = held_run_at(place, tmp_path)
    task = asyncio.create_task(held_run.latch.watch(held_run.start))
    await held_run.latch.interrupt(lambda: task.cancel("by hand"))
    with pytest.raises(asyncio.CancelledError, match="by hand") as info:
        await task
    assert len(info.value.__notes__) == 1
    assert "2 of 3" in notes_of(info.value)
    assert when in notes_of(info.value)
    held_run.clear()


@pytest.mark.parametrize("scoped", [False, True], ids=["task", "scope"])
async def test_hooks_get_the_events_of_a_cancellation(tmp_path: Path, *, scoped: bool) -> None:
    """Sync and async hooks get every event, even if an anyio scope cancels each await."""
    reported: list[object] = []

    async def hook(event: object) -> None:
        await asyncio.sleep(0)
        if isinstance(event, StepFailed):
            reported.append((event.step, event.part, event.cancelled))

    started = asyncio.Event()
    cp = CheckpointFlow(tmp_path / "c.pkl", hooks=[hook])

    @cp.add_step()
    async def wait(state: State) -> None:
        started.set()
        await asyncio.Event().wait()

    with anyio.CancelScope() as scope:
        task = this_task()
        starter = asyncio.create_task(started.wait())
        starter.add_done_callback(lambda _: scope.cancel() if scoped else task.cancel())
        try:
            await cp.arun()
        except asyncio.CancelledError:
            if scoped:
                raise
            task.uncancel()
    assert reported == [("wait", "step", True)]


async def test_step_that_fails_after_the_cancellation_is_its_cause(tmp_path: Path) -> None:
    """An exception that a sync step raises after the cancellation becomes its cause."""
    latch = Latch(blocks=True)
    cp = CheckpointFlow(tmp_path / "c.pkl")
    error = ValueError("too late")

    @cp.add_step()
    def fail(state: State) -> None:
        latch.hold()
        raise error

    task = asyncio.create_task(latch.watch(cp.arun))
    await latch.interrupt(task.cancel)
    with pytest.raises(asyncio.CancelledError) as info:
        await task
    assert info.value.__cause__ is error
    header = LocalStateHandler(tmp_path / "c.pkl").header()
    assert header is not None
    assert header.status == "cancelled"
    assert header.failure is not None
    assert "too late" in header.failure.traceback


async def test_awaitable_made_after_the_cancellation_is_put_away(tmp_path: Path) -> None:
    """A coroutine that a plain function returns too late is closed, without a warning."""
    latch = Latch(blocks=True)
    cp = CheckpointFlow(tmp_path / "c.pkl")

    async def never() -> None:
        raise AssertionError("a cancelled step went on")

    @cp.add_step()
    def give(state: State) -> Coroutine[None, None, None]:
        latch.hold()
        return never()

    task = asyncio.create_task(latch.watch(cp.arun))
    await latch.interrupt(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_while_waiting_for_another_run(flows: FlowFactory) -> None:
    """A run that waits for the lock can be cancelled. The owner of the lock is not disturbed."""
    latch = Latch(blocks=True)
    cp = flows.flow("a")
    cp.add_step(name="slow")(lambda state: latch.hold())
    first = asyncio.create_task(latch.watch(lambda: cp.arun({"who": "first"})))
    await latch.reached()
    second = asyncio.create_task(cp.arun({"who": "second"}, wait=math.inf))
    await asyncio.sleep(0.1)
    second.cancel()
    await asyncio.wait([second])
    assert second.cancelled()
    latch.opened.set()
    result = await first
    assert isinstance(result, dict)
    assert result["who"] == "first"
    assert (await cp.arun({"who": "third"}))["who"] == "third"


@pytest.mark.parametrize("name", ["areset", "awrite"])
async def test_other_writes_end_before_their_cancellation(name: str, tmp_path: Path) -> None:
    """A cancelled `areset` or `awrite` ends its work first, and leaves the lock free."""
    held_run = HeldRun(tmp_path / "checkpoint.pkl", HOLD_POINTS["before-locking"])
    cp = held_run.flow()
    calls: dict[str, Callable[[], Awaitable[None]]] = {
        "areset": cp.areset,
        "awrite": lambda: cp.handler.awrite({"trail": [], "loaded": []}),
    }

    async def start() -> None:
        await calls[name]()

    task = asyncio.create_task(held_run.latch.watch(start))
    await held_run.latch.interrupt(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held_run.latch.passed.is_set()
    assert await held_run.start() == state_after(3)


async def test_own_async_write_sees_no_cancellation(tmp_path: Path) -> None:
    """A user's own async `write` is not cancelled, and runs in the caller's context."""
    colour = contextvars.ContextVar("colour", default="none")
    colour.set("red")
    latch = Latch(blocks=True)
    seen: list[str] = []

    class Own:
        def read(self) -> State:
            return {}

        async def write(self, state: State) -> None:
            if state["checkpoint_index"]:
                await latch.ahold()
            seen.append(colour.get())

    cp = CheckpointFlow(tmp_path / "c.pkl", handler=Own())
    cp.add_step(name="a")(lambda state: None)
    cp.add_step(name="b")(lambda state: None)
    with anyio.CancelScope() as scope:
        latch.interrupt_soon(scope.cancel)
        await latch.watch(cp.arun)
    await latch.interrupted()
    assert scope.cancelled_caught
    assert seen == ["red", "red"]


@pytest.mark.parametrize("place", ["step-async", "step-sync", "snapshot-begun"])
def test_ctrl_c_in_arun(place: str, tmp_path: Path) -> None:
    """Ctrl-C under `asyncio.run` is a cancellation: the run waits, records it, and resumes."""
    held_run = held_run_at(place, tmp_path)

    async def main() -> None:
        def action() -> None:
            os.kill(os.getpid(), signal.SIGINT)

        held_run.latch.interrupt_soon(action)
        try:
            await held_run.latch.watch(held_run.start)
        finally:
            await held_run.latch.interrupted()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    header = held_run.header()
    assert header is not None
    assert (header.status, header.position) == ("cancelled", held_run.place.position)
    assert asyncio.run(held_run.start()) == state_after(len(NAMES))


def test_no_thread_is_started_for_coroutines_alone(tmp_path: Path) -> None:
    """Steps that are coroutines need no threads except for snapshots."""
    names = {thread.name for thread in threading.enumerate()}
    held_run = held_run_at("end-hook", tmp_path)
    held_run.armed = False
    asyncio.run(held_run.start())
    new = {thread.name for thread in threading.enumerate()} - names
    # A thread of the test runner's own may begin meanwhile.
    started = [name for name in new if name.startswith(("aiocheckpoint", "AnyIO", "asyncio"))]
    # One thread of each process looks for requests while runs are in progress, and ends by itself.
    expected = "aiocheckpoint-snapshot", "aiocheckpoint-looks"
    assert [name for name in started if not name.startswith(expected)] == []


async def test_scope_is_cancelled_as_the_lock_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scope whose cancellation comes too late for the run leaves none behind in the task."""
    loop, release = asyncio.get_running_loop(), FileLock.release
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="a")(lambda state: state.update(done=True))
    cancelled = threading.Event()

    def cancel() -> None:
        scope.cancel()
        loop.call_soon(cancelled.set)

    def cancel_and_release(lock: FileLock) -> None:
        loop.call_soon_threadsafe(cancel)
        assert cancelled.wait(PATIENCE)
        release(lock)

    with anyio.CancelScope() as scope:
        monkeypatch.setattr(FileLock, "release", cancel_and_release)
        assert await cp.arun({}) == {"done": True}
        monkeypatch.undo()
    assert scope.cancel_called
    await check_nothing_comes_after()

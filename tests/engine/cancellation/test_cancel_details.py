"""What else must hold when a run is cancelled: locks, notes, hooks, causes, and other calls."""

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
from interrupts import Gate, this_task, turns
from support import notes_of

from aiocheckpoint import CheckpointFlow, LocalStateHandler, RunInProgressError
from aiocheckpoint.events import StepFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from support import FlowFactory, State


def held_run_at(place: str, tmp_path: Path) -> HeldRun:
    """Make a run that is held at a point."""
    return HeldRun(tmp_path / "checkpoint.pkl", HOLD_POINTS[place])


@pytest.mark.parametrize("place", ["step-sync", "snapshot-begun", "own-async-write"])
async def test_place_stays_locked_until_the_work_has_ended(place: str, tmp_path: Path) -> None:
    """While a cancelled run waits for its work, no other run of the place may begin."""
    held_run = held_run_at(place, tmp_path)
    other = held_run.flow() if held_run.place.own else CheckpointFlow(held_run.path)
    if not held_run.place.own:
        other.add_step(name="a")(lambda state: None)
    flow = other if held_run.place.own else held_run.flow()
    task = asyncio.create_task(flow.arun(state_after(0), "always"))
    await held_run.gate.reached()
    task.cancel()
    await turns(5)
    with pytest.raises(RunInProgressError):
        await other.arun()
    held_run.gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await held_run.start() == state_after(3)


@pytest.mark.parametrize(
    ("place", "when"),
    [
        ("load-sync", "before 'b'"),
        ("snapshot-begun", "after 'b'"),
        ("snapshot-queued", "before 'b'"),
    ],
)
async def test_note_tells_where_it_was_cancelled(place: str, when: str, tmp_path: Path) -> None:
    """The cancellation that comes out has one note, which tells what is stored."""
    held_run = held_run_at(place, tmp_path)
    task = asyncio.create_task(held_run.gate.watch(held_run.start))
    await held_run.gate.interrupt(lambda: task.cancel("by hand"))
    with pytest.raises(asyncio.CancelledError, match="by hand") as info:
        await task
    assert len(info.value.__notes__) == 1
    assert "2 of 3" in notes_of(info.value)
    assert when in notes_of(info.value)
    held_run.clear()


@pytest.mark.parametrize("scoped", [False, True], ids=["task", "scope"])
async def test_hooks_are_told_of_a_cancellation(tmp_path: Path, *, scoped: bool) -> None:
    """Sync and async hooks hear all of it, also where an anyio scope cancels every await."""
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
    """What a sync step raises while the cancellation waits for it is not lost."""
    gate = Gate(blocks=True)
    cp = CheckpointFlow(tmp_path / "c.pkl")
    error = ValueError("too late")

    @cp.add_step()
    def fail(state: State) -> None:
        gate.hold()
        raise error

    task = asyncio.create_task(gate.watch(cp.arun))
    await gate.interrupt(task.cancel)
    with pytest.raises(asyncio.CancelledError) as info:
        await task
    assert info.value.__cause__ is error
    header = LocalStateHandler(tmp_path / "c.pkl").header()
    assert header is not None
    assert header.status == "cancelled"
    assert header.failure is not None
    assert "too late" in header.failure.traceback


async def test_awaitable_made_after_the_cancellation_is_put_away(tmp_path: Path) -> None:
    """A plain function that returns a coroutine too late leaves none that was never awaited."""
    gate = Gate(blocks=True)
    cp = CheckpointFlow(tmp_path / "c.pkl")

    async def never() -> None:
        raise AssertionError("a cancelled step went on")

    @cp.add_step()
    def give(state: State) -> Coroutine[None, None, None]:
        gate.hold()
        return never()

    task = asyncio.create_task(gate.watch(cp.arun))
    await gate.interrupt(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_while_waiting_for_another_run(flows: FlowFactory) -> None:
    """A run that waits for the lock can be cancelled, and the other one does not notice."""
    gate = Gate(blocks=True)
    cp = flows.flow("a")
    cp.add_step(name="slow")(lambda state: gate.hold())
    first = asyncio.create_task(gate.watch(lambda: cp.arun({"who": "first"})))
    await gate.reached()
    second = asyncio.create_task(cp.arun({"who": "second"}, wait=math.inf))
    await asyncio.sleep(0.1)
    second.cancel()
    await asyncio.wait([second])
    assert second.cancelled()
    gate.opened.set()
    result = await first
    assert isinstance(result, dict)
    assert result["who"] == "first"
    assert (await cp.arun({"who": "third"}))["who"] == "third"


@pytest.mark.parametrize("name", ["areset", "awrite"])
async def test_other_writes_end_before_their_cancellation(name: str, tmp_path: Path) -> None:
    """`areset` and `awrite` are waited for as well, and leave the place free."""
    held_run = HeldRun(tmp_path / "checkpoint.pkl", HOLD_POINTS["before-locking"])
    cp = held_run.flow()
    calls: dict[str, Callable[[], Awaitable[None]]] = {
        "areset": cp.areset,
        "awrite": lambda: cp.handler.awrite({"trail": [], "loaded": []}),
    }

    async def start() -> None:
        await calls[name]()

    task = asyncio.create_task(held_run.gate.watch(start))
    await held_run.gate.interrupt(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held_run.gate.passed.is_set()
    assert await held_run.start() == state_after(3)


async def test_own_async_write_sees_no_cancellation(tmp_path: Path) -> None:
    """A user's own async `write` is neither cancelled nor cut off from the caller's context."""
    colour = contextvars.ContextVar("colour", default="none")
    colour.set("red")
    gate = Gate(blocks=True)
    seen: list[str] = []

    class Own:
        def read(self) -> State:
            return {}

        async def write(self, state: State) -> None:
            if state["checkpoint_index"]:
                await gate.ahold()
            seen.append(colour.get())

    cp = CheckpointFlow(tmp_path / "c.pkl", handler=Own())
    cp.add_step(name="a")(lambda state: None)
    cp.add_step(name="b")(lambda state: None)
    with anyio.CancelScope() as scope:
        gate.interrupt_soon(scope.cancel)
        await gate.watch(cp.arun)
    await gate.interrupted()
    assert scope.cancelled_caught
    assert seen == ["red", "red"]


@pytest.mark.parametrize("place", ["step-async", "step-sync", "snapshot-begun"])
def test_ctrl_c_in_arun(place: str, tmp_path: Path) -> None:
    """Ctrl-C under `asyncio.run` is a cancellation: it waits, is recorded, and resumes."""
    held_run = held_run_at(place, tmp_path)

    async def main() -> None:
        def action() -> None:
            os.kill(os.getpid(), signal.SIGINT)

        held_run.gate.interrupt_soon(action)
        try:
            await held_run.gate.watch(held_run.start)
        finally:
            await held_run.gate.interrupted()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    header = held_run.header()
    assert header is not None
    assert (header.status, header.position) == ("cancelled", held_run.place.position)
    assert asyncio.run(held_run.start()) == state_after(len(NAMES))


def test_no_thread_is_started_for_coroutines_alone(tmp_path: Path) -> None:
    """Steps that are coroutines need no thread but those for snapshots."""
    names = {thread.name for thread in threading.enumerate()}
    held_run = held_run_at("end-hook", tmp_path)
    held_run.armed = False
    asyncio.run(held_run.start())
    new = {thread.name for thread in threading.enumerate()} - names
    assert all(name.startswith("aiocheckpoint-snapshot") for name in new)

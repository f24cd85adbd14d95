"""The ways to cancel a run, each with a check of its outcome, and the latch that holds the run."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

Start: TypeAlias = "Callable[[], Coroutine[Any, Any, object]]"
Way: TypeAlias = "Callable[[Latch, Start], Awaitable[None]]"

PATIENCE = 30.0


class Latch:
    """A point at which a run waits until the latch is opened or the run is cancelled.

    Attributes:
        blocks: Whether a cancellation has to wait there until the latch is opened.
        entered: Set when the run is there.
        opened: Set to release the run.
        passed: Set when the run continued because the latch was opened.
        over: Whether the run has ended.
    """

    def __init__(self, *, blocks: bool) -> None:
        """Begin closed."""
        self.blocks = blocks
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.passed = threading.Event()
        self.over = False
        self.interrupting: asyncio.Task[None] | None = None

    def hold(self) -> None:
        """Hold a thread until the latch is opened."""
        self.entered.set()
        assert self.opened.wait(PATIENCE), "nobody opened the latch"
        self.passed.set()

    async def ahold(self) -> None:
        """Hold a task until the latch is opened, or until a cancellation if it does not block."""
        self.entered.set()
        if not self.blocks:
            await asyncio.get_running_loop().create_future()
        assert await asyncio.to_thread(self.opened.wait, PATIENCE), "nobody opened the latch"
        self.passed.set()

    async def reached(self) -> None:
        """Wait until the run is there."""
        deadline = time.monotonic() + PATIENCE
        while not self.entered.is_set():
            assert time.monotonic() < deadline, "the run never came to the latch"
            assert not self.over, "the run ended before it came to the latch"
            await asyncio.sleep(0.001)

    async def watch(self, start: Start) -> object:
        """Await a run and note that it has ended."""
        try:
            return await start()
        finally:
            self.over = True

    def interrupt_soon(self, *actions: Callable[[], object]) -> None:
        """Do as `interrupt`, in a task of its own."""
        self.interrupting = asyncio.create_task(self.interrupt(*actions))

    async def interrupted(self) -> None:
        """Wait until the interrupt is done."""
        assert self.interrupting is not None
        await self.interrupting

    async def interrupt(self, *actions: Callable[[], object]) -> None:
        """Cancel the run at the latch, check that it waits there if it must, and open the latch."""
        try:
            await self.reached()
            for action in actions:
                landed = action()
                if inspect.isawaitable(landed):
                    await landed
                await turns(3)
            if self.blocks:
                await asyncio.sleep(0.03)  # time in which a run that does not wait would end
                assert not self.over, "the cancellation did not wait"
        finally:
            self.opened.set()


async def turns(number: int) -> None:
    """Let the event loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


def this_task() -> asyncio.Task[Any]:
    """Give the current task."""
    task = asyncio.current_task()
    assert task is not None
    return task


async def check_nothing_comes_after() -> None:
    """Check that no second cancellation follows the first."""
    assert this_task().cancelling() == 0
    await turns(5)
    await anyio.lowlevel.checkpoint()


def task_cancel(times: int) -> Way:
    """Cancel the task, again and again."""

    async def way(latch: Latch, start: Start) -> None:
        task = asyncio.create_task(latch.watch(start))
        await latch.interrupt(*[task.cancel] * times)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert 1 <= task.cancelling() <= times

    return way


async def task_cancel_caught(latch: Latch, start: Start) -> None:
    """Cancel the task, which catches the error and continues."""

    async def go_on() -> str:
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await latch.watch(start)
        assert this_task().uncancel() == 0
        await check_nothing_comes_after()
        return "went on"

    task = asyncio.create_task(go_on())
    await latch.interrupt(lambda: task.cancel("enough"))
    assert await task == "went on"


def timeouts(inner: bool, outer: bool) -> Way:  # noqa: FBT001
    """Let one or both of two nested `asyncio.timeout` expire."""

    async def way(latch: Latch, start: Start) -> None:
        def action() -> None:
            for deadline, expires in ((first, outer), (second, inner)):
                if expires:
                    deadline.reschedule(0.0)

        came: list[str] = []
        with pytest.raises(TimeoutError):  # noqa: PT012
            async with asyncio.timeout(None) as first:
                latch.interrupt_soon(action)
                try:
                    async with asyncio.timeout(None) as second:
                        await latch.watch(start)
                except asyncio.CancelledError:
                    came.append("CancelledError")
                    raise
                except TimeoutError:
                    came.append("TimeoutError")
                    raise
        await latch.interrupted()
        assert came == ["CancelledError" if outer else "TimeoutError"]
        assert (first.expired(), second.expired()) == (outer, inner)
        await check_nothing_comes_after()

    return way


async def wait_for(latch: Latch, start: Start) -> None:
    """Let `asyncio.wait_for` time out."""

    async def expired() -> None:
        while not task.cancelling():  # noqa: ASYNC110 - no event reports it
            await asyncio.sleep(0.001)

    task = asyncio.create_task(latch.watch(start))
    await latch.reached()
    latch.interrupt_soon(expired)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task, 0.001)
    await latch.interrupted()
    assert task.cancelled()
    await check_nothing_comes_after()


async def failing_sibling(latch: Latch, start: Start) -> None:
    """Let another task of an `asyncio.TaskGroup` fail."""

    async def sibling() -> None:
        await latch.reached()
        failed.set()
        raise ValueError("sibling")

    failed = asyncio.Event()
    with pytest.raises(ExceptionGroup) as info:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            task = group.create_task(latch.watch(start))
            failing = group.create_task(sibling())
            latch.interrupt_soon(failed.wait)
    assert info.value.exceptions == (failing.exception(),)
    assert task.cancelled()
    await latch.interrupted()
    await turns(5)  # Python 3.11 itself leaves the count of this task's cancellations raised


async def move_on_after(latch: Latch, start: Start) -> None:
    """Let `anyio.move_on_after` move on."""
    with anyio.move_on_after(math.inf) as scope:
        latch.interrupt_soon(lambda: setattr(scope, "deadline", 0.0))
        await latch.watch(start)
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    await latch.interrupted()
    await check_nothing_comes_after()


async def fail_after(latch: Latch, start: Start) -> None:
    """Let `anyio.fail_after` fail."""
    with pytest.raises(TimeoutError), anyio.fail_after(math.inf) as scope:  # noqa: PT012
        latch.interrupt_soon(lambda: setattr(scope, "deadline", 0.0))
        await latch.watch(start)
        await anyio.lowlevel.checkpoint()
    await latch.interrupted()
    await check_nothing_comes_after()


def scope_cancel(inner: bool, outer: bool) -> Way:  # noqa: FBT001
    """Cancel one or both of two nested `anyio.CancelScope`."""

    async def way(latch: Latch, start: Start) -> None:
        def action() -> None:
            for scope, cancels in ((second, inner), (first, outer)):
                if cancels:
                    scope.cancel()

        with anyio.CancelScope() as first:
            with anyio.CancelScope() as second:
                latch.interrupt_soon(action)
                await latch.watch(start)
                await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
        await latch.interrupted()
        assert first.cancelled_caught == outer
        assert second.cancelled_caught or not inner or outer
        await check_nothing_comes_after()

    return way


async def anyio_group_cancel(latch: Latch, start: Start) -> None:
    """Cancel the scope of the anyio task group that runs the run."""
    async with anyio.create_task_group() as group:
        group.start_soon(latch.watch, start)
        latch.interrupt_soon(group.cancel_scope.cancel)
    await latch.interrupted()
    assert latch.over
    await check_nothing_comes_after()


async def anyio_failing_sibling(latch: Latch, start: Start) -> None:
    """Let another task of an anyio task group fail."""

    async def sibling() -> None:
        await latch.reached()
        failed.set()
        raise ValueError("sibling")

    failed = asyncio.Event()
    with pytest.raises(ExceptionGroup) as info:  # noqa: PT012
        async with anyio.create_task_group() as group:
            group.start_soon(latch.watch, start)
            group.start_soon(sibling)
            latch.interrupt_soon(failed.wait)
    assert [str(error) for error in info.value.exceptions] == ["sibling"]
    await latch.interrupted()
    await check_nothing_comes_after()


WAYS: dict[str, Way] = {
    "task-cancel-once": task_cancel(1),
    "task-cancel-twice": task_cancel(2),
    "task-cancel-five-times": task_cancel(5),
    "task-cancel-caught": task_cancel_caught,
    "timeout-inner": timeouts(inner=True, outer=False),
    "timeout-outer": timeouts(inner=False, outer=True),
    "timeout-both": timeouts(inner=True, outer=True),
    "wait-for": wait_for,
    "taskgroup-sibling": failing_sibling,
    "anyio-move-on": move_on_after,
    "anyio-fail-after": fail_after,
    "anyio-scope-inner": scope_cancel(inner=True, outer=False),
    "anyio-scope-outer": scope_cancel(inner=False, outer=True),
    "anyio-scope-both": scope_cancel(inner=True, outer=True),
    "anyio-group": anyio_group_cancel,
    "anyio-sibling": anyio_failing_sibling,
}

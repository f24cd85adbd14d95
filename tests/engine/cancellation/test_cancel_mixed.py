"""Cancellations of several kinds at once, and an idle loop meanwhile."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from held_runs import HOLD_POINTS, HeldRun
from interrupts import check_nothing_comes_after, this_task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

A_FEW = 60
swallowing = tuple(map(int, version("anyio").split(".")[:2])) < (4, 16)
needs_fair_scopes = pytest.mark.skipif(
    swallowing, reason="before 4.16 anyio swallows native cancellations that come with its own"
)
both_orders = pytest.mark.parametrize("native_first", [False, True], ids=["later", "earlier"])
WAITING = ["load-sync", "step-sync", "snapshot-begun", "before-release", "own-async-write"]


@needs_fair_scopes
@both_orders
@pytest.mark.parametrize("place", WAITING)
async def test_scope_does_not_swallow_a_cancelled_task(
    place: str, tmp_path: Path, *, native_first: bool
) -> None:
    """A task cancelled together with its anyio scope, in either order, ends as cancelled."""
    held_run = HeldRun(tmp_path / "checkpoint.pkl", HOLD_POINTS[place])
    scopes: list[anyio.CancelScope] = []

    async def scoped() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await held_run.latch.watch(held_run.start)
        await anyio.lowlevel.checkpoint()

    def cancel_scope() -> None:
        scopes[0].cancel()

    task = asyncio.create_task(scoped())
    actions: list[Callable[[], object]] = [cancel_scope, task.cancel]
    await held_run.latch.interrupt(*(actions[::-1] if native_first else actions))
    await asyncio.wait([task])
    assert task.cancelled()


@needs_fair_scopes
@both_orders
@pytest.mark.parametrize("place", WAITING)
async def test_timeout_inside_a_cancelled_scope(
    place: str, tmp_path: Path, *, native_first: bool
) -> None:
    """If a timeout and the anyio scope around it both end the run, nothing else is raised."""
    held_run = HeldRun(tmp_path / "checkpoint.pkl", HOLD_POINTS[place])
    with anyio.CancelScope() as scope:
        try:
            async with asyncio.timeout(None) as timeout:
                actions = [scope.cancel, lambda: timeout.reschedule(0.0)]
                actions = actions[::-1] if native_first else actions
                held_run.latch.interrupt_soon(*actions)
                await held_run.latch.watch(held_run.start)
                await anyio.lowlevel.checkpoint()
        except TimeoutError:
            assert timeout.expired()
        await anyio.lowlevel.checkpoint()
    await held_run.latch.interrupted()
    assert scope.cancelled_caught
    await check_nothing_comes_after()


@needs_fair_scopes
@both_orders
@pytest.mark.parametrize("place", WAITING)
async def test_timeout_around_a_cancelled_scope(
    place: str, tmp_path: Path, *, native_first: bool
) -> None:
    """If a timeout and an anyio scope inside it both end the run, the timeout raises."""
    held_run = HeldRun(tmp_path / "checkpoint.pkl", HOLD_POINTS[place])
    with pytest.raises(TimeoutError):  # noqa: PT012
        async with asyncio.timeout(None) as timeout:
            with anyio.CancelScope() as scope:
                actions = [scope.cancel, lambda: timeout.reschedule(0.0)]
                actions = actions[::-1] if native_first else actions
                held_run.latch.interrupt_soon(*actions)
                await held_run.latch.watch(held_run.start)
                await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
    await held_run.latch.interrupted()
    await check_nothing_comes_after()


class Counting(asyncio.SelectorEventLoop):
    """A loop that counts the callbacks it is asked to call."""

    calls = 0

    def call_soon(
        self,
        callback: Callable[..., object],
        *args: object,
        **kwargs: Any,  # noqa: ANN401
    ) -> asyncio.Handle:
        """Count, and schedule the callback."""
        self.calls += 1
        return super().call_soon(callback, *args, **kwargs)


@pytest.mark.parametrize("level", [False, True], ids=["task", "scope"])
@pytest.mark.parametrize("place", WAITING)
def test_waiting_for_a_thread_keeps_the_loop_idle(
    place: str, tmp_path: Path, *, level: bool
) -> None:
    """While a cancelled run waits, the loop stays idle."""
    held_run = HeldRun(tmp_path / "checkpoint.pkl", HOLD_POINTS[place])

    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Counting)
        with anyio.CancelScope() as scope:
            task = this_task()

            def cancel(_: object) -> None:
                loop.calls = 0
                loop.call_later(0.3, held_run.latch.opened.set)
                if level:
                    scope.cancel()
                else:
                    task.cancel()

            asyncio.create_task(held_run.latch.reached()).add_done_callback(cancel)
            try:
                await held_run.start()
            except asyncio.CancelledError:
                if level:
                    raise
        return loop.calls

    with asyncio.Runner(loop_factory=Counting) as runner:
        calls = runner.run(main())
    assert calls < A_FEW

"""A run is terminated at the moment at which something else ends it, or stores it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import pytest
from terminated_runs import (
    PATIENCE,
    REASON,
    Held,
    assert_clean,
    assert_no_scraps,
    assert_terminated,
    given,
    held_flow,
)

from aiocheckpoint import CheckpointFlow, DrainingError, Pause, RunTerminatedError
from aiocheckpoint._engine.claimed_runs import terminate_here
from aiocheckpoint.errors import InvalidValueError, RunNotFoundError, StepTimeoutError
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from run_factories import Runs
    from support import State

    from aiocheckpoint import Header


def terminate(cp: CheckpointFlow) -> None:
    """Terminate the run of a task of this loop in this very moment."""
    terminate_here(cp.handler.locate("x"), REASON)


both_orders = pytest.mark.parametrize("order", ["cancelled first", "terminated first", "later"])


async def both(cancel: Callable[[], object], cp: CheckpointFlow, order: str) -> None:
    """Terminate a run, and cancel its task."""
    if order == "cancelled first":
        cancel()
    terminate(cp)
    if order == "later":
        await asyncio.sleep(0)
    if order != "cancelled first":
        cancel()


@both_orders
def test_cancelled_task(runs: Runs, order: str) -> None:
    """The run is terminated, and the task of the caller is cancelled."""
    cp, held = held_flow(runs)

    async def main() -> None:
        task = asyncio.create_task(cp.arun(given(), run_id="x"))
        await held.aentered()
        await both(task.cancel, cp, order)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    assert_terminated(cp, 1, ["first"])


@both_orders
def test_timeout_of_the_caller(runs: Runs, order: str) -> None:
    """The timeout around the call is one, and leaves no cancellation behind."""
    cp, held = held_flow(runs)

    async def within(limit: asyncio.Timeout, scopes: list[asyncio.Timeout]) -> None:
        async with limit as scope:
            scopes.append(scope)
            await cp.arun(given(), run_id="x")

    async def carry(scopes: list[asyncio.Timeout]) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        with pytest.raises(TimeoutError):
            await within(asyncio.timeout(PATIENCE), scopes)
        assert task.cancelling() == 0
        await asyncio.sleep(0)

    async def main() -> None:
        scopes: list[asyncio.Timeout] = []
        task = asyncio.create_task(carry(scopes))
        await held.aentered()
        await both(lambda: scopes[0].reschedule(0.0), cp, order)
        await asyncio.wait_for(task, PATIENCE)

    asyncio.run(main())
    assert_terminated(cp, 1, ["first"])


@both_orders
def test_scope_of_anyio(runs: Runs, order: str) -> None:
    """An anyio scope around the call is cancelled as ever, and nothing behind it.

    Where the call has been broken off before, its error comes out as any other would.
    """
    cp, held = held_flow(runs)

    async def carry(scopes: list[anyio.CancelScope]) -> bool:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await cp.arun(given(), run_id="x")
        await anyio.lowlevel.checkpoint()
        return scope.cancelled_caught

    async def main() -> None:
        scopes: list[anyio.CancelScope] = []
        task = asyncio.create_task(carry(scopes))
        await held.aentered()
        await both(scopes[0].cancel, cp, order)
        if order == "later":
            with pytest.raises(RunTerminatedError):
                await asyncio.wait_for(task, PATIENCE)
        else:
            assert await asyncio.wait_for(task, PATIENCE)

    asyncio.run(main())
    assert_terminated(cp, 1, ["first"])


def test_group_of_tasks(runs: Runs) -> None:
    """A sibling that fails cancels the call, whose run is terminated."""
    cp, held = held_flow(runs)

    async def breaks() -> None:
        await held.aentered()
        terminate(cp)
        raise ConnectionError("down")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(cp.arun(given(), run_id="x"))
            group.create_task(breaks())

    with pytest.raises(ExceptionGroup) as info:
        asyncio.run(main())
    assert [type(error) for error in info.value.exceptions] == [ConnectionError]
    assert_terminated(cp, 1, ["first"])


@pytest.mark.parametrize("first", ["timeout", "termination"])
def test_timeout_of_the_step(runs: Runs, first: str) -> None:
    """A step whose time is over while it is terminated ends as a terminated one."""
    cp, held = runs.empty_flow(), Held()

    @cp.add_step(timeout=0.5)
    async def slow(state: State) -> None:
        held.entered.set()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            if first == "timeout":
                terminate(cp)
                raise
            await asyncio.sleep(PATIENCE)  # Its time is over here.

    async def main() -> None:
        task = asyncio.create_task(cp.arun(given(), run_id="x"))
        await held.aentered()
        if first == "termination":
            terminate(cp)
        with pytest.raises(RunTerminatedError) as info:
            await asyncio.wait_for(task, PATIENCE / 2)
        assert isinstance(info.value.__cause__, StepTimeoutError) == (first == "timeout")

    asyncio.run(main())
    assert_terminated(cp, 0, [])


@pytest.mark.parametrize("how", ["returns", "fails", "pauses"])
def test_step_that_catches_it(runs: Runs, how: str) -> None:
    """A step that ends in its own way is done if it returns, and the run is terminated."""
    cp, held = runs.empty_flow(), Held()

    @cp.add_step()
    async def stubborn(state: State) -> None:
        try:
            await held.ahold()
        except asyncio.CancelledError:
            if how == "fails":
                raise ConnectionError("down") from None
            if how == "pauses":
                raise Pause("approval") from None
        state["trail"].append("stubborn")

    cp.add_step(name="next")(lambda state: state["trail"].append("next"))

    async def main() -> None:
        task = asyncio.create_task(cp.arun(given(), run_id="x"))
        await held.aentered()
        await cp.aterminate("x", REASON)
        with pytest.raises(RunTerminatedError) as info:
            await asyncio.wait_for(task, PATIENCE)
        causes = {"returns": type(None), "fails": ConnectionError, "pauses": Pause}
        assert isinstance(info.value.__cause__, causes[how])

    asyncio.run(main())
    done = how == "returns"
    assert_terminated(cp, int(done), ["stubborn"] if done else [])


@pytest.mark.parametrize("drained_first", [False, True])
def test_drain(runs: Runs, tmp_path: Path, *, drained_first: bool) -> None:
    """A run that is to stop for a drain as well is terminated."""
    cp, held = runs.empty_flow(), Held()

    @cp.add_step()
    def first(state: State) -> None:
        held.hold()
        state["trail"].append("first")

    cp.add_step(name="next")(lambda state: state["trail"].append("next"))

    async def main() -> None:
        task = asyncio.create_task(cp.arun(given(), run_id="x"))
        await held.aentered()
        if not drained_first:
            await cp.aterminate("x", REASON)
        draining = asyncio.create_task(cp.adrain())
        await asyncio.sleep(0)
        with pytest.raises(DrainingError):
            await cp.arun(run_id="y")
        await cp.aterminate("x", REASON)
        held.free.set()
        with pytest.raises(RunTerminatedError) as info:
            await asyncio.wait_for(task, PATIENCE)
        assert getattr(info.value, "__notes__", []) == []  # It was stored with the first write.
        assert await draining == []

    asyncio.run(main())
    assert_terminated(runs.flow("first", "next"), 1, ["first"])
    assert_no_scraps(tmp_path)


class SlowMemory(MemoryStateHandler):
    """Holds the second snapshot of a run."""

    held = Held()

    def replace(self, run_id: str | None, *args: Any, **kwargs: Any) -> tuple[Header, int]:  # noqa: ANN401
        """Replace the snapshot, and wait with the second one."""
        before = self.open(run_id)
        if before is not None and not self.held.entered.is_set():
            self.held.hold()
        return super().replace(run_id, *args, **kwargs)


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("steps", [1, 2])
def test_in_the_snapshot(steps: int, *, cancelled: bool) -> None:
    """The write ends, and the step counts. Behind the last one the run has finished."""
    SlowMemory.held = held = Held()
    cp = CheckpointFlow("memory", SlowMemory("memory", flow="f"), name="f")
    for number in range(steps):
        cp.add_step(name=f"s{number}")(lambda state, n=number: state["trail"].append(n))

    async def main() -> State:
        task = asyncio.create_task(cp.arun(given(), run_id="x"))
        await held.aentered()
        assert await cp.aterminate("x", REASON) is None
        if cancelled:
            task.cancel()
        held.free.set()
        return await asyncio.wait_for(task, PATIENCE)

    if cancelled:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(main())
    elif steps == 1:
        assert asyncio.run(main()) == {"trail": [0]}
    else:
        with pytest.raises(RunTerminatedError):
            asyncio.run(main())
    if steps == 1:
        assert cp.header("x").status == "finished"  # type: ignore[union-attr]
        assert_clean(cp)
    else:
        assert_terminated(cp, 1, [0])  # type: ignore[list-item]


def test_ctrl_c_under_run(runs: Runs) -> None:
    """What interrupts the step as well comes out of `run`, and the run is terminated."""
    cp = runs.empty_flow()

    @cp.add_step()
    def first(state: State) -> None:
        cp.terminate("x", REASON)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cp.run(given(), run_id="x")
    assert_terminated(cp, 0, [])


def test_many_at_random(runs: Runs, tmp_path: Path) -> None:
    """Runs that are terminated at any moment of their steps have finished or are terminated."""
    cp = runs.empty_flow()
    for number in range(5):

        async def step(state: State, number: int = number) -> None:
            await asyncio.sleep(0.001 * (hash((state["n"], number)) % 5))
            state["trail"].append(number)

        cp.add_step(name=f"s{number}")(lambda state, step=step: step(state))

    async def main() -> list[Any]:
        names = [f"r{n}" for n in range(40)]
        tasks = [cp.arun({"n": n, "trail": []}, run_id=name) for n, name in enumerate(names)]
        gathered = asyncio.gather(*tasks, return_exceptions=True)
        for n, name in enumerate(names):
            await asyncio.sleep(0.0005 * (n % 4))
            with suppress(InvalidValueError, RunNotFoundError):  # Finished, or not begun.
                await cp.aterminate(name, REASON)
        return list(await gathered)

    results = asyncio.run(main())
    terminated = 0
    for n, result in enumerate(results):
        header = cp.header(f"r{n}")
        assert header is not None
        if isinstance(result, RunTerminatedError):
            terminated += 1
            assert header.status == "terminated"
            assert cp.read(f"r{n}")["trail"] == [*range(header.position)]
        else:
            assert result["trail"] == [*range(5)]
            assert header.status == "finished"
        assert_clean(cp, f"r{n}")
    assert terminated
    assert_no_scraps(tmp_path)


def test_two_who_ask(runs: Runs) -> None:
    """The first reason stays, from however many threads."""
    cp, held = held_flow(runs)

    async def main() -> None:
        task = asyncio.create_task(cp.arun(given(), run_id="x"))
        await held.aentered()
        await cp.aterminate("x", REASON)
        asked = [threading.Thread(target=cp.terminate, args=("x", "late")) for _ in range(4)]
        for thread in asked:
            thread.start()
        with pytest.raises(RunTerminatedError, match=REASON):
            await asyncio.wait_for(task, PATIENCE)
        for thread in asked:
            await asyncio.to_thread(thread.join)

    asyncio.run(main())
    assert_terminated(cp, 1, ["first"])

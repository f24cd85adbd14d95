"""A stream is a coroutine: tasks, task groups and `asyncio.run` take it, and give its list."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import traceback
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import pytest
from blocking_flow import LAST, BlockingFlow, alone
from run_factories import UNFINISHED
from support import State, do_nothing

from aiocheckpoint import CheckpointFlow, RunResult, StreamConsumedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from run_factories import Runs

    from aiocheckpoint import Stream


async def in_a_group(stream: Stream[RunResult]) -> list[RunResult]:
    """Await it in a task group."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(stream)
    return task.result()


async def gathered(stream: Stream[RunResult]) -> list[RunResult]:
    """Await it beside something else."""
    found: tuple[list[RunResult], None] = await asyncio.gather(stream, asyncio.sleep(0))
    return found[0]


async def eager(stream: Stream[RunResult]) -> list[RunResult]:
    """Await it in a task that begins at once, where this Python has such tasks."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory", None))
    try:
        return await loop.create_task(stream)
    finally:
        loop.set_task_factory(None)


async def from_a_thread(stream: Stream[RunResult]) -> list[RunResult]:
    """Hand it to the loop from another thread."""
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(
        lambda: asyncio.run_coroutine_threadsafe(stream, loop).result(60)
    )


WAYS: dict[str, Callable[[Stream[RunResult]], Awaitable[list[RunResult]]]] = {
    "create_task": asyncio.create_task,
    "ensure_future": asyncio.ensure_future,
    "wait_for": lambda stream: asyncio.wait_for(stream, 60),
    "group": in_a_group,
    "gather": gathered,
    "eager": eager,
    "thread": from_a_thread,
}


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_gives_the_list(way: str, runs: Runs) -> None:
    """`amap` and `aresume_all` give the list of results, as an `await` does."""
    cp = runs.empty_flow(name="flow")

    @cp.add_step()
    async def fail_once(state: State) -> None:
        await asyncio.sleep(0)
        if not failed:
            failed.append(True)
            raise ValueError

    failed: list[bool] = []
    (result,) = await WAYS[way](cp.amap({"x": {}}))
    assert isinstance(result.error, ValueError)
    (result,) = await WAYS[way](cp.aresume_all(status=UNFINISHED))
    assert (result.run_id, result.status) == ("x", "finished")
    assert await WAYS[way](cp.aresume_all(status=UNFINISHED)) == []


def test_as_the_main_coroutine(tmp_path: Path) -> None:
    """`asyncio.run` takes a stream, whose work then belongs to its loop."""
    cp = CheckpointFlow(f"{tmp_path}/")
    cp.add_step()(do_nothing)
    (result,) = asyncio.run(cp.amap({"x": {"n": 1}}))
    assert (result.state, result.status) == ({"n": 1}, "finished")
    assert [type(event).__name__ for event in asyncio.run(cp.astream({}))][-1] == "RunFinished"


async def test_cancelled_before_it_began(runs: Runs) -> None:
    """A task that is cancelled at once runs nothing, and the stream is used up."""
    cp = runs.flow("a")
    stream = cp.amap({"x": {}})
    task = asyncio.create_task(stream)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await cp.aheader("x") is None
    with pytest.raises(StreamConsumedError):
        await stream


async def test_cancelled_on_the_way(runs: Runs) -> None:
    """A cancelled task has cancelled its runs, and they are stored by then."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    task = asyncio.create_task(cp.amap({"x": {}, "y": {}}))
    await blocking_flow.arrivals(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert {header.status for header in await cp.aruns()} == {"cancelled"}
    await alone()
    blocking_flow.free.set()
    results = await asyncio.create_task(cp.aresume_all(status=UNFINISHED))
    assert {result.status for result in results} == {"finished"}
    assert [result.state for result in results] == [LAST, LAST]


async def test_consumed_elsewhere(runs: Runs) -> None:
    """A task of a stream that a loop has begun is refused with our error."""
    cp = runs.flow("a")
    stream = cp.amap({"x": {}})
    async for _ in stream:
        pass
    with pytest.raises(StreamConsumedError):
        await asyncio.create_task(stream)


async def test_users_exception(runs: Runs) -> None:
    """The exception of a run comes out of the task, with two frames of the library at most."""
    cp, raised = runs.empty_flow(), ValueError("no")

    @cp.add_step()
    async def fail(state: State) -> None:
        raise raised

    with pytest.raises(ValueError, match="no") as info:
        await asyncio.create_task(cp.astream({}))
    frames = traceback.extract_tb(info.value.__traceback__)
    assert info.value is raised
    assert sum("aiocheckpoint" in frame.filename for frame in frames) <= 2
    assert frames[-1].name == "fail"
    raised.__traceback__ = None


async def test_named_in_its_task(runs: Runs) -> None:
    """The repr of a task says what it waits for."""
    task = asyncio.create_task(runs.flow("a").amap({}))
    assert "Stream of results" in repr(task)
    assert await task == []


def test_coroutine_protocol(tmp_path: Path) -> None:
    """Dropped by a loop, begun or not, a stream closes without a word."""
    cp = CheckpointFlow(f"{tmp_path}/")
    cp.add_step()(do_nothing)
    stream: Any = cp.amap({"x": {}})
    assert isinstance(stream, Coroutine)
    stream.close()
    with pytest.raises(KeyError):  # As the abstract class has it: a class, a value, a traceback.
        stream.throw(KeyError, KeyError("x"), None)
    with pytest.raises(RuntimeError):
        stream.send(None)
    loop = asyncio.new_event_loop()
    task = loop.create_task(cp.amap({"x": {}}))
    loop.run_until_complete(asyncio.sleep(0))
    with contextlib.suppress(asyncio.CancelledError):
        task.cancel()
        loop.run_until_complete(task)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    del task, stream
    gc.collect()

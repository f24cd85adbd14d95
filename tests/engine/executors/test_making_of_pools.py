"""A loop is not held while an executor is made, and calls within a call are none of its parts."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest
import sent_steps
from support import do_nothing

from aiocheckpoint import CheckpointFlow, StepTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from pathlib import Path


async def test_loop_while_an_executor_is_made(
    make_pool: Callable[[], Executor], pools: object, tmp_path: Path
) -> None:
    """Runs that come meanwhile wait in threads, and so they do where a broken one is replaced."""
    loop, heard = asyncio.get_running_loop(), threading.Event()
    made: list[Executor] = []

    def make() -> Executor:
        # It ends only if the loop goes on beside it.
        heard.clear()
        loop.call_soon_threadsafe(loop.call_later, 0.2, heard.set)
        assert heard.wait(30.0)
        made.append(make_pool())
        return made[-1]

    cp = CheckpointFlow(tmp_path / "runs/", fsync=False)
    cp.add_step(executor=make)(sent_steps.charge)
    async with cp:
        await asyncio.gather(*(cp.arun({}, run_id=f"a{number}") for number in range(6)))
        processes: Any = made[0]._processes  # type: ignore[attr-defined]  # noqa: SLF001
        for process in list(processes.values()):
            process.kill()
            process.join()
        await asyncio.gather(*(cp.arun({}, run_id=f"b{number}") for number in range(6)))
    assert len(made) == 2
    cp._core.settings.pools.close()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


async def test_store_while_an_executor_is_made(
    make_pool: Callable[[], Executor], pools: object, tmp_path: Path
) -> None:
    """Another flow stores its snapshots meanwhile."""
    is_stored = threading.Event()

    def make() -> Executor:
        assert is_stored.wait(30.0)
        return make_pool()

    cp = CheckpointFlow(tmp_path / "runs/", fsync=False)
    cp.add_step(executor=make)(sent_steps.charge)
    other = CheckpointFlow(tmp_path / "others/", fsync=False)
    other.add_step()(do_nothing)
    waiting = [asyncio.create_task(cp.arun({}, run_id=f"a{number}")) for number in range(8)]
    await asyncio.sleep(0.3)
    await other.arun({}, run_id="b")
    is_stored.set()
    await asyncio.gather(*waiting)
    cp._core.settings.pools.close()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def test_time_limit_of_a_step_with_a_flow_in_it(pools: object, tmp_path: Path) -> None:
    """The parts of the flow within the step do not end the limit of the step."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    cp.add_step(name="outer", executor="process", timeout=5.0)(sent_steps.run_flow_within)
    with pytest.raises(StepTimeoutError, match="'outer'"):
        cp.run({"place": str(tmp_path / "inner.pkl")})
    assert CheckpointFlow(tmp_path / "inner.pkl").handler.header().finished
    cp._core.settings.pools.close()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


async def test_class_and_partial_make_executors(pools: object, tmp_path: Path) -> None:
    """Both are functions that make one, and are closed with the flow."""
    cp = CheckpointFlow(tmp_path / "run.pkl")
    async with cp:
        cp.add_step(name="class", executor=ThreadPoolExecutor)(do_nothing)
        made = partial(ProcessPoolExecutor, 1, get_context("fork"))
        cp.add_step(name="partial", executor=made)(do_nothing)
        await cp.arun({})
    assert cp.plan().executors == ("ThreadPoolExecutor()", "ProcessPoolExecutor()")

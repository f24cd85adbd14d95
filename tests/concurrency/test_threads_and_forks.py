"""Threads, loops and forks: no run starves, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from locations import program

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Runner, State

PATIENCE = 60.0
MANY = 60
FORKING = program("fork_in_run_script.py")

posix_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


class SyncOwn:
    """A user's own handler of sync methods."""

    def __init__(self, path: object) -> None:
        """Keep nothing yet."""
        self.kept: State = {}

    def read(self) -> State:
        """Give the kept state."""
        return self.kept

    def write(self, state: State) -> None:
        """Keep a state."""
        self.kept = state


class AsyncOwn(SyncOwn):
    """A user's own handler of async methods."""

    async def read(self) -> State:  # type: ignore[override]
        """Give the kept state."""
        return self.kept

    async def write(self, state: State) -> None:  # type: ignore[override]
        """Keep a state."""
        self.kept = state


def quick_flow(path: Path, handler: Any = "local") -> CheckpointFlow:  # noqa: ANN401
    """Make a flow of three coroutines."""
    cp = CheckpointFlow(path, handler)
    for name in "abc":
        cp.add_step(name=name)(step_of(name))
    return cp


def step_of(name: str) -> Any:  # noqa: ANN401 - a coroutine function
    """Make a coroutine function that leaves its name in the state."""

    async def step(state: State) -> None:
        await asyncio.sleep(0)
        state["trail"] = [*state.get("trail", []), name]

    return step


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Give an event that lets slow work end, set at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("handler", ["local", SyncOwn, AsyncOwn], ids=["local", "sync", "async"])
async def test_slow_steps_do_not_stop_others_snapshots(
    handler: Any,  # noqa: ANN401
    tmp_path: Path,
    release: threading.Event,
) -> None:
    """While as many sync steps as may be are slow, another run gets through."""
    slow = CheckpointFlow(tmp_path / "slow.pkl", fsync=False)
    slow.add_step(name="slow")(lambda state: release.wait(PATIENCE) and None)
    tasks = [asyncio.create_task(slow.arun({}, run_id=str(number))) for number in range(MANY)]
    quick = quick_flow(tmp_path / "quick.pkl", handler)
    async with asyncio.timeout(PATIENCE / 2):
        assert await quick.arun({}) == {"trail": [*"abc"]}
    assert not any(task.done() for task in tasks)
    release.set()
    await asyncio.gather(*tasks)


async def test_full_default_executor_stops_nothing(
    tmp_path: Path, release: threading.Event
) -> None:
    """Sync steps and snapshots work while the loop's own executor is full of other work."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(2, thread_name_prefix="test") as pool:
        loop.set_default_executor(pool)
        jobs = [loop.run_in_executor(None, release.wait, PATIENCE) for _ in range(10)]
        cp = CheckpointFlow(tmp_path / "c.pkl")
        cp.add_step(lambda state: {}, lambda state: None, name="a")(lambda state: None)
        assert await cp.arun({"who": "given"}) == {"who": "given"}
        assert (await cp.handler.aread())["who"] == "given"
        await cp.handler.awrite({"who": "patched"})
        assert (await cp.aplan()).start == 0
        await cp.areset()
        assert not any(job.done() for job in jobs)
        release.set()
        await asyncio.gather(*jobs)


async def test_many_runs_share_a_few_threads(tmp_path: Path) -> None:
    """However many runs go side by side, the threads are those of bounded pools."""
    seen = set[str]()

    def step(state: State) -> None:
        seen.update(thread.name for thread in threading.enumerate())
        state["done"] = True

    cp = CheckpointFlow(tmp_path / "c.pkl", fsync=False)
    cp.add_step()(step)
    results = await asyncio.gather(*(cp.arun({}, run_id=str(n)) for n in range(2 * MANY)))
    assert results == [{"done": True}] * 2 * MANY
    for name, most in (("snapshot", 4), ("step", 40), ("digest", 4)):
        assert len({one for one in seen if one.startswith(f"aiocheckpoint-{name}")}) <= most


def test_ended_loops_leave_no_threads_for_steps(tmp_path: Path) -> None:
    """When a loop is gone, so are the threads in which its runs called sync steps."""

    def count() -> int:
        gc.collect()
        return sum(thread.name.startswith("aiocheckpoint-step") for thread in threading.enumerate())

    cp = CheckpointFlow(tmp_path / "c.pkl", fsync=False)
    cp.add_step(name="a")(lambda state: None)
    before = count()
    for _ in range(30):
        asyncio.run(cp.arun())
    deadline = time.monotonic() + PATIENCE
    while count() > before:
        assert time.monotonic() < deadline, "threads are left"
        time.sleep(0.01)


def test_several_loops_at_once_use_one_flow(tmp_path: Path) -> None:
    """Loops in several threads, one after another and side by side, may use one flow."""
    cp = quick_flow(tmp_path / "c.pkl")

    def runs(thread: int) -> list[State]:
        return [asyncio.run(cp.arun({"of": thread}, run_id=f"r{thread}")) for _ in range(3)]

    with ThreadPoolExecutor(8, thread_name_prefix="test") as pool:
        results = [*pool.map(runs, range(8))]
    assert results == [[{"of": n, "trail": [*"abc"]}] * 3 for n in range(8)]


def test_sync_steps_may_run_loops_of_their_own(tmp_path: Path) -> None:
    """As many sync steps as may be, each of which runs another flow's sync steps, all end."""
    together = threading.Barrier(40, timeout=PATIENCE)
    inner = CheckpointFlow(tmp_path / "inner.pkl", fsync=False)
    inner.add_step(name="inner")(lambda state: state.update(done=True))
    outer = CheckpointFlow(tmp_path / "outer.pkl", fsync=False)

    @outer.add_step()
    def nest(state: State) -> None:
        together.wait()
        state.update(asyncio.run(inner.arun({}, run_id=state["id"])))

    async def main() -> list[State]:
        runs = (outer.arun({"id": str(n)}, run_id=str(n)) for n in range(40))
        return await asyncio.gather(*runs)

    assert asyncio.run(main()) == [{"id": str(n), "done": True} for n in range(40)]


def test_repeated_runs_leave_no_descriptor(runner: Runner, tmp_path: Path) -> None:
    """A hundred runs later, as many files are open as after the first."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not list a process's descriptors")
    cp = quick_flow(tmp_path / "c.pkl")
    counts = []
    for _ in range(100):
        runner(cp)
        counts.append(len([*Path("/proc/self/fd").iterdir()]))
    assert counts[-1] == counts[0]


@posix_only
@pytest.mark.parametrize("what", ["exit", "unwind", "run"])
def test_fork_in_a_step(what: str, runner: Runner, tmp_path: Path) -> None:
    """However a forked child ends, the parent runs to its end."""
    path = tmp_path / "c.pkl"
    command = [sys.executable, str(FORKING), what, runner.name, str(path)]
    ended = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stdout.decode().splitlines()[-1] == str({"trail": [*"abc"]})

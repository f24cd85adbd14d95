"""Which thread and which event loop each part runs in."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aiocheckpoint import CheckpointFlow

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from support import FlowFactory, Runner, State

COLOUR = contextvars.ContextVar("COLOUR", default="none")
PATIENCE = 20.0


class CallerLog:
    """Notes the thread, the loop and the context of its callers."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.threads: list[threading.Thread] = []
        self.loops: list[asyncio.AbstractEventLoop | None] = []
        self.colours: list[str] = []

    def note(self, state: State) -> State:
        """Be a loader, step or saver."""
        self.threads.append(threading.current_thread())
        self.loops.append(loop_here())
        self.colours.append(COLOUR.get())
        return {}

    async def anote(self, state: State) -> State:
        """Be an async loader, step or saver."""
        await asyncio.sleep(0)
        return self.note(state)


def loop_here() -> asyncio.AbstractEventLoop | None:
    """Give the loop that runs in this thread, if there is one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def sync_flow(path: Path, callers: CallerLog, *, thread: bool = True) -> CheckpointFlow:
    """Make a flow of two sync steps, the first with loader and saver."""
    cp = CheckpointFlow(path)
    cp.add_step(load=callers.note, save=callers.note, name="first", thread=thread)(callers.note)
    cp.add_step(name="second", thread=thread)(callers.note)
    return cp


def async_flow(path: Path, callers: CallerLog) -> CheckpointFlow:
    """Make a flow of two coroutine steps, the first with async loader and saver."""
    cp = CheckpointFlow(path)
    cp.add_step(load=callers.anote, save=callers.anote, name="first")(callers.anote)
    cp.add_step(name="second")(callers.anote)
    return cp


async def test_arun_calls_sync_parts_in_a_worker_thread(tmp_path: Path) -> None:
    """Under `arun` no sync part runs in the thread of the loop."""
    callers = CallerLog()
    await sync_flow(tmp_path / "c.pkl", callers).arun()
    assert len(callers.threads) == 4
    assert threading.current_thread() not in callers.threads
    assert set(callers.loops) == {None}


async def test_arun_awaits_coroutines_on_its_loop(tmp_path: Path) -> None:
    """Under `arun` every coroutine runs on the caller's loop."""
    callers = CallerLog()
    await async_flow(tmp_path / "c.pkl", callers).arun()
    assert callers.threads == [threading.current_thread()] * 4
    assert callers.loops == [asyncio.get_running_loop()] * 4


async def test_arun_awaits_what_a_function_returns_on_its_loop(tmp_path: Path) -> None:
    """A plain function is called in a thread; the awaitable it returns is awaited on the loop."""
    called, awaited = CallerLog(), CallerLog()
    cp = CheckpointFlow(tmp_path / "c.pkl")

    @cp.add_step()
    def both(state: State) -> Coroutine[None, None, State]:
        called.note(state)
        return awaited.anote(state)

    await cp.arun()
    assert called.loops == [None]
    assert awaited.loops == [asyncio.get_running_loop()]


async def test_thread_false_keeps_sync_parts_on_the_loop(tmp_path: Path) -> None:
    """A step with `thread=False` runs, with loader and saver, in the thread of the loop."""
    callers = CallerLog()
    await sync_flow(tmp_path / "c.pkl", callers, thread=False).arun()
    assert callers.threads == [threading.current_thread()] * 4
    assert callers.loops == [asyncio.get_running_loop()] * 4


async def test_slow_sync_parts_do_not_stall_the_loop(tmp_path: Path) -> None:
    """While each sync part blocks, the loop runs, which alone can free them."""
    entered, free = threading.Semaphore(0), threading.Semaphore(0)

    def block(state: State) -> State:
        entered.release()
        assert free.acquire(timeout=PATIENCE), "the loop was stalled"
        return {}

    async def tick() -> None:
        for _ in range(3):
            while not entered.acquire(blocking=False):  # noqa: ASYNC110 (set by a thread)
                await asyncio.sleep(0.001)
            free.release()

    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(load=block, save=block, name="slow")(block)
    beating = asyncio.create_task(tick())
    await cp.arun()
    await beating


async def test_sync_steps_of_two_flows_run_side_by_side(tmp_path: Path) -> None:
    """Two flows can be in a sync step at the same time: each waits for the other."""
    barrier = threading.Barrier(2, timeout=PATIENCE)

    async def one(name: str) -> None:
        cp = CheckpointFlow(tmp_path / name)
        cp.add_step(name="meet")(lambda state: state.update(met=barrier.wait()))
        await cp.arun()

    await asyncio.gather(one("x.pkl"), one("y.pkl"))
    assert not barrier.broken


async def test_full_default_executor_does_not_hinder_snapshots(tmp_path: Path) -> None:
    """Snapshots are written while the users' own work fills the loop's executor."""
    release = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="test") as pool:
        asyncio.get_running_loop().set_default_executor(pool)
        active_run = asyncio.get_running_loop().run_in_executor(None, release.wait, PATIENCE)
        callers = CallerLog()
        await async_flow(tmp_path / "c.pkl", callers).arun()
        assert not active_run.done()
        release.set()
        assert await active_run


async def test_arun_gives_sync_parts_the_callers_context(tmp_path: Path) -> None:
    """Context variables of the caller are seen in the worker threads, and changes behind them."""
    callers = CallerLog()
    cp = sync_flow(tmp_path / "c.pkl", callers)
    cp.add_step(name="change")(lambda state: state.update(was=COLOUR.set("black").var.name))
    COLOUR.set("blue")
    await cp.arun()
    assert callers.colours == ["blue"] * 4
    assert COLOUR.get() == "black"


def test_every_method_gives_the_callers_context(any_runner: Runner, flows: FlowFactory) -> None:
    """Sync and coroutine parts see the caller's context variables in every way to run."""
    callers = CallerLog()
    cp = sync_flow(flows.path, callers)
    cp.add_step(name="third", load=callers.anote)(callers.anote)
    token = COLOUR.set("green")
    try:
        any_runner(cp, None, "always")
    finally:
        COLOUR.reset(token)
    assert callers.colours == ["green"] * 6


def test_run_calls_sync_parts_in_the_callers_thread(tmp_path: Path) -> None:
    """Under `run` every sync part runs in the thread that called it, without a loop."""
    callers = CallerLog()
    sync_flow(tmp_path / "c.pkl", callers).run()
    assert callers.threads == [threading.current_thread()] * 4
    assert callers.loops == [None] * 4


def test_run_keeps_sync_parts_there_between_coroutines(tmp_path: Path) -> None:
    """Coroutine steps before and after do not move a sync step to another thread."""
    sync, coroutine = CallerLog(), CallerLog()
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="first", load=sync.note)(coroutine.anote)
    cp.add_step(name="second", load=coroutine.anote)(sync.note)
    cp.add_step(name="third", save=sync.note)(coroutine.anote)
    cp.run(None, "always")
    assert sync.threads == [threading.current_thread()] * 3
    assert len(coroutine.loops) == 3


def test_run_works_in_any_thread(tmp_path: Path) -> None:
    """Called from a thread that is not the main one, `run` stays in it."""
    callers = CallerLog()
    cp = sync_flow(tmp_path / "c.pkl", callers)
    cp.add_step(name="third")(callers.anote)
    thread = threading.Thread(target=cp.run, name="mine")
    thread.start()
    thread.join()
    assert callers.threads[:4] == [thread] * 4
    assert len(callers.threads) == 5


async def test_run_inside_a_loop_keeps_sync_parts_in_this_thread(tmp_path: Path) -> None:
    """In a notebook's running loop, `run` calls sync parts in the calling thread too."""
    callers = CallerLog()
    sync_flow(tmp_path / "c.pkl", callers).run()
    assert callers.threads == [threading.current_thread()] * 4


async def test_run_inside_a_loop_runs_coroutines_to_their_end(tmp_path: Path) -> None:
    """In a notebook's running loop, `run` runs coroutines on one loop, which is another."""
    callers = CallerLog()
    async_flow(tmp_path / "c.pkl", callers).run()
    assert len(callers.loops) == 4
    assert len(set(callers.loops)) == 1
    assert asyncio.get_running_loop() not in callers.loops


def test_one_loop_serves_all_coroutines_of_a_run(any_runner: Runner, flows: FlowFactory) -> None:
    """What one step starts on the loop, a later one can await, across a sync step."""
    loops: list[asyncio.AbstractEventLoop] = []
    cp = CheckpointFlow(flows.path)

    @cp.add_step()
    async def start(state: State, data: State) -> None:
        loops.append(asyncio.get_running_loop())
        data["task"] = asyncio.create_task(asyncio.sleep(0, "awaited"))

    @cp.add_step()
    def between(state: State) -> None:
        state["between"] = True

    @cp.add_step()
    async def end(state: State, data: State) -> None:
        loops.append(asyncio.get_running_loop())
        state["result"] = await data["task"]

    assert any_runner(cp) == {"between": True, "result": "awaited"}
    assert loops[0] is loops[1]
    assert loops[0].is_closed()


def test_sync_step_may_run_a_loop_of_its_own(runner: Runner, flows: FlowFactory) -> None:
    """A sync step that calls `asyncio.run` itself works, after coroutine steps too."""
    cp = CheckpointFlow(flows.path)

    @cp.add_step()
    async def first(state: State) -> None:
        state["first"] = await asyncio.sleep(0, 1)

    @cp.add_step()
    def own_loop(state: State) -> None:
        state["own"] = asyncio.run(asyncio.sleep(0, 2))

    assert runner(cp) == {"first": 1, "own": 2}


def test_sync_step_may_run_another_flow(
    any_runner: Runner, flows: FlowFactory, tmp_path: Path
) -> None:
    """A flow inside a step of a flow is a flow."""
    inner = CheckpointFlow(tmp_path / "inner.pkl")
    cp = CheckpointFlow(flows.path)

    @inner.add_step()
    async def deep(state: State) -> None:
        state["deep"] = await asyncio.sleep(0, 1)

    @cp.add_step()
    def outer(state: State) -> None:
        state["inner"] = inner.run({})

    assert any_runner(cp) == {"inner": {"deep": 1}}


def test_several_loops_one_after_another_use_one_flow(flows: FlowFactory) -> None:
    """A flow is bound to no loop: `asyncio.run` and `run` take turns on it."""
    callers = CallerLog()
    cp = async_flow(flows.path, callers)
    asyncio.run(cp.arun())
    cp.run()
    asyncio.run(cp.arun())
    assert len(callers.loops) == 12
    assert len(set(callers.loops)) == 3

"""A cancelled run does not wait for the end of an outage, unless its request was sent."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from locations import program, with_support
from memory_store import MemoryHandler, MemoryServer

from aiocheckpoint import CheckpointFlow, RunInProgressError, StoreUnreachableError
from aiocheckpoint._concurrency import giving_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint import Header

SOON = 0.1
LIMIT = 20.0
"""Seconds. A bound against hanging, below the patience."""
WAYS = ["cancel", "timeout", "scope"]


@pytest.fixture(autouse=True)
def soon_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store count as stalled after a shorter time."""
    monkeypatch.setattr(giving_up, "_STALL_SECONDS", 3 * SOON)


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    """Give a server, which is up again at the end."""
    made = MemoryServer()
    yield made
    made.start()


class Flow:
    """A flow of two steps, at the first of which a test stops the server.

    Attributes:
        cp: The flow.
        gate: Lets the first step end.
        begun: The runs that are in it, or have been.
        calls: The steps that were called, with their runs.
    """

    def __init__(self, server: MemoryServer, **options: Any) -> None:  # noqa: ANN401 - passed on
        """Make it."""
        self.server, self.gate = server, asyncio.Event()
        self.begun: list[str] = []
        self.calls: list[tuple[str, str]] = []
        self.cp = CheckpointFlow("memory", handler=MemoryHandler(server, **options))

        @self.cp.add_step()
        async def first(state: dict[str, Any]) -> None:
            self.calls.append(("first", state["id"]))
            self.begun.append(state["id"])
            await self.gate.wait()
            state["first"] = True

        @self.cp.add_step()
        def second(state: dict[str, Any]) -> None:
            self.calls.append(("second", state["id"]))

    def start(self, run_id: str) -> asyncio.Task[dict[str, Any]]:
        """Start a run in a task."""
        return asyncio.create_task(self.cp.arun({"id": run_id}, run_id=run_id))

    async def wait_for_begin(self, count: int) -> None:
        """Wait until so many runs are in their first step."""
        async with asyncio.timeout(LIMIT):
            while len(self.begun) < count:  # noqa: ASYNC110 - the steps add to it
                await asyncio.sleep(0.005)

    def header(self, run_id: str) -> Header:
        """Read a header."""
        (header,) = [one for one in self.cp.runs() if one.run_id == run_id]
        return header


async def cancel(task: asyncio.Task[Any], way: str) -> None:
    """Cancel a task in a way, and wait for its end."""
    async with asyncio.timeout(LIMIT):
        if way == "cancel":
            await asyncio.sleep(SOON)
            task.cancel()
            await asyncio.wait([task])
        elif way == "timeout":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, SOON)
    assert task.cancelled()


@pytest.mark.parametrize("way", ["cancel", "timeout"])
async def test_cancelled_behind_a_step(server: MemoryServer, way: str) -> None:
    """A run whose step ends in an outage is cancelled soon, and resumed from what is stored."""
    flow = Flow(server)
    task = flow.start("a")
    await flow.wait_for_begin(1)
    server.stop()
    flow.gate.set()
    await cancel(task, way)
    assert not server.reachable
    server.start()
    assert (await flow.cp.arun(run_id="a", wait=LIMIT))["first"]
    assert flow.calls == [("first", "a"), ("first", "a"), ("second", "a")]


async def test_cancelled_scope(server: MemoryServer) -> None:
    """The same in a cancel scope of anyio's."""
    flow = Flow(server)
    flow.gate.set()

    async def stop_server() -> None:
        await flow.wait_for_begin(1)
        server.stop()

    flow.gate.clear()
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as group:
            group.start_soon(stop_server)
            with anyio.CancelScope() as scope:
                group.start_soon(_end_soon, flow, scope)
                await flow.cp.arun({"id": "a"}, run_id="a")
    assert scope.cancelled_caught
    server.start()
    assert (await flow.cp.arun(run_id="a", wait=LIMIT))["first"]


async def _end_soon(flow: Flow, scope: anyio.CancelScope) -> None:
    """Let the step end when the server is stopped, and cancel soon after that."""
    while flow.server.reachable:  # noqa: ASYNC110 - another task stops it
        await asyncio.sleep(0.005)
    flow.gate.set()
    await asyncio.sleep(SOON)
    scope.cancel()


@pytest.mark.parametrize("way", ["cancel", "timeout"])
async def test_cancelled_before_the_claim(server: MemoryServer, way: str) -> None:
    """A run that begins in an outage is cancelled soon, and nothing of it is stored later."""
    flow = Flow(server)
    server.stop()
    await cancel(flow.start("a"), way)
    server.start()
    assert await flow.cp.aruns() == []
    flow.gate.set()
    await flow.cp.arun({"id": "a"}, run_id="a")


async def test_cancelled_inside_a_step(server: MemoryServer) -> None:
    """A run that is cancelled in a step in an outage does not wait for the record of that."""
    flow = Flow(server)
    task = flow.start("a")
    await flow.wait_for_begin(1)
    server.stop()
    await cancel(task, "cancel")
    server.start()
    flow.gate.set()
    await flow.cp.arun(run_id="a", wait=LIMIT)


async def test_a_failed_step_in_an_outage(server: MemoryServer) -> None:
    """A cancellation ends the wait for the record of a failure as well."""
    cp = CheckpointFlow("memory", handler=MemoryHandler(server))
    gate = asyncio.Event()

    @cp.add_step()
    async def fails(state: dict[str, Any]) -> None:
        del state
        gate.set()
        while server.reachable:  # noqa: ASYNC110 - the test stops it
            await asyncio.sleep(0.005)
        raise ConnectionError("no service")

    task = asyncio.create_task(cp.arun({}, run_id="a"))
    await gate.wait()
    server.stop()
    assert not (await asyncio.wait([task], timeout=6 * SOON))[0]
    task.cancel()
    async with asyncio.timeout(LIMIT):
        await asyncio.wait([task])
    assert task.cancelled()


async def test_many_are_cancelled_together(server: MemoryServer) -> None:
    """Hundreds of runs end together, and no thread is kept by any of them."""
    flow = Flow(server)
    tasks = [flow.start(str(number)) for number in range(300)]
    await flow.wait_for_begin(300)
    server.stop()
    flow.gate.set()
    await asyncio.sleep(SOON)
    for task in tasks:
        task.cancel()
    async with asyncio.timeout(LIMIT):
        await asyncio.wait(tasks)
        assert not server.reachable
        assert await flow.cp.adrain() == []
    server.start()
    later = Flow(server)
    later.gate.set()
    async with asyncio.timeout(LIMIT):
        results = [later.cp.arun(run_id=str(number), wait=LIMIT) for number in range(300)]
        assert all(state["first"] for state in await asyncio.gather(*results))


async def test_sent_is_waited_for(server: MemoryServer) -> None:
    """A step whose snapshot was sent is waited for, and is then stored though it was cancelled."""
    flow = Flow(server)
    task = flow.start("a")
    await flow.wait_for_begin(1)
    sent, goes_on = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        sent.set()
        goes_on.wait(LIMIT)

    server.before_commit = hang
    flow.gate.set()
    assert await asyncio.to_thread(sent.wait, LIMIT)
    server.before_commit = lambda _: None
    task.cancel()
    assert not (await asyncio.wait([task], timeout=10 * SOON))[0]
    goes_on.set()
    async with asyncio.timeout(LIMIT):
        await asyncio.wait([task])
    assert task.cancelled()
    assert (flow.header("a").position, flow.header("a").status) == (1, "cancelled")


async def test_an_answer_lost_is_waited_for(server: MemoryServer) -> None:
    """A snapshot that may be stored is not withdrawn. The cancellation comes with the patience."""
    flow = Flow(server, patience=10 * SOON)
    task = flow.start("a")
    await flow.wait_for_begin(1)
    server.faults.append("answer")
    server.before_commit = lambda _: server.__setattr__("reachable", False)
    flow.gate.set()
    while server.reachable:  # noqa: ASYNC110 - the writer thread stops it
        await asyncio.sleep(0.005)
    server.before_commit = lambda _: None
    task.cancel()
    async with asyncio.timeout(LIMIT):
        await asyncio.wait([task])
    assert task.cancelled()
    server.start()
    assert (await flow.cp.arun(run_id="a", wait=LIMIT))["first"]
    assert flow.calls == [("first", "a"), ("second", "a")]


async def test_a_store_in_reach_is_waited_for(server: MemoryServer) -> None:
    """Without an outage cancelled runs wait for their turn, and what they did is stored."""
    flow = Flow(server)
    tasks = [flow.start(str(number)) for number in range(100)]
    await flow.wait_for_begin(100)
    sent, cancelled = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        sent.set()
        assert cancelled.wait(LIMIT)

    server.before_commit = hold
    flow.gate.set()
    assert await asyncio.to_thread(sent.wait, LIMIT)
    for task in tasks:
        task.cancel()
    asyncio.get_running_loop().call_later(SOON, cancelled.set)
    async with asyncio.timeout(LIMIT):
        await asyncio.wait(tasks)
    headers = [flow.header(str(number)) for number in range(100)]
    assert {(header.status, header.position) for header in headers} == {("cancelled", 1)}


async def test_a_drain_in_an_outage(server: MemoryServer) -> None:
    """A drain ends with its runs, at the latest when their patience is over."""
    flow = Flow(server, patience=10 * SOON)
    task = flow.start("a")
    await flow.wait_for_begin(1)
    server.stop()
    flow.gate.set()
    async with asyncio.timeout(LIMIT):
        assert await flow.cp.adrain() == []
        with pytest.raises(StoreUnreachableError):
            await task
    server.start()


async def test_a_drain_that_gives_up(server: MemoryServer) -> None:
    """A drain with a limit leaves the run, whose cancellation then ends it soon."""
    flow = Flow(server)
    task = flow.start("a")
    await flow.wait_for_begin(1)
    server.stop()
    flow.gate.set()
    async with asyncio.timeout(LIMIT):
        assert await flow.cp.adrain(timeout=SOON) == ["a"]
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    with pytest.raises(asyncio.CancelledError) as info:
        await task
    assert info.type is asyncio.CancelledError


def test_the_end_of_a_loop(server: MemoryServer) -> None:
    """`asyncio.run` ends, though a run in an outage is left."""

    async def leave_a_run() -> Flow:
        flow = Flow(server)
        task = flow.start("a")
        await flow.wait_for_begin(1)
        server.stop()
        flow.gate.set()
        await asyncio.wait([task], timeout=SOON)
        assert not task.done()
        return flow

    began = time.monotonic()
    flow = asyncio.run(leave_a_run())
    assert time.monotonic() - began < LIMIT
    server.start()
    flow.gate = asyncio.Event()
    flow.gate.set()
    assert flow.cp.run(run_id="a", wait=LIMIT)["first"]


def test_a_loop_closed_under_its_run(server: MemoryServer) -> None:
    """A loop that is closed without a cancellation is left by its run, which is no longer owned."""
    loop = asyncio.new_event_loop()
    flow = Flow(server)

    async def begin() -> None:
        tasks.append(flow.start("a"))
        await flow.wait_for_begin(1)
        server.stop()
        flow.gate.set()
        await asyncio.sleep(SOON)

    tasks: list[asyncio.Task[Any]] = []
    began = time.monotonic()
    loop.run_until_complete(begin())
    loop.close()
    tasks.clear()
    server.start()
    later = Flow(server)
    later.gate.set()
    while time.monotonic() < began + LIMIT:
        gc.collect()  # The request held the task as long as the store was away.
        with suppress(RunInProgressError):
            assert later.cp.run(run_id="a", wait=SOON)["first"]
            return
    raise AssertionError("the run is still owned")


def blocking_flow(server: MemoryServer, reached: threading.Event) -> CheckpointFlow:
    """Make a flow whose first step stops the server."""
    cp = CheckpointFlow("memory", handler=MemoryHandler(server))

    @cp.add_step()
    def first(state: dict[str, Any]) -> None:
        if not reached.is_set():
            server.stop()
            reached.set()
        state["first"] = True

    cp.add_step(name="second")(lambda state: state.update(second=True))
    return cp


def test_ctrl_c_under_run(server: MemoryServer) -> None:
    """Ctrl-C ends a run whose snapshot waits for the end of an outage."""
    reached = threading.Event()
    cp = blocking_flow(server, reached)

    def strike() -> None:
        assert reached.wait(LIMIT)
        time.sleep(SOON)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    striking = threading.Thread(target=strike)
    striking.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        cp.run({}, run_id="a")
    assert time.monotonic() - began < LIMIT
    striking.join()
    server.start()
    assert cp.run(run_id="a", wait=LIMIT)["second"]


async def test_a_list_is_given_up(server: MemoryServer) -> None:
    """A cancelled list leaves no thread behind that waits for the store."""
    flow = Flow(server)
    server.stop()
    async with asyncio.timeout(LIMIT):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flow.cp.aruns(), SOON)
        while any("aiocheckpoint-store" in one.name for one in busy_threads(flow)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def busy_threads(flow: Flow) -> list[threading.Thread]:
    """The threads of a flow's store while one of them works."""
    threads = vars(flow.cp.handler)["_store_threads"]
    return threading.enumerate() if threads.is_busy else []


@pytest.mark.parametrize("way", ["cancel", "leave", "list", "thread"])
def test_the_end_of_a_process(way: str) -> None:
    """A process ends soon in an outage, whatever waits for the store in it."""
    script = [sys.executable, str(program("outage_exit_script.py")), way]
    done = subprocess.run(
        script, capture_output=True, text=True, timeout=60, check=False, env=with_support()
    )
    assert done.stdout == "the program is over\n", done.stderr

"""`async with cp:` opens a flow, again after a drain, and drains and closes it at the end."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from blocking_flow import LAST, BlockingFlow, statuses
from interrupts import Latch, turns

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    InvalidValueError,
    LocalStateHandler,
    RunInProgressError,
    StorageError,
)
from aiocheckpoint._engine.lifespans import Lifespans
from aiocheckpoint._runs import draining

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from run_factories import Runs
    from support import State

SOON = 0.01
PATIENCE = 20.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Give an event that lets hung functions end, set at the latest when the test ends."""
    made = threading.Event()
    yield made
    made.set()


async def serve_once(cp: CheckpointFlow, blocking_flow: BlockingFlow, run_id: str) -> object:
    """Be a service that is closed while a run is in its step, and give the end of the run."""
    async with cp as opened:
        assert opened is cp
        (task,) = await blocking_flow.start(cp, run_id)
        asyncio.get_running_loop().call_later(SOON, blocking_flow.free.set)
    return (await asyncio.gather(task, return_exceptions=True))[0]


async def test_twice_in_one_process(runs: Runs) -> None:
    """Each block drains at its end, and the next one runs again. Stopped runs stay stopped."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    for run_id in "xy":
        blocking_flow.free.clear()
        assert isinstance(await serve_once(cp, blocking_flow, run_id), DrainingError)
        with pytest.raises(DrainingError):
            await cp.arun({}, run_id="z")
        with pytest.raises(DrainingError):
            await cp.amap({"z": {}})
        assert statuses(cp, "xyz") == ["stopped", "stopped" if run_id == "y" else None, None]
    async with cp:
        assert await cp.arun(run_id="x") == LAST
        assert [one.run_id for one in await cp.aresume_all()] == ["y"]
        assert await cp.amap({"z": {}}) != []
    assert statuses(cp, "xyz") == ["finished"] * 3


async def test_error_of_the_block(runs: Runs) -> None:
    """The exception of the block comes out, behind the drain."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    (task,) = await blocking_flow.start(cp, "x")
    asyncio.get_running_loop().call_later(SOON, blocking_flow.free.set)
    with pytest.raises(KeyError, match="broken"):
        async with cp:
            raise KeyError("broken")
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], DrainingError)
    assert statuses(cp, "x") == ["stopped"]


async def test_drained_before_its_end(database: Runs) -> None:
    """A block whose flow was drained with a time limit does not wait once more."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(database)
    async with asyncio.timeout(PATIENCE):
        async with cp:
            (task,) = await blocking_flow.start(cp, "x")
            assert await cp.adrain(timeout=SOON) == ["x"]
    assert statuses(cp, "x") == ["running"]
    other = database.flow()
    with pytest.raises(RunInProgressError):  # Its handler was left open, and owns the run.
        await other.arun(run_id="x")
    blocking_flow.free.set()
    await asyncio.gather(task, return_exceptions=True)


async def test_run_of_before_stops_though_the_flow_is_open_again(runs: Runs) -> None:
    """A run that a drain left in a step stops behind it, and the new lifespan is not drained."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    (task,) = await blocking_flow.start(cp, "x")
    assert await cp.adrain(timeout=0) == ["x"]
    async with cp:
        second = asyncio.create_task(cp.arun({}, run_id="y"))
        await blocking_flow.arrivals(1)
        blocking_flow.free.set()
        with pytest.raises(DrainingError, match="stopped on its way"):
            await task
        assert await second == LAST
    assert statuses(cp, "xy") == ["stopped", "finished"]


async def test_hung_threads_of_before(gate: threading.Event, database: Runs) -> None:
    """Behind a hung step of the old lifespan, the new one has all its threads."""
    cp, begun = database.empty_flow(threads=1), threading.Event()

    @cp.add_step(name="a")
    def hang(state: State) -> None:
        if state["hangs"]:
            begun.set()
            gate.wait(PATIENCE)

    task = asyncio.create_task(cp.arun({"hangs": True}, run_id="x"))
    await asyncio.to_thread(begun.wait, PATIENCE)
    assert await cp.adrain(timeout=0) == ["x"]
    async with asyncio.timeout(PATIENCE / 2):
        async with cp:
            await cp.arun({"hangs": False}, run_id="y")
    assert not gate.is_set()
    task.cancel()
    await asyncio.wait([task], timeout=PATIENCE / 2)
    assert task.cancelled()


async def test_cancelled_block_waits_for_steps(monkeypatch: pytest.MonkeyPatch, runs: Runs) -> None:
    """A cancellation of the block lets steps end that do so soon."""
    latch = Latch(blocks=True)
    blocking_flow = BlockingFlow(latch=latch)
    cp = blocking_flow.flow(runs)
    monkeypatch.setattr(draining, "_SECONDS_IF_CANCELLED", PATIENCE)

    async def serve() -> None:
        async with cp:
            await asyncio.Event().wait()

    server = asyncio.create_task(serve())
    await turns(2)
    task = asyncio.create_task(cp.arun({}, run_id="x"))
    await latch.reached()
    server.cancel()
    await turns(5)
    assert not server.done()
    latch.opened.set()
    await asyncio.wait([server, task], timeout=PATIENCE)
    assert server.cancelled()
    assert statuses(cp, "x") == ["stopped"]


@pytest.mark.parametrize("way", ["cancel", "twice", "timeout", "scope"])
async def test_cancelled_block_with_a_hung_step(
    way: str, gate: threading.Event, monkeypatch: pytest.MonkeyPatch, database: Runs
) -> None:
    """It ends, and so does the cancelled task of the hung step."""
    cp, begun = database.empty_flow(), threading.Event()
    limit = PATIENCE * 10 if way in {"twice", "scope"} else 0.05
    monkeypatch.setattr(draining, "_SECONDS_IF_CANCELLED", limit)

    @cp.add_step(name="a")
    def hang(state: State) -> None:
        begun.set()
        gate.wait(10 * PATIENCE)

    async def serve() -> None:
        async with cp:
            tasks.append(asyncio.create_task(cp.arun({}, run_id="x")))
            await asyncio.to_thread(begun.wait, PATIENCE)
            if way == "timeout":
                async with asyncio.timeout(SOON):
                    await asyncio.Event().wait()
            elif way == "scope":
                scope.cancel()
            await asyncio.Event().wait()

    tasks, scope = list[asyncio.Task[Any]](), anyio.CancelScope()

    async def serve_in_scope() -> None:
        with scope:
            await serve()

    server = asyncio.create_task(serve_in_scope())
    await asyncio.to_thread(begun.wait, PATIENCE)
    await asyncio.sleep(SOON)
    for _ in range({"cancel": 1, "twice": 2}.get(way, 0)):
        server.cancel()
        await asyncio.sleep(SOON)
    async with asyncio.timeout(PATIENCE):
        if way == "timeout":  # An ordinary exception waits for the step.
            await asyncio.sleep(0.2)
            assert not server.done()
            server.cancel()
        await asyncio.wait([server])
        tasks[0].cancel()
        await asyncio.wait(tasks)
    assert not gate.is_set()


async def test_two_blocks_at_once(database: Runs) -> None:
    """A second block, and one of a copy that shares its runs, are refused. The first goes on."""
    cp = database.flow("a")
    async with cp:
        for one in (cp, copy.copy(cp)):
            with pytest.raises(InvalidValueError, match="is open: another `async with` block"):
                async with one:
                    raise AssertionError("unreachable")
        with pytest.raises(InvalidValueError):
            await asyncio.to_thread(asyncio.run, enter(cp))
        await cp.arun({}, run_id="x")
    async with cp:
        await cp.arun({}, run_id="x")


async def test_handler_that_cannot_be_closed(
    database: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that cannot be entered leaves the flow drained, and the next one opens it."""
    cp = database.flow("a")
    await cp.adrain()

    def fail() -> None:
        raise StorageError("runs.db", "the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(cp.handler, "close_unused", fail)
        with pytest.raises(StorageError, match="the disk is gone"):
            await enter(cp)
    with pytest.raises(DrainingError):
        await cp.arun({}, run_id="x")
    async with cp:
        await cp.arun({}, run_id="x")


async def enter(cp: CheckpointFlow) -> None:
    """Enter and leave the block of a flow."""
    async with cp:
        pass


def test_block_whose_loop_was_closed(database: Runs) -> None:
    """A block that never ended does not keep the flow from being opened on another loop."""
    cp, kept = database.flow("a"), list[object]()

    async def never_leave() -> None:
        async with cp:
            kept.append(asyncio.current_task())
            await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    kept.append(loop.create_task(never_leave()))
    loop.run_until_complete(asyncio.sleep(0))
    with pytest.raises(InvalidValueError):
        asyncio.run(enter(cp))
    loop.close()
    asyncio.run(enter(cp))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_closed_coroutine(gate: threading.Event, database: Runs) -> None:
    """A block whose coroutine is closed asks for the drain, and gives up hung steps at once."""
    cp, begun = database.empty_flow(), threading.Event()

    @cp.add_step(name="a")
    def hang(state: State) -> None:
        begun.set()
        gate.wait(PATIENCE)

    async def serve() -> None:
        async with cp:
            await asyncio.sleep(0)

    async def main() -> None:
        coroutine = serve()
        coroutine.send(None)
        task = asyncio.create_task(cp.arun({}, run_id="x"))
        await asyncio.to_thread(begun.wait, PATIENCE)
        coroutine.close()
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE / 2)
        assert task.cancelled()

    asyncio.run(main())
    assert not gate.is_set()
    with pytest.raises(DrainingError):
        cp.run({}, run_id="y")
    asyncio.run(enter(cp))


async def test_handler_is_closed(tmp_path: Path) -> None:
    """At the end of the block the database file alone holds everything. The next use opens it."""
    place = tmp_path / "runs.db"
    cp = CheckpointFlow(place, "sqlite")
    cp.add_step(name="a")(lambda state: None)
    async with cp:
        await cp.arun({}, run_id="x")
        assert place.with_name("runs.db-wal").exists()
    assert not place.with_name("runs.db-wal").exists()
    with closing(sqlite3.connect(place)) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert (await cp.aheader("x")) is not None
    async with cp:
        await cp.arun({}, run_id="y")
    assert not place.with_name("runs.db-wal").exists()


async def test_handler_with_a_run_in_a_step(tmp_path: Path) -> None:
    """It is not closed while a run of the flow is in a step, whatever kind of handler it is."""
    calls = list[str]()

    class Noting(LocalStateHandler):
        def close(self) -> None:
            calls.append("closed")

    blocking_flow = BlockingFlow()
    cp = CheckpointFlow(tmp_path / "runs/", Noting(f"{tmp_path}/runs/"))
    cp.add_step(name="b")(blocking_flow.hold)
    async with cp:
        (task,) = await blocking_flow.start(cp, "x")
        await cp.adrain(timeout=0)
    assert calls == []
    blocking_flow.free.set()
    await task
    async with cp:
        assert calls == ["closed"]
    assert calls == ["closed"] * 2


@pytest.mark.parametrize("shares", ["handler", "file"])
async def test_other_flow_on_the_same_database(shares: str, tmp_path: Path) -> None:
    """Its runs in progress keep their leases, and the last block closes the database."""
    place, entered, free = tmp_path / "runs.db", asyncio.Event(), asyncio.Event()
    first = CheckpointFlow(place, "sqlite", name="first")
    second = CheckpointFlow(place, "sqlite", name="second")
    if shares == "handler":
        second = CheckpointFlow(place, first.handler, name="first")
    first.add_step(name="a")(lambda state: None)

    @second.add_step(name="a")
    async def wait(state: State) -> None:
        entered.set()
        await free.wait()

    second.add_step(name="b")(lambda state: None)
    async with second:
        async with first:
            task = asyncio.create_task(second.arun({}, run_id="y"))
            await entered.wait()
            await first.arun({}, run_id="x")
        free.set()
        assert await task == {}
    assert not place.with_name("runs.db-wal").exists()


async def test_note_of_a_drain_ends(tmp_path: Path) -> None:
    """In the next lifespan it is not noted any more that the process drains."""
    blocking_flow, place = BlockingFlow(), tmp_path / "runs.db"
    cp = CheckpointFlow(place, "sqlite")
    cp.add_step(name="b")(blocking_flow.hold)
    cp.add_step(name="c")(lambda state: None)

    def noted() -> int:
        with closing(sqlite3.connect(place)) as connection:
            return int(connection.execute("SELECT count(*) FROM draining_owners").fetchone()[0])

    tasks = await blocking_flow.start(cp, "x")
    drain = asyncio.create_task(cp.adrain())
    async with asyncio.timeout(PATIENCE):
        while not noted():  # noqa: ASYNC110 - another thread notes it
            await asyncio.sleep(SOON)
    blocking_flow.free.set()
    assert await drain == []
    await asyncio.gather(*tasks, return_exceptions=True)
    blocking_flow.free.clear()
    async with cp:
        tasks = await blocking_flow.start(cp, "y")
        assert noted() == 0
        blocking_flow.free.set()
        await asyncio.gather(*tasks)


async def test_worker_in_each_lifespan(database: Runs) -> None:
    """The end of a block ends `awork` in good order, and the next block has another."""
    cp = database.flow("a")

    async def work() -> list[str | None]:
        return [result.run_id async for result in cp.awork()]

    for run_id in "xy":
        async with cp:
            worker = asyncio.create_task(work())
            await cp.asubmit({}, run_id=run_id)
            async with asyncio.timeout(PATIENCE):
                while statuses(cp, run_id) != ["finished"]:  # noqa: ASYNC110
                    await asyncio.sleep(SOON)
        assert await worker == [run_id]


async def test_own_handler(tmp_path: Path) -> None:
    """A handler of dicts has nothing to close."""

    class Own:
        def __init__(self, path: object) -> None:
            self.state: State = {}

        def read(self) -> State:
            return self.state

        def write(self, state: State) -> None:
            self.state = dict(state)

    cp = CheckpointFlow(tmp_path / "own", Own)
    cp.add_step(name="a")(lambda state: None)
    for _ in range(2):
        async with cp:
            await cp.arun({})


def test_copies_are_not_drained(tmp_path: Path) -> None:
    """A deep copy and a pickled flow have lifespans of their own. A plain copy shares them."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    cp.add_step(name="a")(add_one)
    cp.drain()
    for other in (copy.deepcopy(cp), pickle.loads(pickle.dumps(cp))):
        assert other.run({}) == {"n": 1}
    with pytest.raises(DrainingError):
        copy.copy(cp).run({})


def add_one(state: State) -> None:
    """Count."""
    state["n"] = state.get("n", 0) + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
async def test_forked_child(tmp_path: Path) -> None:
    """A child waits for no run of its parent, may run, and may open the flow for itself."""
    entered, free = threading.Event(), threading.Event()
    cp = CheckpointFlow(tmp_path / "runs/", fsync=False)

    @cp.add_step(name="a")
    def wait(state: State) -> None:
        if state.get("waits"):
            entered.set()
            free.wait(PATIENCE)

    async with cp:
        task = asyncio.create_task(cp.arun({"waits": True}, run_id="x"))
        await asyncio.to_thread(entered.wait, PATIENCE)
        child = os.fork()
        if child == 0:
            code = 1
            with suppress(BaseException):
                cp.run({}, run_id="child")
                assert cp.drain(timeout=PATIENCE) == []
                code = 0
            os._exit(code)
        async with asyncio.timeout(PATIENCE):
            _, ended = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(ended) == 0
        free.set()
        await task
        await cp.arun({}, run_id="y")


async def test_two_blocks_behind_a_dead_one() -> None:
    """Of two blocks that replace one whose loop was closed, one opens the flow."""
    lifespans = Lifespans("flow", 1)

    class Dead:
        @property
        def is_alive(self) -> bool:
            openings.clear()
            lifespans.open()  # That of another thread comes first.
            return False

    openings: dict[None, Any] = cast("Any", lifespans)._open  # noqa: SLF001
    openings[None] = Dead()
    with pytest.raises(InvalidValueError, match="is open"):
        lifespans.open()

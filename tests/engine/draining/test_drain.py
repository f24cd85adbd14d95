"""`adrain`: runs stop after their current step, none begins, and the next process resumes them."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import drain_script
import pytest
from blocking_flow import LAST, BlockingFlow, collect, pairs_of, statuses
from interrupts import Latch, turns
from run_factories import UNFINISHED, resumed
from support import notes_of

from aiocheckpoint import CheckpointFlow, DrainingError, RunResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from run_factories import Runs
    from support import State

    from aiocheckpoint._runs.streams import Stream

IDS = ("x", "y", None)


async def drained(cp: CheckpointFlow, blocking_flow: BlockingFlow) -> list[str | None]:
    """Begin to drain, and only then release the blocked steps."""
    drain = asyncio.create_task(cp.adrain())
    await turns(3)
    assert not drain.done()
    blocking_flow.free.set()
    if blocking_flow.latch is not None:
        blocking_flow.latch.opened.set()
    return await drain


async def check_stopped(cp: CheckpointFlow, run_id: str | None, ended: object) -> None:
    """Check that a run was stopped after b, and that its error says so."""
    assert isinstance(ended, DrainingError)
    assert (ended.flow, ended.path) == (cp.name, cp.handler.locate(run_id))
    assert notes_of(ended) == ""
    header = await cp.aheader(run_id)
    assert header is not None
    assert (header.status, header.position, header.failure) == ("stopped", 2, None)
    assert await cp.aread(run_id) == {"trail": ["a", "b"], "checkpoint_index": 2}


async def test_coroutines(runs: Runs) -> None:
    """Running runs finish their current step, are stored as stopped, and resume later."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    tasks = await blocking_flow.start(cp, *IDS)
    assert await drained(cp, blocking_flow) == []
    came = await asyncio.gather(*tasks, return_exceptions=True)
    for run_id, ended in zip(IDS, came, strict=True):
        await check_stopped(cp, run_id, ended)
    found = await resumed(blocking_flow.flow(runs))
    assert {run_id: one.state for run_id, one in found.items()} == dict.fromkeys(IDS, LAST)
    assert all(blocking_flow.times(run_id) == LAST["trail"] for run_id in IDS)


async def test_sync_step(runs: Runs) -> None:
    """`adrain` also waits for a run in a thread."""
    latch = Latch(blocks=True)
    blocking_flow = BlockingFlow(latch=latch)
    cp = blocking_flow.flow(runs)
    task = asyncio.create_task(cp.arun({}, run_id="x"))
    await latch.reached()
    assert await drained(cp, blocking_flow) == []
    came = await asyncio.gather(task, return_exceptions=True)
    await check_stopped(cp, "x", came[0])
    assert await blocking_flow.flow(runs).arun(run_id="x") == LAST
    assert blocking_flow.times("x") == LAST["trail"]


async def test_last_step(runs: Runs) -> None:
    """A run in its last step, or in the last before `until=`, ends as usual."""
    blocking_flow = BlockingFlow()
    cp = blocking_flow.flow(runs)
    task = asyncio.create_task(cp.arun({}, run_id="x", until="b"))
    await blocking_flow.arrivals(1)
    assert await drained(cp, blocking_flow) == []
    assert await task == {"trail": ["a", "b"]}
    blocking_flow, again = BlockingFlow(), runs.empty_flow()
    again.add_step(name="only")(blocking_flow.hold)
    (task,) = await blocking_flow.start(again, "y")
    assert await drained(again, blocking_flow) == []
    assert await task == {"trail": ["only"]}
    assert statuses(again, "xy") == ["stopped", "finished"]


async def test_no_run_begins(runs: Runs) -> None:
    """Every method that begins a run refuses it, and nothing of the run is stored."""
    cp = runs.flow()
    await cp.arun({}, run_id="left", until="a")
    before = statuses(cp, ["left", "x"])
    runs.log.clear()
    assert await cp.adrain() == []
    refused: list[Any] = [
        *(cp.arun({}, run_id="x"), cp.arun({}, run_id="x", wait=3_600), cp.arun(run_id="left")),
        *(asyncio.to_thread(cp.run, {}, run_id="x"), cp.astream({}, run_id="x")),
        *(
            cp.amap({"x": {}}),
            cp.amap(pairs_of({"x": {}})),
            cp.amap({}),
            cp.aresume_all(status=UNFINISHED),
        ),
    ]
    for one in refused:
        with pytest.raises(DrainingError, match="no run starts any more") as info:
            await one
        assert info.value.path is None
    with pytest.raises(DrainingError):
        cp.run({}, run_id="x")
    assert (statuses(cp, ["left", "x"]), runs.log) == (before, [])


async def test_calls_that_start_no_run_still_work(runs: Runs) -> None:
    """A drained flow can still plan, read, patch and delete its runs."""
    cp = runs.flow()
    await cp.arun({}, run_id="x", until="a")
    await cp.adrain()
    assert (await cp.aplan(run_id="x")).start == 1
    assert (await cp.apatch({"mended": True}, run_id="x")).status == "stopped"
    assert (await cp.aread("x"))["mended"] is True
    assert await cp.adelete("x") is True


async def begun(results: Stream[RunResult]) -> tuple[dict[str | None, RunResult], BaseException]:
    """Take all results while the flow drains, and give them and the error at the end."""
    found = list[RunResult]()

    async def take() -> AsyncIterator[RunResult]:
        async for result in results:
            found.append(result)
            yield result

    with pytest.raises(DrainingError) as info:
        await collect(take())
    return {one.run_id: one for one in found}, info.value


@pytest.mark.parametrize("how", ["amap", "aresume_all"])
async def test_many(how: str, runs: Runs) -> None:
    """Each running run is a result with its error. The error of the others ends the stream."""
    blocking_flow = BlockingFlow()
    cp, every = blocking_flow.flow(runs), [f"{n}" for n in range(5)]
    if how == "aresume_all":
        for one in every:
            await cp.arun({}, run_id=one, until="a")
    many = (
        cp.amap({one: {} for one in every}, limit=2)
        if how == "amap"
        else cp.aresume_all(limit=2, status=UNFINISHED)
    )
    task = asyncio.create_task(begun(many))
    under_way = await blocking_flow.arrivals(2)
    assert await drained(cp, blocking_flow) == []
    found, error = await task
    assert isinstance(error, DrainingError)
    assert error.path is None
    for run_id in under_way:
        await check_stopped(cp, run_id, found[run_id].error)
    assert len(found) <= 3  # the run whose turn had come may be a result, as refused
    if how == "amap":
        assert len(await cp.aruns()) == 2
    done = await resumed(blocking_flow.flow(runs))
    assert set(done) == (under_way if how == "amap" else set(every))
    assert all(one.state == LAST for one in done.values())
    assert all(blocking_flow.times(run_id) == LAST["trail"] for run_id in done)


@pytest.mark.parametrize("under_way", [0, 1])
async def test_source_that_waits(under_way: int, runs: Runs) -> None:
    """`amap` does not wait for a queue that is no longer filled. Its items stay in it."""
    blocking_flow, queue = BlockingFlow(), asyncio.Queue["tuple[str, State]"]()
    cp = blocking_flow.flow(runs)
    for number in range(under_way):
        queue.put_nowait((f"{number}", {}))

    async def source() -> AsyncIterator[tuple[str, State]]:
        while True:
            yield await queue.get()

    task = asyncio.create_task(begun(cp.amap(source(), limit=5)))
    await blocking_flow.arrivals(under_way)
    await turns(3)
    drain = asyncio.create_task(cp.adrain())
    await turns(3)
    blocking_flow.free.set()
    assert await drain == []
    found, _ = await task
    assert len(found) == under_way
    queue.put_nowait(("late", {}))
    await turns(3)
    assert queue.qsize() == 1


async def test_map_of_a_drained_flow(runs: Runs) -> None:
    """A drained flow takes nothing from the source."""
    cp, taken = BlockingFlow().flow(runs), list[str]()
    await cp.adrain()

    def source() -> Iterator[tuple[str, State]]:
        taken.append("a")
        yield "a", {}

    with pytest.raises(DrainingError):
        await cp.amap(source(), limit=1)
    assert taken == []


async def test_one_of_two_flow_objects(database: Runs) -> None:
    """A run in another flow object on the same database continues, and takes over at once."""
    blocking_flow, other_post = BlockingFlow(), BlockingFlow()
    cp, other = blocking_flow.flow(database), other_post.flow(database)
    (task,) = await blocking_flow.start(cp, "x")
    (other_task,) = await other_post.start(other, "y")
    assert await drained(cp, blocking_flow) == []
    with pytest.raises(DrainingError):
        await task
    other_post.free.set()
    assert await other_task == LAST
    assert {one.run_id for one in (await resumed(other)).values()} == {"x"}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process there at once")
def test_between_processes(database: Runs) -> None:
    """A terminated process drains. The next one finishes every run, and each step ran once."""
    effects = database.path.with_name("effects")
    place = (str(database.path), database.options["handler"], str(effects))
    words = [sys.executable, drain_script.__file__, *place]
    with subprocess.Popen([*words, "serve"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "held\n"
        server.send_signal(signal.SIGTERM)
        ended: dict[str, str] = json.loads(server.stdout.read())
    assert server.returncode == 0
    assert ended == {str(n): "DrainingError" for n in range(drain_script.COUNT)}
    again = subprocess.run([*words, "resume"], capture_output=True, text=True, check=True)
    states: dict[str, State] = json.loads(again.stdout)
    assert states == {run_id: {"trail": ["a", "b", "c"]} for run_id in ended}
    counts = Counter(effects.read_text("ascii").splitlines())
    assert counts == Counter(f"{run_id} {step}" for run_id in ended for step in "abc")


def test_threads(runs: Runs) -> None:
    """`adrain` also waits for runs under `run` in threads, and on the loops of other threads."""
    first, second = Latch(blocks=True), Latch(blocks=True)
    cp, ended = runs.empty_flow(), dict[str, object]()

    def wait(state: State) -> None:
        {"first": first, "second": second}[state["who"]].hold()

    def carry(who: str, *, on_loop: bool) -> None:
        try:
            arguments: dict[str, Any] = {"state": {"who": who}, "run_id": who}
            ended[who] = asyncio.run(cp.arun(**arguments)) if on_loop else cp.run(**arguments)
        except DrainingError as error:
            ended[who] = error

    async def drain() -> list[str | None]:
        await asyncio.gather(first.reached(), second.reached())
        task = asyncio.create_task(cp.adrain())
        await turns(3)
        assert not task.done()
        for latch in (first, second):
            latch.opened.set()
        return await task

    cp.add_step(name="wait")(wait)
    cp.add_step(name="rest")(lambda state: None)
    threads = [
        threading.Thread(target=carry, args=(who,), kwargs={"on_loop": who == "first"})
        for who in ("first", "second")
    ]
    for thread in threads:
        thread.start()
    assert asyncio.run(drain()) == []
    for thread in threads:
        thread.join()
    assert [type(ended[who]) for who in ("first", "second")] == [DrainingError] * 2
    assert statuses(cp, ["first", "second"]) == ["stopped"] * 2

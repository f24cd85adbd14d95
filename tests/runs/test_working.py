"""`awork` works off what is queued, due or left by the dead, until the flow is drained."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import active_run
from wall_clock import WallClock

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    FlowChangedError,
    FlowDefinitionError,
    InvalidTypeError,
    InvalidValueError,
    RunInProgressError,
    StorageError,
    UnserializableStateError,
)
from aiocheckpoint._runs import resuming, working
from aiocheckpoint.handlers._query import Query

if TYPE_CHECKING:
    from run_factories import Runs
    from support import State

    from aiocheckpoint import Header, RunResult

PATIENCE = 30.0


def counting(runs: Runs, **options: Any) -> tuple[CheckpointFlow, list[str]]:  # noqa: ANN401 (passed on as is)
    """Make a flow of two steps, and the list of the runs that began the first one."""
    cp, calls = runs.empty_flow(**options), list[str]()

    @cp.add_step()
    async def count(state: State) -> None:
        calls.append(state["who"])

    cp.add_step(name="end", thread=False)(lambda state: None)
    return cp, calls


async def until_empty(cp: CheckpointFlow, **options: Any) -> list[RunResult]:  # noqa: ANN401 (passed on as is)
    """Work until nothing is left to take."""
    async with asyncio.timeout(PATIENCE):
        return await cp.awork(until_empty=True, **options)


async def submit(cp: CheckpointFlow, *ids: str) -> None:
    """Queue runs one after the other."""
    for run_id in ids:
        await cp.asubmit({"who": run_id}, run_id=run_id)


async def test_queued_runs_are_done_the_oldest_first(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is begun once, in the order in which they are due, and the stream ends."""
    clock = WallClock(monkeypatch)
    cp, calls = counting(runs)
    for run_id, minutes in (("c", 3), ("a", 1), ("b", 2)):
        due = timedelta(minutes=minutes)
        await cp.asubmit({"who": run_id}, run_id=run_id, due=due)
    clock.advance(3600)
    await submit(cp, "e", "d")
    results = await until_empty(cp, limit=1)
    assert [result.run_id for result in results] == [*"abc", "e", "d"]
    assert calls == [*"abc", "e", "d"]
    assert {result.status for result in results} == {"finished"}
    assert await until_empty(cp) == []


async def test_what_does_not_keep_it(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are due later, stopped by hand, or owned elsewhere: it ends all the same."""
    clock = WallClock(monkeypatch)
    cp, calls = counting(runs)
    await cp.asubmit({"who": "later"}, run_id="later", due=timedelta(hours=1))
    await cp.arun({"who": "stopped"}, run_id="stopped", until="count")
    await submit(cp, "queued")
    with active_run(runs.empty_flow(), "held", {"who": "held"}):
        results = await until_empty(cp)
    assert [result.run_id for result in results] == ["queued"]
    clock.advance(3601)
    assert [result.run_id for result in await until_empty(cp)] == ["later"]
    assert calls == ["stopped", "queued", "later"]


async def test_a_failed_run_is_tried_when_it_is_due(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried again before, however often the worker looks, nor kept waiting for."""
    clock, calls, cp = WallClock(monkeypatch), list[str](), runs.empty_flow()

    @cp.add_step()
    async def step(state: State) -> None:
        calls.append("step")
        if len(calls) == 1:
            raise ConnectionError

    await cp.asubmit({}, run_id="x")
    (result,) = await until_empty(cp)
    assert isinstance(result.error, ConnectionError)
    assert await until_empty(cp) == []
    clock.advance(15)
    (result,) = await until_empty(cp)
    assert (result.status, calls) == ("finished", ["step"] * 2)


async def test_a_drain_ends_it_in_good_order(runs: Runs) -> None:
    """The runs stop behind their steps, the rest stays queued, and the loop ends by itself."""
    cp, entered, free = runs.empty_flow(), list[str](), asyncio.Event()
    both = asyncio.Barrier(3)

    @cp.add_step()
    async def hold(state: State) -> None:
        entered.append(state["who"])
        await both.wait()
        await free.wait()

    cp.add_step(name="end")(lambda state: None)
    await submit(cp, *"abcd")
    work = asyncio.create_task(cp.awork(limit=2))
    async with asyncio.timeout(PATIENCE):
        await both.wait()
        drain = asyncio.create_task(cp.adrain())
        await asyncio.sleep(0.01)
        free.set()
        assert await drain == []
        results = await work
    assert {type(result.error) for result in results} == {DrainingError}
    assert set(entered) <= {result.run_id for result in results}
    counts = {status: count for status, count in (await cp.acount(by="status")).items() if count}
    assert counts == {"stopped": 2, "queued": 2}
    with pytest.raises(DrainingError, match="async with"):
        await asyncio.wait_for(cp.awork(), PATIENCE)
    after = runs.empty_flow()
    after.add_step(name="hold")(lambda state: None)
    after.add_step(name="end")(lambda state: None)
    assert {result.run_id for result in await until_empty(after)} == set("abcd")


async def test_what_is_submitted_meanwhile_is_found(database: Runs) -> None:
    """Runs of this flow object are found at once, and those of another one a second later."""
    cp, calls = counting(database)
    other, _ = counting(database)
    found = list[str | None]()
    async with asyncio.timeout(PATIENCE), aclosing(cp.awork()) as results:
        await submit(cp, "first")
        found.append((await anext(results)).run_id)
        for flow, run_id in ((cp, "here"), (other, "there")):
            next_one = asyncio.ensure_future(anext(results))
            await asyncio.sleep(0.05)
            await submit(flow, run_id)
            found.append((await next_one).run_id)
    assert found == calls == ["first", "here", "there"]


async def test_one_at_a_time(runs: Runs) -> None:
    """A second `awork` of one flow object is refused at once, and allowed behind the first."""
    cp, _ = counting(runs)
    async with aclosing(cp.awork()) as results:
        await submit(cp, "x")
        assert (await anext(results)).run_id == "x"
        second = CheckpointFlow.awork
        with pytest.raises(InvalidValueError, match="awork\\(\\) of this flow is under way"):
            second(cp)
        other, _ = counting(runs)
        assert await until_empty(other) == []
    assert await until_empty(cp) == []
    early, late = cp.awork(until_empty=True), cp.awork()
    async with aclosing(late):
        waiting = asyncio.ensure_future(anext(late))
        await asyncio.sleep(0.05)
        with pytest.raises(InvalidValueError, match="is under way"):
            await early
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_leaving_early_cancels(runs: Runs) -> None:
    """The runs under way are cancelled, and due again later."""
    cp, entered = runs.empty_flow(), asyncio.Event()

    @cp.add_step()
    async def hold(state: State) -> None:
        if state["who"] == "slow":
            entered.set()
            await asyncio.get_running_loop().create_future()
        await entered.wait()

    await submit(cp, "slow", "quick")
    async with asyncio.timeout(PATIENCE), aclosing(cp.awork()) as results:
        assert (await anext(results)).run_id == "quick"
    header = await cp.aheader("slow")
    assert header is not None
    assert header.status == "cancelled"
    assert header.due is not None
    assert header.due > header.written_at + 7


async def test_a_refused_run_is_left_alone(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    """It is one result and one error in the log, keeps nobody, and is no start."""
    old = runs.flow("a", "b")
    runs.faults["step b"] = ValueError("not yet")
    with pytest.raises(ValueError, match="not yet"):
        await old.arun({"who": "x"}, run_id="x")
    runs.faults.clear()
    runs.forget()
    cp = runs.flow("other", "b", backoff=0.0)
    await cp.asubmit({"who": "y"}, run_id="y")
    looks = counted_looks(cp)
    with pytest.MonkeyPatch.context() as patch:
        WallClock(patch).advance(100)
        caplog.clear()
        results = {result.run_id: result for result in await until_empty(cp)}
        assert isinstance(results["x"].error, FlowChangedError)
        assert results["y"].error is None
        assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 1
        # Four looks: at first, behind it, and at the end of each run. Those behind the first read
        # what comes behind the runs passed over, and then the whole list if there is nothing.
        assert len(looks) <= 7
        header = await cp.aheader("x")
        assert header is not None
        assert (header.status, header.starts) == ("failed", 1)


@pytest.mark.parametrize("limit", [1, 50])
async def test_runs_of_a_newer_version_are_passed_over(
    limit: int, database: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker does not read them again at each end of a run, but for looks at the whole list."""
    monkeypatch.setattr(working, "_LOOK_SHARE", 1e9)  # Only the first and the last look are such.
    newer, own = 300, 30
    await database.flow(version=2).asubmit({f"new-{n}": {} for n in range(newer)})
    cp = database.empty_flow(version=1)
    turn = asyncio.Condition()
    ended = list[int]()

    @cp.add_step()
    async def end_in_turn(state: State) -> None:
        async with turn:
            await turn.wait_for(lambda: len(ended) == state["n"])
            await asyncio.sleep(0.01)  # The ends are apart.
            ended.append(state["n"])
            turn.notify_all()

    await cp.asubmit({f"own-{n}": {"n": n} for n in range(own)})
    looks, runs = list[int](), cp.handler.runs

    def read(query: Query) -> list[Header]:
        found = list(runs(query))
        looks.append(len(found))
        return found

    monkeypatch.setattr(cp.handler, "runs", read)
    results = await until_empty(cp, limit=limit)
    assert [result.error for result in results] == [None] * own
    assert sum(looks) <= 2 * newer + 6 * own


def counted_looks(cp: CheckpointFlow) -> list[Query]:
    """Note each list of runs that is read from the flow's handler."""
    looks, read = list[Query](), cp.handler.runs

    def runs(query: Query) -> Any:  # noqa: ANN401
        looks.append(query)
        return read(query)

    vars(cp.handler)["runs"] = runs
    return looks


async def test_a_store_that_fails_a_look(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, and the worker looks again until the store answers."""
    cp, calls = counting(runs)
    read, fails = cp.handler.runs, list[bool]()

    def runs_of(query: Query) -> Any:  # noqa: ANN401
        if fails:
            fails.append(True)
            raise StorageError("there", "the disk is away")
        return read(query)

    cp.handler.runs = runs_of
    async with asyncio.timeout(PATIENCE), aclosing(cp.awork()) as results:
        await submit(cp, "first")
        assert (await anext(results)).run_id == "first"
        next_one = asyncio.ensure_future(anext(results))
        await asyncio.sleep(0.05)
        fails.append(True)
        caplog.clear()
        for _ in range(3):
            await submit(cp, f"late-{len(fails)}")
            await asyncio.sleep(0.05)
        assert len(fails) > 2
        assert ["the disk is away" in record.message for record in caplog.records] == [True]
        fails.clear()
        await submit(cp, "last")
        assert (await next_one).status == "finished"
    assert calls[0] == "first"


async def test_a_store_that_fails_the_first_look(runs: Runs) -> None:
    """A worker that could never read its store says so."""
    cp, _ = counting(runs)

    def fails(query: Query) -> Any:  # noqa: ANN401
        raise StorageError("there", "the disk is away")

    cp.handler.runs = fails
    with pytest.raises(StorageError, match="the disk is away"):
        await until_empty(cp)


async def test_a_run_that_leaves_no_trace_is_not_tried_at_once(
    database: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even the failure cannot be stored, the worker waits longer each time, and gives up."""
    monkeypatch.setattr(working, "_LOOK_SECONDS", 0.1)
    cp, calls = counting(database, backoff=0.0)
    make = cp._core._make_run_store  # noqa: SLF001

    def unreadable(run_id: str | None, backend: Any) -> Any:  # noqa: ANN401
        run_store = make(run_id, backend)

        async def read_header() -> None:
            calls.append("tried")
            raise StorageError("there", "the disk is away")

        vars(run_store)["read_header"] = read_header
        return run_store

    await submit(cp, "x")
    vars(cp._core)["_make_run_store"] = unreadable  # noqa: SLF001
    began = time.monotonic()
    results = await until_empty(cp)
    assert [type(result.error) for result in results] == [StorageError] * 4
    assert calls == ["tried"] * 4
    assert time.monotonic() - began > 0.1 + 0.2 + 0.4


@pytest.mark.parametrize("first", [True, False], ids=["before-it", "at-the-start"])
async def test_a_state_that_cannot_be_stored_waits(
    first: bool,  # noqa: FBT001
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Such a failure is in no header, and is yet tried again when a recorded one would be."""
    monkeypatch.setattr(working, "_LOOK_SECONDS", 0.05)
    cp, times = runs.empty_flow(backoff=0.8), list[float]()
    if first:
        cp.add_step(name="first", thread=False)(lambda state: None)

    @cp.add_step()
    async def opens(state: State) -> None:
        times.append(time.monotonic())
        state["conn"] = (one for one in "x")

    await cp.asubmit({}, run_id="x")
    async with asyncio.timeout(PATIENCE), aclosing(cp.awork()) as results:
        for _ in range(2):
            assert isinstance((await anext(results)).error, UnserializableStateError)
    assert times[1] - times[0] >= 0.8 * 0.75
    assert "Its result has the exception." in caplog.text
    assert "the traceback" not in caplog.text


async def test_workers_that_look_at_once(durable_runs: Runs) -> None:
    """Four workers begin each of the queued runs once, and all of them do some."""
    calls, workers = list[str](), list[CheckpointFlow]()
    for _ in range(4):
        cp = durable_runs.empty_flow()

        @cp.add_step()
        async def count(state: State) -> None:
            calls.append(state["who"])
            await asyncio.sleep(0.01)

        workers.append(cp)
    ids = [f"run-{number}" for number in range(80)]
    await workers[0].asubmit({one: {"who": one} for one in ids})
    shares = await asyncio.gather(*(until_empty(cp, limit=3) for cp in workers))
    assert sorted(calls) == sorted(ids)
    assert sorted(str(one.run_id) for share in shares for one in share) == sorted(ids)
    assert all(shares)
    assert not any(isinstance(one.error, RunInProgressError) for share in shares for one in share)


async def test_only_some(runs: Runs) -> None:
    """`status=` chooses among the runs that are due."""
    cp, calls = counting(runs, backoff=0.0)
    await submit(cp, "queued")
    await cp.asubmit({"who": "later"}, run_id="later", due=timedelta(hours=1))
    assert await until_empty(cp, status="failed") == []
    (result,) = await until_empty(cp, status=["queued", "failed"])
    assert (result.run_id, calls) == ("queued", ["queued"])


async def test_a_flow_without_steps(runs: Runs) -> None:
    """It could do nothing, and says so."""
    with pytest.raises(FlowDefinitionError, match="no steps"):
        await until_empty(runs.empty_flow())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"limit": 0}, InvalidValueError),
        ({"limit": "3"}, InvalidTypeError),
        ({"until_empty": 1}, InvalidTypeError),
    ],
    ids=str,
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception], runs: Runs) -> None:
    """They are refused at the call, before any loop."""
    with pytest.raises(error, match=next(iter(options))):
        runs.flow().awork(**options)


async def test_suspect_past_its_step_lets_others_begin(
    monkeypatch: pytest.MonkeyPatch, database: Runs
) -> None:
    """It is alone in its step. Behind that, another run begins, for which it may even wait."""
    monkeypatch.setattr(resuming, "is_suspect", lambda header: header.run_id == "suspect")
    cp, begun, log = database.empty_flow(), asyncio.Event(), list[str]()

    @cp.add_step()
    async def first(state: State) -> None:
        log.append(state["name"])
        await asyncio.sleep(0.1)
        log.append(f"{state['name']} done")

    @cp.add_step()
    async def second(state: State) -> None:
        if state["name"] == "other":
            begun.set()
        await asyncio.wait_for(begun.wait(), 10)

    for name in ("suspect", "other"):
        await cp.asubmit({"name": name}, run_id=name)
    async with asyncio.timeout(PATIENCE), aclosing(cp.awork(until_empty=True)) as results:
        ended = [result.status async for result in results]
    assert ended == ["finished", "finished"]
    assert log == ["suspect", "suspect done", "other", "other done"]

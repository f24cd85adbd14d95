"""Broken runs are due again later and later, and are ended for good after too many starts."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from wall_clock import WallClock

from aiocheckpoint import (
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    Pause,
    RunTerminatedError,
    UnserializableStateError,
    events,
)

if TYPE_CHECKING:
    from run_factories import Runs
    from support import Runner, State

    from aiocheckpoint import Header, RunResult


class BrokenError(Exception):
    """What a step raises."""

    def __init__(self) -> None:
        super().__init__("broken")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Give a clock that can be set forward."""
    return WallClock(monkeypatch)


def faulty(
    runs: Runs,
    **options: Any,  # noqa: ANN401 (passed on as is)
) -> tuple[CheckpointFlow, list[type[BaseException]], list[str]]:
    """Make a flow of two steps whose second raises the last fault, and the list of its calls."""
    cp, faults, calls = runs.empty_flow(**options), list[type[BaseException]](), list[str]()
    cp.add_step(name="first")(lambda state: None)

    @cp.add_step()
    async def second(state: State) -> None:
        calls.append(state["who"])
        if faults:
            raise faults[-1]

    cp.add_step(name="last")(lambda state: None)
    return cp, faults, calls


def header(cp: CheckpointFlow, run_id: str = "x") -> Header:
    """The header of a stored run."""
    found = cp.header(run_id)
    assert found is not None
    return found


def one_pass(cp: CheckpointFlow) -> list[RunResult]:
    """The results of a bare `aresume_all`."""
    return asyncio.run(_awaited(cp))


async def _awaited(cp: CheckpointFlow) -> list[RunResult]:
    return await cp.aresume_all()


def wait_seconds(found: Header) -> float:
    """For how long a broken run is left alone."""
    assert found.due is not None
    return found.due - found.written_at


@pytest.mark.parametrize("fault", [BrokenError, asyncio.CancelledError])
def test_later_and_later(
    fault: type[BaseException], runs: Runs, clock: WallClock, runner: Runner
) -> None:
    """A broken run is passed over until it is due: 10 s at first, then twice as long each time."""
    cp, faults, calls = faulty(runs)
    faults.append(fault)
    with pytest.raises(fault):
        runner(cp, {"who": "x"}, run_id="x")
    for start in range(1, 6):
        found = header(cp)
        assert found.starts == start
        seconds = wait_seconds(found)
        assert 0.75 * 10 * 2 ** (start - 1) - 1 <= seconds <= 1.25 * 10 * 2 ** (start - 1) + 1
        assert one_pass(cp) == []
        clock.advance(seconds + 1)
        (result,) = one_pass(cp)
        assert isinstance(result.error, fault)
    assert calls == ["x"] * 6
    faults.clear()
    clock.advance(1000)
    (result,) = one_pass(cp)
    assert (result.status, header(cp).due) == ("finished", None)


def test_a_step_further_on_counts_anew(runs: Runs, clock: WallClock) -> None:
    """The wait after a failure at another step is that of a first failure there."""
    cp, faults, _ = faulty(runs, backoff=40.0)
    cp.add_step(name="more", after="second")(lambda state: 1 // state["n"] and None)
    faults.append(BrokenError)
    with pytest.raises(BrokenError):
        cp.run({"who": "x", "n": 0}, run_id="x")
    clock.advance(60)
    one_pass(cp)
    assert 59 <= wait_seconds(header(cp)) <= 101
    faults.clear()
    clock.advance(120)
    (result,) = one_pass(cp)
    assert isinstance(result.error, ZeroDivisionError)
    assert 29 <= wait_seconds(header(cp)) <= 51


def test_at_most_an_hour(runs: Runs, clock: WallClock) -> None:
    """However often a run was started, it is due again after an hour."""
    cp, faults, _ = faulty(runs, starts=None, backoff=3000.0)
    faults.append(BrokenError)
    for _ in range(3):
        with pytest.raises(BrokenError):
            cp.run({"who": "x"}, run_id="x")
    assert 2_159 <= wait_seconds(header(cp)) <= 3_601
    clock.advance(3_601)
    assert len(one_pass(cp)) == 1


def test_too_many_starts(runs: Runs, clock: WallClock, caplog: pytest.LogCaptureFixture) -> None:
    """A run that was started so often at one step is ended instead of being started once more."""
    caplog.set_level(logging.WARNING, "aiocheckpoint")
    seen = list[events.Event]()
    cp, faults, calls = faulty(runs, starts=3, hooks=[seen.append])
    faults.append(BrokenError)
    asyncio.run(_mapped(cp, {"x": {"who": "x"}}))
    for _ in range(2):
        clock.advance(3600)
        (result,) = one_pass(cp)
        assert isinstance(result.error, BrokenError)
    clock.advance(3600)
    caplog.clear()
    seen.clear()
    (result,) = one_pass(cp)
    reason = "it was started 3 times at step 'second', and never got past it"
    assert isinstance(result.error, RunTerminatedError)
    assert (result.error.by, result.error.reason, result.status) == (
        "starts",
        reason,
        "terminated",
    )
    found = header(cp)
    assert (found.status, found.terminated_by, found.termination) == (
        "terminated",
        "starts",
        reason,
    )
    assert found.failure is not None
    assert found.failure.message == "broken"
    assert cp.read("x") == {"who": "x", "checkpoint_index": 1}
    assert calls == ["x"] * 3
    assert [type(event).__name__ for event in seen] == ["RunTerminated"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    clock.advance(3600 * 24)
    assert one_pass(cp) == []


async def _mapped(cp: CheckpointFlow, states: dict[str, State]) -> list[RunResult]:
    return await cp.amap(states)


def test_by_hand_there_is_no_end(runs: Runs, runner: Runner) -> None:
    """`run`, `arun`, `resume` and chosen runs go on however often they were started."""
    cp, faults, calls = faulty(runs, starts=1)
    faults.append(BrokenError)
    for _ in range(3):
        with pytest.raises(BrokenError):
            runner(cp, {"who": "x"}, run_id="x")
    with pytest.raises(BrokenError):
        runner.do(cp, "resume", "x")
    (result,) = asyncio.run(_chosen(cp))
    assert isinstance(result.error, BrokenError)
    assert (calls, header(cp).status, header(cp).starts) == (["x"] * 5, "failed", 5)


async def _chosen(cp: CheckpointFlow) -> list[RunResult]:
    return await cp.aresume_all(status="failed")


def test_no_end(runs: Runs, clock: WallClock) -> None:
    """`starts=None` never ends a run."""
    cp, faults, calls = faulty(runs, starts=None, backoff=0.0)
    faults.append(BrokenError)
    with pytest.raises(BrokenError):
        cp.run({"who": "x"}, run_id="x")
    for _ in range(14):
        clock.advance(1)
        assert len(one_pass(cp)) == 1
    assert (len(calls), header(cp).status) == (15, "failed")


def test_what_waits_for_a_hand(runs: Runs, clock: WallClock) -> None:
    """A patched run, one stopped by `until=`, and a queued one are not taken by a bare pass."""
    cp, faults, calls = faulty(runs)
    faults.append(BrokenError)
    with pytest.raises(BrokenError):
        cp.run({"who": "patched"}, run_id="patched")
    cp.patch({"n": 1}, run_id="patched")
    cp.run({"who": "until"}, run_id="until", until="first")
    cp.submit({"who": "queued"}, run_id="queued")
    faults.clear()
    calls.clear()
    clock.advance(3600 * 24)
    assert one_pass(cp) == []
    assert calls == []
    assert cp.resume("patched") == {"who": "patched", "n": 1}
    assert asyncio.run(_of(cp, "stopped")) == ["until"]
    assert asyncio.run(_of(cp, "queued")) == ["queued"]


async def _of(cp: CheckpointFlow, status: Any) -> list[str | None]:  # noqa: ANN401
    return [result.run_id async for result in cp.aresume_all(status=status)]


def test_a_pause_with_a_time(runs: Runs, clock: WallClock) -> None:
    """A paused run is taken when it is due, and its step is executed again. Others wait."""
    cp, calls = runs.empty_flow(), list[str]()

    @cp.add_step()
    def step(state: State) -> None:
        calls.append(state["who"])
        if state["who"] != "timed" or len(calls) < 3:
            raise Pause("later", due=timedelta(hours=1) if state["who"] == "timed" else None)

    for who in ("timed", "untimed"):
        cp.run({"who": who}, run_id=who)
    assert one_pass(cp) == []
    clock.advance(3601)
    (result,) = one_pass(cp)
    assert (result.run_id, result.status) == ("timed", "finished")
    assert header(cp, "untimed").status == "paused"
    assert calls == ["timed", "untimed", "timed"]


async def test_cancelled_at_the_end_of_the_process(runs: Runs) -> None:
    """A run that is too late for a drain, and is cancelled, is due at once in the next process."""
    cp, entered = runs.empty_flow(), asyncio.Event()

    @cp.add_step()
    async def step(state: State) -> None:
        entered.set()
        if state["who"] == "first":
            state["who"] = "second"
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(cp.arun({"who": "first"}, run_id="x"))
    await entered.wait()
    assert await cp.adrain(timeout=0.01) == ["x"]
    task.cancel()
    await asyncio.wait([task])
    found = await cp.aheader("x")
    assert found is not None
    assert (found.status, found.due) == ("cancelled", None)
    after = runs.empty_flow()
    after.add_step(name="step")(lambda state: None)
    (result,) = await after.aresume_all()
    assert (result.run_id, result.status) == ("x", "finished")


def test_a_state_that_cannot_be_stored_leaves_the_snapshot(runs: Runs) -> None:
    """Such a run stays as its last snapshot has it, and each start counts, so that they end."""
    cp = runs.empty_flow(starts=3)
    cp.add_step(name="step")(lambda state: state.update(file=threading.Lock()))
    for starts in (1, 2):
        with pytest.raises(UnserializableStateError):
            cp.run({}, run_id="x")
        found = header(cp)
        assert (found.status, found.starts, found.owner) == ("running", starts, None)
    errors = [result.error for _ in range(2) for result in one_pass(cp)]
    assert list(map(type, errors)) == [UnserializableStateError, RunTerminatedError]
    assert header(cp).terminated_by == "starts"


@pytest.mark.parametrize("status", ["finished", ["failed", "terminated"]], ids=str)
@pytest.mark.parametrize("method", ["aresume_all", "awork"])
def test_runs_that_have_ended_cannot_be_chosen(status: Any, method: str, runs: Runs) -> None:  # noqa: ANN401
    """To go on with them is another call, which the error names."""
    remedy = "arun" if status == "finished" else "arequeue"
    with pytest.raises(InvalidValueError, match=remedy):
        getattr(runs.flow(), method)(status=status)


@pytest.mark.parametrize("status", [5, "gone", [], [None]], ids=repr)
@pytest.mark.parametrize("method", ["aresume_all", "awork"])
def test_status_that_is_none(status: Any, method: str, runs: Runs) -> None:  # noqa: ANN401
    """What is no status is refused at the call."""
    with pytest.raises((InvalidTypeError, InvalidValueError), match="status="):
        getattr(runs.flow(), method)(status=status)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"starts": 0}, InvalidValueError, "starts=0"),
        ({"starts": -1}, InvalidValueError, "starts=None sets no end"),
        ({"starts": 1.5}, InvalidTypeError, "float"),
        ({"starts": True}, InvalidTypeError, "bool"),
        ({"starts": "many"}, InvalidTypeError, "str"),
        ({"backoff": -1}, InvalidValueError, "backoff=-1"),
        ({"backoff": float("nan")}, InvalidValueError, "backoff=nan"),
        ({"backoff": float("inf")}, InvalidValueError, "backoff=inf"),
        ({"backoff": "10"}, InvalidTypeError, "str"),
        ({"backoff": None}, InvalidTypeError, "NoneType"),
        ({"backoff": False}, InvalidTypeError, "bool"),
    ],
    ids=str,
)
def test_bad_options(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """They are refused where the flow is made."""
    with pytest.raises(error, match=words):
        CheckpointFlow("runs/", **options)

"""Requests to terminate a run that its owner sees late, or not at all before its end.

They are written into the store by the port itself, as by another process, so that nothing in this
process tells the owner of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

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

from aiocheckpoint import CheckpointFlow, DrainingError, Pause, Retry, RunTerminatedError
from aiocheckpoint._engine import claimed_runs
from aiocheckpoint._engine.active_run import ActiveRun
from aiocheckpoint._engine.active_runs import ActiveRuns
from aiocheckpoint.errors import (
    InvalidTypeError,
    InvalidValueError,
    RunInProgressError,
    RunNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from run_factories import Runs
    from support import Runner, State


_MANY = 20
"""Fewer than the threads in which they wait."""


@pytest.fixture
def never_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no owner look."""
    monkeypatch.setattr(claimed_runs, "note_claimed", lambda *_: None)
    monkeypatch.setattr("aiocheckpoint._engine.runner.note_claimed", lambda *_: None)


@pytest.fixture
def looked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let owners look ten times as often."""
    monkeypatch.setattr(claimed_runs, "LOOK_SECONDS", 0.1)


def asked(cp: CheckpointFlow, then: Callable[[], object] = lambda: None) -> CheckpointFlow:
    """Add a step in which the end of the run is asked for, and that ends so."""

    @cp.add_step()
    def first(state: State) -> None:
        cp.handler.write_ending("x", REASON)
        state["trail"].append("first")
        then()

    return cp


def test_finished_meanwhile(runs: Runs, runner: Runner, tmp_path: Path, never_looked: None) -> None:
    """A run that finishes before its owner looks has finished, and the request is gone."""
    cp = asked(runs.empty_flow())
    assert runner(cp, given(), run_id="x") == {"trail": ["first"]}
    header = cp.header("x")
    assert header is not None
    assert header.status == "finished"
    assert_clean(cp)
    assert_no_scraps(tmp_path)
    with pytest.raises(InvalidValueError, match="has finished"):
        runner.do(cp, "terminate", "x")


def fail() -> None:
    """Fail."""
    raise ConnectionError("down")


def pause() -> None:
    """Pause."""
    raise Pause("approval")


@pytest.mark.parametrize("how", ["failed", "paused", "until", "drained", "cancelled"])
def test_ended_otherwise(runs: Runs, how: str, tmp_path: Path, never_looked: None) -> None:
    """A run that ends in a way that it can go on from is terminated as its lock is released."""
    ends: dict[str, Callable[[], object]] = {"failed": fail, "paused": pause}
    cp = asked(runs.empty_flow(), ends.get(how, lambda: None))

    @cp.add_step()
    async def second(state: State) -> None:
        if how == "cancelled":
            raise asyncio.CancelledError
        state["trail"].append("second")

    async def main() -> None:
        until = "first" if how == "until" else None
        if how == "drained":

            def drain(_event: object) -> None:
                draining.append(asyncio.ensure_future(cp.adrain()))

            draining: list[asyncio.Future[Any]] = []
            with pytest.raises(DrainingError):
                await drained(drain)
            await draining[0]
            return
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await cp.arun(given(), run_id="x", until=until)

    async def drained(drain: Callable[[object], None]) -> None:
        held = Held()

        @cp.add_step(before="second")
        async def between(_state: State) -> None:
            drain(None)
            held.entered.set()
            await asyncio.sleep(0)

        await cp.arun(given(), run_id="x")

    asyncio.run(main())
    done = {"failed": 0, "paused": 0, "until": 1, "drained": 2, "cancelled": 1}[how]
    again = runs.empty_flow()
    for name in ("first", "between", "second") if how == "drained" else ("first", "second"):
        again.add_step(name=name)(lambda _state: None)
    assert_terminated(again, done, ["first"] if done else [])
    assert_no_scraps(tmp_path)


def test_owner_ends_before_the_request_is_written(
    runs: Runs, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks looks behind the request whether the run is free by now."""
    cp, held = runs.empty_flow(), Held()

    @cp.add_step()
    def first(_state: State) -> None:
        held.hold()
        raise ConnectionError("down")

    def carry() -> None:
        with contextlib.suppress(ConnectionError):
            cp.run(given(), run_id="x")

    thread = threading.Thread(target=carry)
    thread.start()
    assert held.entered.wait(PATIENCE)
    original = cp.handler.write_ending

    def write_ending(run_id: str, reason: str) -> None:
        held.free.set()
        thread.join(PATIENCE)
        original(run_id, reason)

    monkeypatch.setattr(cp.handler, "write_ending", write_ending)
    header = runner.do(cp, "terminate", "x", REASON)
    assert header.status == "terminated"
    assert header.failure.type == "builtins.ConnectionError"
    assert_terminated(cp, 0, [])
    assert_no_scraps(tmp_path)


def test_refused_meanwhile(runs: Runs, tmp_path: Path, never_looked: None) -> None:
    """A run that is claimed and refused while its end is asked for is terminated."""
    cp = runs.empty_flow()
    cp.add_step(name="first")(lambda state: state["trail"].append("first"))
    cp.add_step(name="second")(lambda state: fail())
    with pytest.raises(ConnectionError):
        cp.run(given(), run_id="x")

    def migrate(_state: State, _version: int) -> None:
        cp.handler.write_ending("x", REASON)
        raise PermissionError("not this one")

    changed = runs.empty_flow(version=2, migrate=migrate)
    changed.add_step(name="first")(lambda state: None)
    changed.add_step(name="second")(lambda state: None)
    with pytest.raises(PermissionError):
        changed.run(run_id="x")
    assert_terminated(cp, 1, ["first"])
    assert_no_scraps(tmp_path)


def test_next_claim(durable_runs: Runs, runner: Runner, tmp_path: Path) -> None:
    """A request that no owner has seen ends the run before any step.

    `checkpoint=` goes on with it all the same, as with any terminated run.
    """
    cp = durable_runs.empty_flow()
    cp.add_step(name="first")(lambda _state: fail())
    with pytest.raises(ConnectionError):
        runner(cp, given(), run_id="y")
    (header,) = cp.runs()
    assert header.status == "failed"
    with cp.handler.locked("y"):
        cp.handler.write_ending("y", REASON)
    with pytest.raises(RunTerminatedError):
        runner(cp, run_id="y")
    assert_terminated(cp, 0, [], run_id="y")
    cp.handler.write_ending("y", REASON)
    again = durable_runs.empty_flow()
    again.add_step(name="first")(lambda state: state["trail"].append("again"))
    assert runner(again, run_id="y", checkpoint=0) == {"trail": ["again"]}
    with pytest.raises(ConnectionError):
        runner(cp, given(), run_id="z")
    with cp.handler.locked("z"):
        cp.handler.write_ending("z", REASON)
    assert runner(again, run_id="z", checkpoint=0) == {"trail": ["again"]}
    assert_clean(again, "z")
    assert_no_scraps(tmp_path)


def test_run_that_has_lost_its_lease(runs: Runs) -> None:
    """The end of a run that another one of this process has succeeded leaves that one known."""
    cp = runs.empty_flow()
    location, registry = cp.handler.locate("x"), ActiveRuns("runs", 1)
    first, second = ActiveRun(registry, "x"), ActiveRun(registry, "x")
    claimed_runs.note_claimed(location, cp.handler, first)
    claimed_runs.note_claimed(location, cp.handler, second)
    claimed_runs.note_released(location, first)
    claimed_runs.terminate_here(location, REASON)
    assert (first.termination_reason, second.termination_reason) == (None, REASON)
    claimed_runs.note_released(location, second)
    assert not claimed_runs.is_claimed_here(location)


def test_looks_of_the_owner(runs: Runs, runner: Runner, tmp_path: Path, looked_often: None) -> None:
    """The owner sees a request of another process soon, in a coroutine and between two attempts."""
    cp, held = held_flow(runs)

    @cp.add_step(before="second", retry=Retry(on=OSError, attempts=2, wait_initial=PATIENCE))
    def asks(_state: State) -> None:
        cp.handler.write_ending("y", REASON)
        if held.entered.is_set():
            raise OSError("down")

    def end(run_id: str) -> None:
        began = time.monotonic()
        with pytest.raises(RunTerminatedError):
            runner(cp, given(), run_id=run_id)
        assert time.monotonic() - began < PATIENCE / 2

    async def ask() -> None:
        await held.aentered()
        cp.handler.write_ending("x", REASON)

    thread = threading.Thread(target=lambda: asyncio.run(ask()))
    thread.start()
    end("x")
    thread.join()
    assert_terminated(cp, 2, ["first"])
    end("y")
    assert_terminated(cp, 1, ["first"], run_id="y")
    assert_no_scraps(tmp_path)


def test_one_look_for_all_runs(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, looked_often: None
) -> None:
    """There is one look for all runs of a handler, and none while there are no runs."""
    cp, handler = runs.empty_flow(), runs.empty_flow().handler
    cp = CheckpointFlow(runs.path, handler, name=cp.name)
    looks, seen_all = list[int](), threading.Event()
    original = handler.endings

    def endings(run_ids: Any) -> Any:  # noqa: ANN401
        looks.append(len([*run_ids]))
        if looks[-1] == _MANY:
            seen_all.set()
        return original(run_ids)

    monkeypatch.setattr(handler, "endings", endings)

    @cp.add_step()
    async def waits(_state: State) -> None:
        assert await asyncio.to_thread(seen_all.wait, PATIENCE)

    asyncio.run(collect(cp, {f"r{n}": given() for n in range(_MANY)}))
    seen = len(looks)
    time.sleep(0.3)
    assert len(looks) <= seen + 1  # One was begun before the last run ended.


async def collect(cp: CheckpointFlow, pairs: dict[str, State]) -> None:
    """Run them, and check that each has finished."""
    results = await cp.amap(pairs)
    assert all(result.error is None for result in results)


def test_a_failing_look_is_repeated(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, looked_often: None
) -> None:
    """A store that fails a look ends no looks."""
    cp, held = held_flow(runs)
    original, failed = cp.handler.endings, threading.Event()

    def endings(run_ids: Any) -> Any:  # noqa: ANN401
        if held.entered.is_set() and not failed.is_set():
            failed.set()
            raise RunInProgressError("anything of ours")
        return original(run_ids)

    monkeypatch.setattr(cp.handler, "endings", endings)

    async def main() -> None:
        task = asyncio.create_task(cp.arun(given(), run_id="x"))
        await held.aentered()
        assert await asyncio.to_thread(failed.wait, PATIENCE)
        cp.handler.write_ending("x", REASON)
        with pytest.raises(RunTerminatedError):
            await asyncio.wait_for(task, PATIENCE / 2)

    asyncio.run(main())
    assert_terminated(cp, 1, ["first"])


def test_bad_input(runs: Runs, runner: Runner) -> None:
    """Bad arguments, and runs that are not there, are errors of ours, and change nothing."""
    cp = runs.empty_flow()
    cp.add_step(name="first")(lambda state: state["trail"].append("first"))
    cp.run(given(), run_id="done")
    before = cp.header("done")
    for wrong in (None, 3, b"reason", RuntimeError("reason")):
        with pytest.raises(InvalidTypeError, match="reason= is a string"):
            runner.do(cp, "terminate", "done", wrong)
    for wait, error in ((-1, InvalidValueError), ("1", InvalidTypeError)):
        with pytest.raises(error, match="wait"):
            runner.do(cp, "terminate", "done", wait=wait)
    with pytest.raises(InvalidTypeError):
        runner.do(cp, "terminate", 3)
    with pytest.raises(InvalidValueError, match="has finished"):
        runner.do(cp, "terminate", "done", REASON)
    with pytest.raises(RunNotFoundError):
        runner.do(cp, "terminate", "unknown", REASON)
    assert cp.header("done") == before
    assert cp.header("unknown") is None
    assert [header.run_id for header in cp.runs()] == ["done"]


def test_handler_of_dicts(tmp_path: Path, runner: Runner) -> None:
    """A user's own handler keeps no headers, so that nothing can be terminated there."""

    class Own:
        def __init__(self, path: object) -> None:
            self.stored: dict[str, Any] = {}

        def read(self) -> dict[str, Any]:
            return self.stored

        def write(self, state: dict[str, Any]) -> None:
            self.stored = state

    cp = CheckpointFlow(tmp_path / "own", Own)
    with pytest.raises(InvalidValueError, match="keeps one state"):
        runner.do(cp, "terminate", None)

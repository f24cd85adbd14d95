"""Stored runs are made due now, by their headers alone."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from queued_runs import make_run, put_header, stored
from run_factories import Runs, active_run, sql
from support import NAMES, Runner

from aiocheckpoint import (
    FlowChangedError,
    InvalidTypeError,
    InvalidValueError,
    RunInProgressError,
    RunNotFoundError,
    RunTerminatedError,
    StateConflictError,
    StorageError,
)
from aiocheckpoint._model.due import due_at
from aiocheckpoint._model.start_record import next_start
from aiocheckpoint.events import RunSubmitted

if TYPE_CHECKING:
    from aiocheckpoint import Header


def is_made_due(before: Header, after: Header) -> bool:
    """Whether recovery takes the run now, with no start counted, as the same run."""
    same = (after.number, after.position, after.started_at) == (
        before.number,
        before.position,
        before.started_at,
    )
    counts = after.starts, after.killed
    return same and due_at(after) == 0 and counts == (0, 0) and after.sequence > before.sequence


@pytest.mark.parametrize("step", ["a", "b"])
@pytest.mark.parametrize("status", ["killed", "stopped", "failed", "cancelled"])
def test_run_that_has_begun(status: str, step: str, runs: Runs, runner: Runner) -> None:
    """A run that has begun is stopped by the requeue, due now, and its starts count anew."""
    cp = make_run(runs, status, step)
    put_header(cp.handler, "x", due=None if status in {"killed", "stopped"} else time.time() + 99)
    before, state = stored(cp)
    header = runner.do(cp, "requeue", "x")
    assert (header.status, header.stopped_by, header.due) == ("stopped", "requeue", None)
    assert stored(cp) == (header, state)
    assert is_made_due(before, header)
    assert header.failure == before.failure
    assert runs.log == []
    runner.do(cp, "resume", "x")
    assert runs.ran() == [*NAMES[NAMES.index(step) :]]


@pytest.mark.parametrize("by", ["step", "hand", "starts", "later"])
def test_terminated_run(by: str, runs: Runs, runner: Runner) -> None:
    """A terminated run is due again, and nothing of its termination is left."""
    cp = make_run(runs, "terminated")
    put_header(cp.handler, "x", terminated_by=by)
    before, _ = stored(cp)
    header = runner.do(cp, "requeue", "x")
    assert (header.status, header.stopped_by) == ("stopped", "requeue")
    assert (header.terminated_by, header.termination) == (None, None)
    assert is_made_due(before, header)
    runner(cp, run_id="x")
    assert runs.ran() == ["b", "c"]


@pytest.mark.parametrize("terminated", [False, True], ids=["queued", "terminated"])
def test_run_that_has_not_begun(terminated: bool, runs: Runs, runner: Runner) -> None:  # noqa: FBT001
    """A run that has not begun is queued, and due now."""
    cp = make_run(runs, "queued")
    if terminated:
        facts = {"status": "terminated", "terminated_by": "hand", "due": None}
        put_header(cp.handler, "x", **facts)
    before, state = stored(cp)
    header = runner.do(cp, "requeue", "x")
    assert (header.status, header.due, header.stopped_by) == ("queued", None, None)
    assert is_made_due(before, header)
    assert stored(cp) == (header, state)
    assert runner.do(cp, "submit", {"n": 1}, run_id="x") == header


def test_queued_run_that_was_killed(runs: Runs, runner: Runner) -> None:
    """A queued run whose process was killed in its first step has begun."""
    cp = make_run(runs, "queued")
    header, _ = stored(cp)
    record = next_start(header, None, None)
    if runs.kind == "sqlite":
        sql(runs.path, "UPDATE runs SET start = ?", record.encode())
    else:
        with cp.handler.locked("x") as lock:
            cp.handler.write_start("x", record, lock=lock)
    assert stored(cp)[0].status == "running"
    header = runner.do(cp, "requeue", "x")
    assert (header.status, header.stopped_by) == ("stopped", "requeue")


def test_refused_start_is_none(runs: Runs, runner: Runner) -> None:
    """A queued run whose only start was refused has not begun."""
    cp = make_run(runs, "queued")
    with pytest.raises(StateConflictError):
        cp.run({"n": 2}, run_id="x")
    header = runner.do(cp, "requeue", "x")
    assert (header.status, header.due) == ("queued", None)


def test_renamed_step_that_broke(runs: Runs, runner: Runner) -> None:
    """A step that broke may be renamed behind a requeue too, and else only where it broke."""
    make_run(runs, "failed")
    cp = runs.flow("a", "new", "c")
    runner.do(cp, "requeue", "x")
    runner(cp, run_id="x")
    assert runs.ran() == ["new", "c"]
    runs.log.clear()
    runs.flow().delete("x")
    make_run(runs, "killed")
    runner.do(cp, "requeue", "x")
    with pytest.raises(FlowChangedError):
        runner(cp, run_id="x")


LOADS: list[None] = []


class Noted:
    """A value whose loads are noted."""

    def __setstate__(self, state: object) -> None:
        """Note the load."""
        LOADS.append(None)

    def __getstate__(self) -> object:
        """Have something to set."""
        return True


def test_no_state_is_loaded(runs: Runs, runner: Runner) -> None:
    """The header alone is written, and no value of the state is loaded."""
    cp = runs.flow()
    cp.submit({"of": Noted()}, run_id="x")
    LOADS.clear()
    runner.do(cp, "requeue", "x")
    assert LOADS == []
    cp.read("x")
    assert LOADS == [None]


@pytest.mark.parametrize(
    ("status", "match"), [("finished", "nothing left to do"), ("paused", "answer to its pause")]
)
def test_refused_statuses(status: str, match: str, runs: Runs, runner: Runner) -> None:
    """A finished run has nothing left to do, and a paused one waits for its answer."""
    cp = make_run(runs, "paused")
    if status == "finished":
        cp.run(run_id="x")
    before = stored(cp)
    runs.forget()
    with pytest.raises(InvalidValueError, match=match):
        runner.do(cp, "requeue", "x")
    assert (stored(cp), runs.events) == (before, [])


def test_run_in_progress(runs: Runs, runner: Runner) -> None:
    """A run in progress is refused by name, and goes on."""
    cp, asking = runs.empty_flow(), runs.flow("hold")
    with active_run(cp, "x", {"n": 1}):
        with pytest.raises(RunInProgressError, match="this very process"):
            runner.do(asking, "requeue", "x")
        header, _ = stored(asking)
        assert (header.status, header.starts) == ("running", 1)
    assert stored(cp)[0].finished


def test_unknown_run(runs: Runs, runner: Runner) -> None:
    """An id of which nothing is stored is refused, and nothing is stored by it."""
    cp = runs.flow()
    with pytest.raises(RunNotFoundError):
        runner.do(cp, "requeue", "x")
    with pytest.raises(InvalidTypeError, match="run_id"):
        runner.do(cp, "requeue", 3)
    assert cp.count() == 0


def test_request_to_end_it(runs: Runs, runner: Runner) -> None:
    """A request to terminate the run that its killed owner has not seen is over."""
    cp = make_run(runs, "killed")
    cp.handler.write_ending("x", "no stock")
    runner.do(cp, "requeue", "x")
    assert cp.handler.endings(["x"]) == {}
    runner(cp, run_id="x")
    assert runs.ran() == ["b", "c"]


@pytest.mark.parametrize("status", ["killed", "queued"])
def test_request_stays_where_the_store_fails(
    status: str, runs: Runs, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A requeue that cannot be stored leaves the request to terminate the run, which holds."""
    cp = make_run(runs, status)
    cp.handler.write_ending("x", "no stock")
    before = stored(cp)

    def fail(*_: object, **__: object) -> None:
        raise StorageError("the store", "the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(cp.handler, "replace", fail)
        with pytest.raises(StorageError, match="disk is full"):
            runner.do(cp, "requeue", "x")
    assert stored(cp) == before
    assert cp.handler.read_ending("x") == "no stock"
    with pytest.raises(RunTerminatedError, match="no stock"):
        runner(cp, run_id="x")


@pytest.mark.parametrize("status", ["killed", "queued"])
def test_request_is_deleted_with_the_requeue(
    status: str, database: Runs, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a database, one statement makes a run due and deletes the request to terminate it."""
    cp = make_run(database, status)
    cp.handler.write_ending("x", "no stock")
    monkeypatch.setattr(cp.handler, "clear_ending", lambda run_id, lock: None)
    runner.do(cp, "requeue", "x")
    assert cp.handler.read_ending("x") is None


def test_event_and_log(runs: Runs, runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    """A requeue is an event, and a record of the log."""
    cp = make_run(runs, "failed")
    caplog.set_level(logging.INFO)
    runner.do(cp, "requeue", "x")
    assert runs.events == [
        RunSubmitted(flow=cp.name, run_id="x", number=1, due=None, requeued=True)
    ]
    (record,) = caplog.records
    assert record.getMessage() == f"{cp.name}['x']: run 1 made due again."
    caplog.clear()


def test_kept_snapshots(tmp_path_factory: pytest.TempPathFactory, runner: Runner) -> None:
    """The snapshot takes the place of the present one in the history."""
    for kind in ("sqlite", "directory"):
        runs = Runs.at(tmp_path_factory.mktemp(kind), kind)
        runs.faults["step c"] = ValueError()
        cp = runs.flow(keep=3)
        with pytest.raises(ValueError):  # noqa: PT011
            cp.run({"n": 1}, run_id="x")
        kept = len(cp.handler.kept("x"))
        runner.do(cp, "requeue", "x")
        assert len(cp.handler.kept("x")) == kept
        runs.forget()
        assert runner(cp, run_id="x", checkpoint="b")["trail"] == ["a", "b", "c"]
        cp.handler.close()


def test_due_run_is_looked_for(runs: Runs) -> None:
    """Those who look for work in this process are told of a requeue, and of a submission."""
    cp, told = make_run(runs, "failed"), list[str]()

    async def main() -> None:
        with cp._core.settings.work_wanted.listening(lambda: told.append("work")):  # noqa: SLF001
            await cp.arequeue("x")
            await asyncio.sleep(0)
            assert told == ["work"]
            await cp.asubmit({"x": {"n": 1}, "y": {}}, due=timedelta(seconds=1))
            await asyncio.sleep(0)
            await cp.asubmit({"n": 1}, run_id="x")
            await asyncio.sleep(0)
        assert told == ["work", "work"]

    asyncio.run(main())

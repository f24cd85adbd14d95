"""The result of a finished run is a read: it takes no lock, and many have it at once."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from run_factories import PATIENCE, Runs, active_run
from support import NAMES, Runner, State

from aiocheckpoint import (
    DrainingError,
    PauseConflictError,
    RunInProgressError,
    RunNotFoundError,
    StateConflictError,
)

if TYPE_CHECKING:
    from pathlib import Path

DONE = {"n": 1, "loads": ["a"], "trail": list(NAMES)}


def files_of(runs: Runs) -> list[tuple[str, int]]:
    """The files in the store's folder, with the times of their last change."""
    # SQLite notes in the "-shm" how far each reader has read.
    found = (one for one in runs.path.parent.rglob("*") if not one.name.endswith("-shm"))
    return sorted((str(one), one.stat().st_mtime_ns) for one in found)


async def test_fifty_at_once(runs: Runs) -> None:
    """Of fifty deliveries of one finished request, each has the state, a copy of its own."""
    cp = runs.flow()
    await cp.arun({"n": 1}, run_id="x", once=True)
    states = await asyncio.gather(*(cp.arun({"n": 1}, run_id="x", once=True) for _ in range(50)))
    assert states == [DONE] * 50
    assert len({id(state["trail"]) for state in states}) == 50
    assert await asyncio.gather(*(cp.aresume("x") for _ in range(50))) == [DONE] * 50


def test_beside_an_owner(runs: Runs, any_runner: Runner) -> None:
    """The result needs no lock: it is given while another owner has the lock."""
    any_runner(runs.flow(), {"n": 1}, run_id="x")
    with runs.flow().handler.locked("x"):
        assert any_runner(runs.flow(), {"n": 1}, run_id="x", once=True) == DONE
        assert any_runner.do(runs.flow(), "resume", "x") == DONE
        with pytest.raises(RunInProgressError):
            any_runner(runs.flow(), {"n": 1}, run_id="x")


def test_nothing_is_written(runs: Runs, runner: Runner) -> None:
    """No file is written and none is made, and the row of a database stays as it was."""
    cp = runs.flow()
    runner(cp, {"n": 1}, run_id="x")
    before = files_of(runs)
    for _ in range(3):
        assert runner(cp, {"n": 1}, run_id="x", once=True) == DONE
        assert runner.do(cp, "resume", "x") == DONE
    assert files_of(runs) == before


def test_unknown_id_leaves_nothing_behind(tmp_path: Path, runner: Runner) -> None:
    """A mistyped id is told, and neither a directory nor a database is made for it."""
    for kind in ("sqlite", "directory"):
        runs = Runs.at(tmp_path, kind) if kind == "sqlite" else Runs(tmp_path / "new", kind=kind)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(RunNotFoundError):
            runner.do(runs.flow(), "resume", "order-1")
        assert sorted(tmp_path.iterdir()) == before


def test_compared_beside_an_owner(
    runs: Runs, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """The given state is compared with the one that the run began with, without the lock."""
    runner(runs.flow(), {"n": 1}, run_id="x")
    with runs.flow().handler.locked("x"):
        assert runner(runs.flow(), {"n": 2}, run_id="x", once=True) == DONE
        (record,) = caplog.records
        assert (record.levelname, "began with another one" in record.message) == ("WARNING", True)
        with pytest.raises(StateConflictError, match="gives its stored result"):
            runner(runs.flow(conflict="raise"), {"n": 2}, run_id="x", once=True)
        assert runner(runs.flow(conflict="raise"), {"n": 1}, run_id="x", once=True) == DONE


def test_update_of_a_finished_run(runs: Runs, runner: Runner) -> None:
    """An update for a finished run is refused by `resume`, also beside an owner."""
    runner(runs.flow(), {"n": 1}, run_id="x")
    with runs.flow().handler.locked("x"), pytest.raises(PauseConflictError):
        runner.do(runs.flow(), "resume", "x", {"by": "Ann"})


def test_other_state_than_that_of_a_run_in_progress(runs: Runs, runner: Runner) -> None:
    """Under `conflict="raise"` it is refused at once, and not after the wait for the run."""
    with (
        active_run(runs.empty_flow(), "x", {"n": 1}),
        pytest.raises(StateConflictError, match="goes on at step 'hold'"),
    ):
        runner(runs.flow(conflict="raise"), {"n": 2}, run_id="x", once=True, wait=PATIENCE)
    assert runs.log == []


async def test_drained_flow(runs: Runs) -> None:
    """A drained flow begins no run, and still gives the results of finished ones."""
    cp = runs.flow()
    await cp.arun({"n": 1}, run_id="x")
    await cp.adrain()
    assert await cp.arun({"n": 1}, run_id="x", once=True) == DONE
    assert await cp.aresume("x") == DONE
    with pytest.raises(DrainingError):
        await cp.arun({"n": 1}, run_id="y", once=True)


def test_header_and_state_of_one_snapshot(runs: Runs, runner: Runner) -> None:
    """Beside runs that begin anew, a result is that of a finished run, never one halfway."""
    cp, ended = runs.empty_flow(), threading.Event()
    cp.add_step(name="half")(lambda state: state.update(done=None))
    cp.add_step(name="whole")(lambda state: state.update(done=state["n"]))

    def run_anew() -> None:
        try:
            for number in range(60):
                cp.run({"n": number, "done": None}, run_id="x", wait=PATIENCE)
        finally:
            ended.set()

    cp.run({"n": -1}, run_id="x")
    thread = threading.Thread(target=run_anew)
    thread.start()
    found: list[State] = []
    while not (found and ended.is_set()):
        found.append(runner(cp, run_id="x", once=True, wait=PATIENCE))
    thread.join(PATIENCE)
    assert [state for state in found if state["done"] != state["n"]] == []


def test_another_flow_is_refused(runs: Runs, runner: Runner) -> None:
    """The result of another flow under this id is not given."""
    if runs.kind != "directory":
        pytest.skip("the runs of a database are those of its flow, and memory has no names")
    runner(runs.flow(), {"n": 1}, run_id="x")
    with pytest.raises(Exception, match="other"):
        runner(runs.flow(name="other"), {"n": 1}, run_id="x", once=True)


def test_state_of_a_run_in_progress_is_not_read(
    tmp_path: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call for an unfinished run of a database reads its header alone, however large it is."""
    runs = Runs.at(tmp_path, "sqlite")

    def open_(*_: object) -> None:
        raise AssertionError("the state was read")

    with active_run(runs.empty_flow(), "x", {"n": 1}):
        monkeypatch.setattr("aiocheckpoint.handlers.sqlite.SqliteStateHandler.open", open_)
        with pytest.raises(RunInProgressError):
            runner(runs.flow(), {"n": 1}, run_id="x", once=True)
        monkeypatch.undo()

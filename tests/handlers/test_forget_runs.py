"""Stored runs are deleted: one by its id, or many by age and status."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from run_factories import Runs, active_run, listed, sql

from aiocheckpoint import (
    CheckpointError,
    CheckpointFlow,
    CorruptSnapshotError,
    InvalidTypeError,
    InvalidValueError,
)

if TYPE_CHECKING:
    from support import Runner

    from aiocheckpoint import Header


def leave_stopped(flows: Runs) -> CheckpointFlow:
    """Leave a run "x" that was stopped after a."""
    cp = flows.flow()
    cp.run({"n": 1}, run_id="x", until="a")
    return cp


def test_reset_and_delete_damaged_runs(durable_runs: Runs, runner: Runner) -> None:
    """A damaged run can still be reset or deleted, as the error says."""
    for method, args, kwargs in (("delete", ("x",), {}), ("reset", (), {"run_id": "x"})):
        cp = leave_stopped(durable_runs)
        damage(durable_runs)
        with pytest.raises(CheckpointError, match="reset"):
            runner.do(cp, "read", "x")
        assert runner.do(cp, method, *args, **kwargs) in {True, None}
        assert runner.do(cp, "read", "x") == {}
        assert runner(cp, {"n": 9}, run_id="x")["n"] == 9


def damage(flows: Runs) -> None:
    """Flip a bit in the payload of the run "x"."""
    if flows.kind == "sqlite":
        sql(flows.path, "UPDATE runs SET payload = CAST('x' || substr(payload, 2) AS BLOB)")
        return
    file = flows.path / "x.pkl"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])


@pytest.mark.parametrize("value", ["5", "'text'", "1.5", "x''"])
@pytest.mark.parametrize("column", ["payload", "footer"])
def test_columns_of_other_types_are_damage(
    column: str, value: str, database: Runs, runner: Runner
) -> None:
    """A foreign value in a column is damage: the run is not listed, and can be deleted."""
    cp = leave_stopped(database)
    sql(database.path, f"UPDATE runs SET {column} = {value}")  # noqa: S608
    with pytest.raises(CorruptSnapshotError):
        runner.do(cp, "read", "x")
    with pytest.raises(CorruptSnapshotError):
        runner(cp, run_id="x")
    assert listed(runner, cp) == []
    assert runner.do(cp, "delete", "x")


@pytest.mark.parametrize("run_id", [None, 3, ""], ids=repr)
def test_delete_names_a_run(run_id: Any, database: Runs, runner: Runner) -> None:  # noqa: ANN401
    """`delete` requires a run id. The run without an id is deleted by a reset."""
    database.flow().run({}, until="a")
    with pytest.raises((InvalidTypeError, InvalidValueError), match="run_id"):
        runner.do(database.flow(), "delete", run_id)
    assert listed(runner, database.flow()) == [None]


# --- pruning


def age(flows: Runs, cp: CheckpointFlow, run_id: str, seconds: float) -> None:
    """Change the time in the header of a run's newest snapshot to that many seconds ago."""
    handler = cp.handler
    with handler.locked(run_id) as lock, handler.stored(run_id) as found:
        state = found.state()
        state.pop("checkpoint_index")
        old: Header = replace(found.header, written_at=found.header.written_at - seconds)
        handler.replace(run_id, lambda to: handler.codec.write(old, state, None, to), lock=lock)
    if flows.kind == "sqlite":
        shown = sql(flows.path, "SELECT written_at FROM runs WHERE run_id = ?", run_id)
        assert shown == [(old.written_at,)]


def leave_old_ones(flows: Runs) -> CheckpointFlow:
    """Leave finished and stopped runs, of now and of two days ago."""
    cp = flows.flow()
    for run_id in ("new", "old", "new-stopped", "old-stopped"):
        cp.run({}, run_id=run_id, until="a" if "stopped" in run_id else None)
        if "old" in run_id:
            age(flows, cp, run_id, 2 * 86_400)
    return cp


@pytest.mark.parametrize("older", [86_400, 86_400.5, timedelta(days=1)], ids=repr)
def test_old_finished_runs_are_pruned(older: Any, runs: Runs, runner: Runner) -> None:  # noqa: ANN401
    """By default `prune` deletes finished runs older than the age, and returns their number."""
    cp = leave_old_ones(runs)
    assert runner.do(cp, "prune", older) == 1
    assert listed(runner, cp) == ["old-stopped", "new-stopped", "new"]
    assert runner.do(cp, "prune", older) == 0


def test_statuses_are_pruned(runs: Runs, runner: Runner) -> None:
    """Runs of other statuses are deleted if `statuses` names them, one or several."""
    cp = leave_old_ones(runs)
    assert runner.do(cp, "prune", timedelta(days=1), "stopped") == 1
    assert runner.do(cp, "prune", 0, ["finished", "stopped", "failed"]) == 3
    assert listed(runner, cp) == []


def test_running_runs_are_not_pruned(runs: Runs, runner: Runner) -> None:
    """A running run is never pruned, for any arguments."""
    cp = leave_old_ones(runs)
    with active_run(runs.empty_flow(), "busy", {}):
        assert runner.do(cp, "prune", 0, ["running", "finished"]) == 2
        assert listed(runner, cp, "running") == ["busy"]
    assert runner.do(cp, "read", "busy") == {"checkpoint_index": 0}


def test_what_is_kept_is_pruned_too(durable_runs: Runs, runner: Runner) -> None:
    """A pruned run's kept snapshots are deleted with it."""
    cp = durable_runs.flow(keep="all")
    runner(cp, {}, run_id="x")
    assert cp.handler.kept("x")
    assert runner.do(cp, "prune", 0) == 1
    assert cp.handler.kept("x") == []
    if durable_runs.kind == "sqlite":
        assert sql(durable_runs.path, "SELECT count(*) FROM kept") == [(0,)]
    else:
        assert list(durable_runs.path.iterdir()) == []


@pytest.mark.parametrize(
    ("age_given", "kind"),
    [
        *((value, InvalidTypeError) for value in ("1d", None, True, [1])),
        *((value, InvalidValueError) for value in (-1, float("nan"), float("inf"))),
        (timedelta(days=-1), InvalidValueError),
    ],
    ids=repr,
)
def test_age_that_is_none(
    age_given: Any,  # noqa: ANN401
    kind: type[Exception],
    database: Runs,
    runner: Runner,
) -> None:
    """An age is a number of seconds from 0, or a timedelta. Anything else deletes nothing."""
    cp = leave_old_ones(database)
    with pytest.raises(kind, match="older_than"):
        runner.do(cp, "prune", age_given)
    with pytest.raises(InvalidValueError, match="status="):
        runner.do(cp, "prune", 0, "done")
    assert len(listed(runner, cp)) == 4

"""Runs are counted in every kind of store: in all, by status, and by step."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any, get_args

import pytest
from run_factories import sql
from simulated_processes import handler_apart, looking, shut_down

from aiocheckpoint import InvalidValueError, LocalStateHandler
from aiocheckpoint._model.header import Status
from aiocheckpoint.handlers.sqlite._schema import ADDITIONS, MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from flaky_steps import AnyStore
    from run_factories import Runs
    from support import Runner

    from aiocheckpoint import CheckpointFlow

NONE = dict.fromkeys(get_args(Status), 0)


def leave_runs(runs: Runs) -> CheckpointFlow:
    """Leave three finished runs, two that stopped behind a, and one that failed in b."""
    cp = runs.flow("a", "b")
    for number in range(3):
        cp.run({"n": number}, run_id=f"done {number}")
    for number in range(2):
        cp.run({"n": number}, run_id=f"half {number}", until="a")
    runs.faults["step b"] = OSError("broken")
    with pytest.raises(OSError, match="broken"):
        cp.run({"n": 1}, run_id="broken")
    runs.faults.clear()
    return cp


def test_counts(runs: Runs, runner: Runner) -> None:
    """The number of runs, by status, and by the step at which each goes on."""
    cp = leave_runs(runs)
    assert runner.do(cp, "count") == 6
    by_status = NONE | {"finished": 3, "stopped": 2, "failed": 1}
    assert runner.do(cp, "count", by="status") == by_status
    assert runner.do(cp, "count", by="step") == {None: 3, "b": 3}
    cp.delete("broken")
    assert runner.do(cp, "count", "status") == by_status | {"failed": 0}


def test_counts_of_one_flow(database: Runs) -> None:
    """Runs of another flow in the same database are not counted."""
    cp, other = leave_runs(database), database.flow("a", name="other")
    assert other.count() == 0
    other.run({}, run_id="done 0")
    assert (other.count(), cp.count()) == (1, 6)


def test_where_nothing_is_stored(any_store: AnyStore, runner: Runner) -> None:
    """Nothing is made by a count. A user's own handler of one dict cannot count."""
    cp = any_store.flow("a")
    before = any_store.files()
    if not any_store.has_headers:
        with pytest.raises(InvalidValueError, match="keeps one state"):
            runner.do(cp, "count", by="status")
        return
    assert runner.do(cp, "count") == 0
    assert runner.do(cp, "count", by="status") == NONE
    assert runner.do(cp, "count", by="step") in ({}, {None: 0})
    assert any_store.files() == before


@pytest.mark.parametrize(
    "by", ["Status", "", 5, True, [], ("status", "flow"), {"status"}], ids=repr
)
def test_bad_arguments(by: Any, runs: Runs, runner: Runner) -> None:  # noqa: ANN401
    """Anything but the words, or a list of them, is refused, and all are named."""
    with pytest.raises(InvalidValueError, match="by='status', by='step', by='error' or by='day'"):
        runner.do(runs.flow("a"), "count", by=by)


def test_odd_values_of_others(database: Runs) -> None:
    """Values of other types, stored by another program, count under what they look like."""
    cp = leave_runs(database)
    sql(database.path, "UPDATE runs SET status = x'ff' WHERE run_id = 'done 0'")
    sql(database.path, "UPDATE runs SET step = 7 WHERE run_id = 'half 0'")
    assert cp.count() == 6
    assert cp.count(by="status") == NONE | {"\ufffd": 1, "finished": 2, "stopped": 2, "failed": 1}
    assert cp.count(by="step") == {None: 3, "b": 2, "7": 1}


def test_a_database_of_the_release_before(tmp_path: Path) -> None:
    """A database without the index is counted as it is. Its next writer adds the index.

    The version of the tables stays, as processes of the release before refuse a later one.
    """
    path = tmp_path / "runs.db"
    writer = handler_apart(path)
    writer.write({"n": 1}, "x")
    shut_down(writer)
    with looking(path) as connection:
        for name, statement in ADDITIONS.items():
            connection.execute(f"DROP {statement.split()[1]} {name}")
        made_by = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    reader = handler_apart(path)
    assert reader.count(by="status") == NONE | {"finished": 1}
    with looking(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == made_by
    reader.write({"n": 1}, "y")
    assert reader.count() == 2
    shut_down(reader)
    with looking(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),) == (1,)
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert set(ADDITIONS) <= found


def test_a_database_counts_by_its_index(database: Runs) -> None:
    """No table is read for a count by status: the index has all of it."""
    cp = leave_runs(database)
    with looking(database.path) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT status, count(*) FROM runs "
            "WHERE flow = 'runs' AND status IS NOT NULL GROUP BY status"
        ).fetchall()
    assert "COVERING INDEX runs_by_status" in str(plan)
    assert cp.count() == 6


def test_headers_of_a_directory_are_not_kept(tmp_path: Path) -> None:
    """Files are counted one by one: memory does not grow with their number."""
    handler = LocalStateHandler(f"{tmp_path}/runs/", fsync=False)
    for number in range(300):
        handler.write({"checkpoint_index": 1}, f"{number}")
    tracemalloc.start()
    try:
        assert handler.count(by="status")["stopped"] == 300
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken < 250_000  # 300 headers take 600,000

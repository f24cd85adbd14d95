"""Lists, counts and recovery take the runs that their arguments choose."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from case_ids import plain_repr
from queued_runs import put_header
from run_factories import active_run, ids, listed

from aiocheckpoint import (
    CheckpointFlow,
    InvalidTypeError,
    InvalidValueError,
    LocalStateHandler,
    RunTerminatedError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from run_factories import Runs
    from support import Runner

    from aiocheckpoint import Header
    from aiocheckpoint.handlers import Query

METHODS = ("runs", "aruns", "count", "acount", "aresume_all", "resume_all", "awork", "work")
NAN = float("nan")
NAIVE = datetime(2026, 11, 30)  # noqa: DTZ001 - what is tried
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    *(({"step": step}, InvalidTypeError, "step= is the name") for step in (5, b"a", ["a", 5])),
    *(({"step": step}, InvalidValueError, "step=.* Leave it out") for step in ("", [], ["a", ""])),
    *(({"error": error}, InvalidTypeError, "error= is a pattern such as") for error in (5, ["a"])),
    ({"error": ValueError}, InvalidTypeError, "Give 'builtins.ValueError'"),
    ({"error": ""}, InvalidValueError, "error= is empty, .* Leave it out"),
    *(
        ({"ids": one}, InvalidTypeError, r"ids= is a pattern such as 'order-\*'")
        for one in (5, ["a"])
    ),
    ({"ids": ""}, InvalidValueError, "ids= is empty, .* Leave it out"),
    *(
        ({name: given}, error, f"{name}=.*{words}")
        for name in ("since", "before")
        for given, error, words in (
            ("2h", InvalidTypeError, "timedelta before now, .* not a str"),
            (True, InvalidTypeError, "not a bool"),
            (NAN, InvalidValueError, "no moment"),
            (timedelta(hours=-1), InvalidValueError, "in the future"),
            (NAIVE, InvalidValueError, "without a zone.*astimezone"),
        )
    ),
    ({"since": 2.0, "before": 2.0}, InvalidValueError, "since= is not earlier than before="),
    *(({"tries": tries}, InvalidTypeError, "tries= is a number") for tries in ("3", 1.5, True)),
    ({"tries": 0}, InvalidValueError, "tries=0: .*at least 1"),
    *(
        ({"stale": stale}, InvalidTypeError, "stale= is True or False")
        for stale in (1, None, "yes")
    ),
    ({"stale": True, "status": "failed"}, InvalidValueError, "stale=True .* leaves them out"),
    ({"status": "broken"}, InvalidValueError, "status='broken' is no status. Known are"),
    (
        {"steps": "a"},
        InvalidTypeError,
        "steps= is no argument here. Runs are chosen by status=, step=",
    ),
]


async def call(cp: CheckpointFlow, method: str, **arguments: Any) -> None:  # noqa: ANN401
    """Call a method, and await its coroutine. A stream is not begun."""
    called = getattr(cp, method)(**arguments)
    if asyncio.iscoroutine(called):
        await called


@pytest.mark.parametrize(
    ("arguments", "error", "words"), BAD, ids=[plain_repr(case[0]) for case in BAD]
)
async def test_bad_arguments(
    arguments: dict[str, Any], error: type[Exception], words: str, database: Runs
) -> None:
    """Each is refused at the call, by name and with a remedy, before a store is made."""
    cp = database.flow()
    for method in METHODS:
        with pytest.raises(error, match=words):
            await call(cp, method, **arguments)
    assert database.files() == {}


@pytest.mark.parametrize("method", METHODS)
def test_a_handler_of_one_dict(method: str, runs: Runs) -> None:
    """It stores one state, so that there is nothing to choose among."""

    class Own:
        def __init__(self, path: object) -> None:
            """Keep nothing."""

        def read(self) -> dict[str, Any]:
            return {}

        def write(self, state: dict[str, Any]) -> None:
            """Keep nothing."""

    cp = CheckpointFlow(runs.path, handler=Own)
    with pytest.raises(InvalidValueError, match="one state"):
        asyncio.run(call(cp, method, step="a"))
    with pytest.raises(InvalidValueError, match="one state"):
        cp.history()


def leave(runs: Runs) -> CheckpointFlow:
    """Leave runs that failed at b and at c, one stopped behind a, one queued and one finished."""
    cp = runs.flow()
    for run_id, step, error in (
        ("order-1", "b", TimeoutError()),
        ("order-2", "b", ValueError()),
        ("other-3", "c", ValueError()),
    ):
        runs.faults[f"step {step}"] = error
        with pytest.raises(type(error)):
            cp.run({}, run_id=run_id)
        runs.faults.clear()
    cp.run({}, run_id="order-4", until="a")
    cp.submit({}, run_id="order-5")
    cp.run({}, run_id="order-6")
    runs.log.clear()
    return cp


def test_lists_and_counts(runs: Runs, runner: Runner) -> None:
    """Each argument chooses, alone and with others."""
    cp = leave(runs)
    whole = ["order-6", "order-5", "order-4", "other-3", "order-2", "order-1"]
    assert listed(runner, cp) == whole
    assert listed(runner, cp, step="b") == ["order-4", "order-2", "order-1"]
    assert listed(runner, cp, step=["a", "c"]) == ["order-5", "other-3"]
    assert listed(runner, cp, error="*.ValueError") == ["other-3", "order-2"]
    assert listed(runner, cp, error="ValueError") == ["other-3", "order-2"]
    assert listed(runner, cp, "failed", ids="order-*") == ["order-2", "order-1"]
    assert listed(runner, cp, step="b", error="*", limit=1) == ["order-2"]
    assert listed(runner, cp, tries=1) == ["other-3", "order-2", "order-1"]
    assert listed(runner, cp, tries=2) == []
    by = runner.do(cp, "count", ("step", "error"), status="failed")
    assert by == {("b", "builtins.TimeoutError"): 1, ("b", "builtins.ValueError"): 1} | {
        ("c", "builtins.ValueError"): 1
    }
    assert runner.do(cp, "count", ids="order-?") == 5
    assert runner.do(cp, "count", "error", ids="order-?", step="b")[None] == 1
    today = datetime.now(UTC).date()
    days = set(runner.do(cp, "count", "day"))
    assert days <= {str(today), str(today - timedelta(days=1))}
    assert runner.do(cp, "count", "status", step="c")["failed"] == 1


def test_pages(runs: Runs) -> None:
    """The last header of a page is `after=` for the next one, whatever was left out between."""
    cp = leave(runs)
    (first,) = cp.runs(error="*.ValueError", limit=1)
    assert ids(cp.runs(error="*.ValueError", limit=5, after=first)) == ["order-2"]


def test_times(database: Runs) -> None:
    """A moment is an age, a time with its zone, or seconds since the epoch."""
    cp = leave(database)
    now = time.time()
    put_header(cp.handler, "order-1", written_at=now - 7_000)
    put_header(cp.handler, "order-2", written_at=now - 8_000)
    two_hours_ago = datetime.fromtimestamp(now, UTC) - timedelta(hours=2)
    for moment in (timedelta(hours=2), two_hours_ago, now - 7_200):
        assert ids(cp.runs("failed", since=moment)) == ["other-3", "order-1"]
        assert ids(cp.runs("failed", before=moment)) == ["order-2"]
    assert ids(cp.runs(since=timedelta(hours=2), before=timedelta(minutes=5))) == ["order-1"]


def test_stale(durable_runs: Runs) -> None:
    """A run without its owner is stale, and one in progress is not."""
    cp = durable_runs.flow()
    cp.run({}, run_id="killed", until="a")
    put_header(cp.handler, "killed", status="running", stopped_by=None)
    with active_run(durable_runs.empty_flow(), "held", {}):
        assert ids(cp.runs("running")) == ["held", "killed"]
        assert ids(cp.runs(stale=True)) == ["killed"]
        assert cp.count(stale=True) == 1


def test_resume_all_takes_the_chosen(runs: Runs) -> None:
    """Runs that are not due are taken as well, and no others. None is terminated."""
    cp = runs.flow(starts=1)
    leave(runs)
    found = {result.run_id: result.error for result in cp.resume_all(step="b", ids="order-*")}
    assert found == {"order-1": None, "order-2": None, "order-4": None}
    assert ids(cp.runs("failed")) == ["other-3"]
    assert [result.run_id for result in cp.resume_all(error="*.ValueError")] == ["other-3"]
    assert ids(cp.runs("queued")) == ["order-5"]
    assert list(cp.resume_all(tries=1)) == []


def test_work_takes_the_chosen_of_the_due(runs: Runs) -> None:
    """Runs that are not due are left alone, though they are chosen. Too many starts end a run."""
    cp = runs.flow(starts=1)
    leave(runs)
    cp.submit({}, run_id="other-7")
    assert list(cp.work(until_empty=True, step="b")) == []
    for run_id in ("order-1", "other-3"):
        put_header(cp.handler, run_id, due=time.time() - 1)
    (result,) = cp.work(until_empty=True, error="*", ids="order-*")
    assert (result.run_id, type(result.error)) == ("order-1", RunTerminatedError)
    found = {result.run_id for result in cp.work(until_empty=True, ids="*-[57]")}
    assert found == {"order-5", "other-7"}
    assert ids(cp.runs("failed")) == ["other-3", "order-2"]


async def test_a_run_that_is_chosen_no_more_is_left_alone(database: Runs) -> None:
    """Between the list and the claim, another process has taken it past its step."""
    cp = leave(database)
    put_header(cp.handler, "other-3", due=time.time() - 1)
    elsewhere = database.flow()
    runs = cp.handler.runs

    def slow(query: Query) -> list[Header]:
        found: list[Header] = runs(query)
        if found and found[0].next_step == "c":
            elsewhere.patch({}, "b", run_id="other-3")
            elsewhere.requeue("other-3")
        return found

    cp.handler.runs = slow
    assert await cp.awork(until_empty=True, step="c") == []
    assert ids(cp.runs("stopped", step="b", ids="other-*")) == ["other-3"]


def test_handlers_of_earlier_releases_see_the_statuses(tmp_path: Path) -> None:
    """One that lists by `Query.statuses` alone lists these, and only chosen runs go on."""

    class Early(LocalStateHandler):
        def runs(self, query: Query) -> list[Header]:
            """List by what 0.5 knew."""
            wanted = query.statuses
            found = super().runs(query._replace(where=type(query.where)()))
            return [one for one in found if wanted is None or one.status in wanted]

    cp = CheckpointFlow(f"{tmp_path}/runs/", handler=Early)
    for name in "ab":
        cp.add_step(name=name)(lambda state: None)
    cp.run({}, run_id="x", until="a")
    cp.run({}, run_id="y")
    assert ids(cp.runs("stopped")) == ["x"]
    assert list(cp.resume_all(step="no such")) == []


@pytest.mark.parametrize("keep", [1, 3, "all"])
def test_history(keep: Any, runs: Runs, runner: Runner) -> None:  # noqa: ANN401
    """The headers of the kept snapshots, the newest first."""
    options = {} if runs.kind == "memory" else {"keep": keep}
    cp = runs.flow("a", "b", "c", **options)
    cp.run({}, run_id="x")
    cp.run({}, run_id="other")
    history = runner.do(cp, "history", "x")
    steps = [None, "c", "b", "a"]
    most = 1 if runs.kind == "memory" else {1: 1, 3: 3, "all": 4}[keep]
    assert [one.next_step for one in history] == steps[:most]
    assert history[0] == cp.header("x")
    assert [one.sequence for one in history] == sorted(
        (one.sequence for one in history), reverse=True
    )
    assert runner.do(cp, "history", "none") == []
    assert runner.do(cp, "history") == []


def test_history_with_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged older snapshot is left out, and the log names it."""
    cp: CheckpointFlow = CheckpointFlow(tmp_path / "one.pkl", keep="all", name="one")
    for name in "abc":
        cp.add_step(name=name)(lambda state: None)
    cp.run({})
    kept = sorted((tmp_path / ".one.pkl.kept").iterdir())
    kept[1].write_bytes(kept[1].read_bytes()[:-9])
    assert [header.next_step for header in cp.history()] == [None, "c", "a"]
    (record,) = caplog.records
    assert "kept, number 1, sequence 2" in record.getMessage()


def test_history_shows_a_claim(database: Runs) -> None:
    """The newest header has the owner of a run in progress."""
    cp = database.flow("a", keep="all")
    with active_run(database.empty_flow(keep="all"), "x", {}):
        (newest,) = cp.history("x")
        assert newest == replace(newest, status="running")
        assert newest.owner is not None

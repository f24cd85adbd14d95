"""Runs are queued: what becomes of a submitted state, by what is stored of its run."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from queued_runs import UNFINISHED, make_run, put_header, stored
from run_factories import Runs, active_run, listed
from support import NAMES, Runner

from aiocheckpoint import (
    CheckpointFlow,
    CorruptSnapshotError,
    FlowChangedError,
    FlowDefinitionError,
    Header,
    InvalidTypeError,
    InvalidValueError,
    RunInProgressError,
    RunTerminatedError,
    StateConflictError,
    UnserializableStateError,
    current_step,
)
from aiocheckpoint._engine import submitting
from aiocheckpoint.events import RunSubmitted


@dataclass
class Amount:
    """A value that is no plain data."""

    cents: int


def test_new_run_is_queued(runs: Runs, runner: Runner) -> None:
    """A run of which nothing is stored is queued with its state, and no step is done."""
    cp, state = runs.flow(), {"n": 1}
    header = runner.do(cp, "submit", state, run_id="x")
    assert (header.status, header.run_id, header.position, header.number) == ("queued", "x", 0, 1)
    assert (header.due, header.steps, header.next_step) == (None, NAMES, "a")
    assert time.time() - 60 < header.started_at <= time.time()
    assert (runs.log, state) == ([], {"n": 1})
    assert stored(cp) == (header, {"n": 1, "checkpoint_index": 0})
    assert listed(runner, cp, "queued") == ["x"]
    assert cp.count("status")["queued"] == 1


def test_queued_run_is_run(runs: Runs, runner: Runner) -> None:
    """A queued run goes on as the run that it is, with its number, and its key of idempotency."""
    cp, keys = runs.empty_flow(), list[str]()
    cp.add_step(name="a")(lambda state: keys.append(current_step().idempotency_key))
    runner.do(cp, "submit", {"n": 1}, run_id="x")
    assert runner(cp, {"n": 1}, run_id="x") == {"n": 1}
    assert (cp.header("x").number, cp.header("x").status) == (1, "finished")  # type: ignore[union-attr]
    cp.run({"n": 1}, run_id="x", checkpoint="a")
    runner.do(cp, "submit", {"n": 1}, run_id="x")
    runner(cp, run_id="x")
    assert keys[0] not in keys[1:]
    assert cp.header("x").number == 3  # type: ignore[union-attr]


def test_finished_run_is_queued_anew(runs: Runs, runner: Runner) -> None:
    """A finished run is queued as its next run, with the given state."""
    cp = runs.flow()
    runner(cp, {"n": 1}, run_id="x")
    before = cp.header("x")
    assert before is not None
    header = runner.do(cp, "submit", {"n": 2}, run_id="x")
    assert (header.status, header.number, header.durations) == ("queued", 2, {})
    assert header.sequence == before.sequence + 1
    assert stored(cp) == (header, {"n": 2, "checkpoint_index": 0})


def test_once_leaves_a_finished_run(
    runs: Runs, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """With `once=True` nothing happens to a finished run, and another state is warned of."""
    cp = runs.flow()
    runner(cp, {"n": 1}, run_id="x")
    before = stored(cp)
    assert runner.do(cp, "submit", {"n": 1}, run_id="x", once=True) == before[0]
    assert not caplog.records
    assert runner.do(cp, "submit", {"n": 2}, run_id="x", once=True) == before[0]
    (record,) = caplog.records
    assert (record.levelno, record.run_id) == (logging.WARNING, "x")  # type: ignore[attr-defined]
    assert "the given state is ignored" in record.getMessage()
    strict = runs.flow(conflict="raise")
    with pytest.raises(StateConflictError, match="finished run"):
        runner.do(strict, "submit", {"n": 2}, run_id="x", once=True)
    assert stored(cp) == before
    caplog.clear()


@pytest.mark.parametrize("status", UNFINISHED)
def test_unfinished_run_is_left(status: str, runs: Runs, runner: Runner) -> None:
    """An unfinished run that began with an equal state is left as it is, its `due` too."""
    cp = make_run(runs, status)
    before = stored(cp)
    due = timedelta(days=1)
    assert runner.do(cp, "submit", {"n": 1}, run_id="x", due=due) == before[0]
    (result,) = runner.do(cp, "submit", {"x": {"n": 1}}, due=due, once=True)
    assert (result.error, result.status) == (None, before[0].status)
    assert stored(cp) == before
    assert runs.events == []


@pytest.mark.parametrize("status", UNFINISHED)
def test_another_state_is_refused(status: str, runs: Runs, runner: Runner) -> None:
    """An unfinished run never takes another state, also without `conflict="raise"`."""
    cp = make_run(runs, status)
    before = stored(cp)
    with pytest.raises(StateConflictError, match="use another run_id") as caught:
        runner.do(cp, "submit", {"n": 2}, run_id="x", once=True)
    assert caught.value.run_id == "x"
    (result,) = runner.do(cp, "submit", [("x", {"n": 2})])
    assert isinstance(result.error, StateConflictError)
    assert (result.status, result.state, stored(cp)) == (None, None, before)


def test_terminated_run_is_refused(runs: Runs, runner: Runner) -> None:
    """A terminated run is not queued, whatever the state."""
    cp = make_run(runs, "terminated")
    before = stored(cp)
    for state in ({"n": 1}, {"n": 2}):
        with pytest.raises(RunTerminatedError, match="no stock"):
            runner.do(cp, "submit", state, run_id="x")
        (result,) = runner.do(cp, "submit", {"x": state}, once=True)
        assert isinstance(result.error, RunTerminatedError)
    assert stored(cp) == before


def test_run_in_progress_is_left(runs: Runs, runner: Runner) -> None:
    """A run in progress that began with an equal state is left, and its submitter hears so."""
    cp, asking = runs.empty_flow(), runs.flow("hold")
    with active_run(cp, "x", {"n": 1}):
        header = runner.do(asking, "submit", {"n": 1}, run_id="x")
        assert (header.status, bool(header.owner)) == ("running", True)
        with pytest.raises(StateConflictError):
            runner.do(asking, "submit", {"n": 2}, run_id="x")
    assert cp.header("x").finished  # type: ignore[union-attr]


def test_run_that_begins_is_waited_for(runs: Runs) -> None:
    """A finished run whose lock another owner has is looked at again, until it is free."""
    cp = runs.flow()
    cp.run({"n": 1}, run_id="x")
    with cp.handler.locked("x"):
        found = list[Header]()
        thread = threading.Thread(target=lambda: found.append(cp.submit({"n": 2}, run_id="x")))
        thread.start()
        thread.join(0.6)
        assert found == []
    thread.join(60)
    assert (found[0].status, found[0].number) == ("queued", 2)


def test_due(runs: Runs, runner: Runner) -> None:
    """`due` is a time from now on, or one with a zone, and is stored with the run."""
    cp = runs.flow()
    header = runner.do(cp, "submit", {}, run_id="wait", due=timedelta(minutes=1))
    assert time.time() + 30 < header.due <= time.time() + 60
    noon = datetime(2040, 1, 1, 12, tzinfo=UTC)
    assert runner.do(cp, "submit", {}, run_id="noon", due=noon).due == noon.timestamp()
    (result,) = runner.do(cp, "submit", {"many": {}}, due=noon)
    assert result.error is None
    assert cp.header("many").due == noon.timestamp()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("due", "kind", "match"),
    [
        (datetime(2040, 1, 1, 12), InvalidValueError, "without a zone"),  # noqa: DTZ001
        (timedelta(seconds=-1), InvalidValueError, "in the past"),
        (60, InvalidTypeError, "not a int"),
        ("noon", InvalidTypeError, "not a str"),
    ],
    ids=["naive", "negative", "int", "str"],
)
def test_wrong_due(due: Any, kind: type[Exception], match: str, runs: Runs, runner: Runner) -> None:  # noqa: ANN401
    """A time that is none is refused at once, and nothing is stored."""
    cp = runs.flow()
    for submitted, options in (({"n": 1}, {"run_id": "x"}), ({"x": {"n": 1}}, {})):
        with pytest.raises(kind, match=match):
            runner.do(cp, "submit", submitted, due=due, **options)
    assert cp.count() == 0


@pytest.mark.parametrize(
    ("args", "kwargs", "match"),
    [
        ((3,), {"run_id": "x"}, "state must be a dict, not a int"),
        ((None,), {"run_id": "x"}, "state must be a dict, not a NoneType"),
        (({"n": 1},), {"run_id": 3}, "run_id must be a string"),
        (({"n": 1},), {}, "pairs of a run id and a state"),
        ((3,), {}, "dict of states by run id"),
        (({},), {"run_id": "x", "once": 1}, "once= is True or False"),
    ],
    ids=["int", "none", "id", "no-id", "no-runs", "once"],
)
def test_wrong_types(
    args: tuple[Any, ...], kwargs: dict[str, Any], match: str, runs: Runs, runner: Runner
) -> None:
    """Arguments of other types are refused at once, and nothing is stored."""
    cp = runs.flow()
    with pytest.raises(InvalidTypeError, match=match):
        runner.do(cp, "submit", *args, **kwargs)
    assert cp.count() == 0


def test_state_that_cannot_be_stored(runs: Runs, runner: Runner) -> None:
    """A state that no snapshot can hold is refused, and leaves what is stored."""
    cp = runs.flow()
    with pytest.raises(UnserializableStateError, match="conn"):
        runner.do(cp, "submit", {"conn": (one for one in "x")}, run_id="x")
    with pytest.raises(InvalidValueError, match="reserved"):
        runner.do(cp, "submit", {"checkpoint_index": "x"}, run_id="x")
    assert cp.count() == 0
    runner(cp, {"n": 1}, run_id="x")
    before = stored(cp)
    with pytest.raises(UnserializableStateError):
        runner.do(cp, "submit", {"conn": (one for one in "x")}, run_id="x")
    assert stored(cp) == before


def test_state_as_read(runs: Runs, runner: Runner) -> None:
    """A position in the state, as `read` gives it, is not stored, and the dict keeps it."""
    cp, state = runs.flow(), {"n": 1, "checkpoint_index": 2}
    assert runner.do(cp, "submit", state, run_id="x").position == 0
    assert state == {"n": 1, "checkpoint_index": 2}
    assert cp.read("x") == {"n": 1, "checkpoint_index": 0}
    assert runner.do(cp, "submit", state, run_id="x").sequence == 1


def test_another_flows_run(runs: Runs, runner: Runner) -> None:
    """A run of another flow under this id is refused, finished or not."""
    cp, other = runs.flow(), runs.flow("d", "e")
    other.run({"n": 1}, run_id="x")
    for _ in "ab":
        before = stored(cp)
        with pytest.raises(FlowChangedError):
            runner.do(cp, "submit", {"n": 1}, run_id="x")
        assert stored(cp) == before
        other.submit({"n": 1}, run_id="x")


def test_flow_without_steps(runs: Runs, runner: Runner) -> None:
    """A flow without steps queues nothing."""
    cp = runs.empty_flow()
    with pytest.raises(FlowDefinitionError, match="no steps"):
        runner.do(cp, "submit", {}, run_id="x")
    assert cp.count() == 0


def test_handler_of_one_dict(tmp_path: Path, runner: Runner) -> None:
    """A user's own handler keeps one state, and cannot have a queue."""

    class Own:
        def __init__(self, _path: object) -> None: ...

        def read(self) -> dict[str, Any]:
            return {}

        def write(self, state: dict[str, Any]) -> None:
            raise AssertionError

    cp = CheckpointFlow(tmp_path / "one", handler=Own)
    cp.add_step(name="a")(lambda state: None)
    with pytest.raises(InvalidValueError, match="keeps one state"):
        runner.do(cp, "submit", {}, run_id="x")
    with pytest.raises(InvalidValueError, match="keeps one state"):
        runner.do(cp, "requeue", "x")


async def test_drained_flow_takes_runs(runs: Runs) -> None:
    """A drained flow queues runs, for those that work them off."""
    cp = runs.flow()
    await cp.adrain()
    assert (await cp.asubmit({}, run_id="x")).status == "queued"


def test_event_and_log(runs: Runs, runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    """Each queued run is an event, and a record of the log. A run that is left is neither."""
    caplog.set_level(logging.INFO)
    cp = runs.flow()
    for _ in "ab":
        runner.do(cp, "submit", {"n": 1}, run_id="x", due=datetime(2040, 1, 1, tzinfo=UTC))
    runner.do(cp, "submit", {"x": {"n": 1}, "y": {}, "z": {}})
    due = datetime(2040, 1, 1, tzinfo=UTC).timestamp()
    facts = {"flow": cp.name, "number": 1, "requeued": False}
    runs.events.sort(key=lambda event: event.run_id)  # type: ignore[attr-defined]
    assert runs.events == [
        RunSubmitted(run_id="x", due=due, **facts),  # type: ignore[arg-type]
        RunSubmitted(run_id="y", due=None, **facts),  # type: ignore[arg-type]
        RunSubmitted(run_id="z", due=None, **facts),  # type: ignore[arg-type]
    ]
    told = [(record.run_id, record.getMessage()) for record in caplog.records]  # type: ignore[attr-defined]
    assert sorted(told) == [(one, f"{cp.name}[{one!r}]: run 1 queued.") for one in "xyz"]
    caplog.clear()


@pytest.mark.parametrize(
    "options",
    [{"secret": "s" * 32}, {"verify": True, "keep_data": True}, {"keep": 3}],
    ids=["secret", "verify", "keep"],
)
def test_with_options(options: dict[str, Any], tmp_path: Path, runner: Runner) -> None:
    """Signed, verified and retained snapshots are queued as others are, large ones as well."""
    for place in ("runs/", "runs.db"):
        handler = "local" if place == "runs/" else "sqlite"
        cp = CheckpointFlow(f"{tmp_path}/{place}", handler, fsync=False, **options)
        cp.add_step(name="a")(lambda state: state.update(n=2))
        large = {"n": 1, "rows": list(range(40_000)), "when": {3, 4}, "deep": {"of": object}}
        runner.do(cp, "submit", {"n": 1}, run_id="small")
        runner.do(cp, "submit", {"large": large, "small": {"n": 1}})
        assert cp.count("status")["queued"] == 2
        assert cp.run(run_id="large") == {**large, "n": 2}
        assert cp.run({"n": 1}, run_id="small") == {"n": 2}
        cp.handler.close()


@pytest.mark.parametrize("kind", ["file", "pattern"])
def test_files_beside_one(kind: str, tmp_path: Path) -> None:
    """Runs with an id are queued beside the file of the run without one."""
    runs = Runs(tmp_path / "runs.pkl", kind="pattern")
    cp = runs.flow()
    if kind == "file":
        cp.run({"n": 0})
    cp.submit({"x": {"n": 1}, "y": {"n": 2}})
    assert sorted(header.run_id for header in cp.runs("queued") if header.run_id) == ["x", "y"]


@pytest.mark.parametrize("position", [0, 1])
def test_no_digest_is_stored(position: int, runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    """A state is not compared with one of which no digest is stored. The log says that it stays."""
    cp = make_run(runs, "failed", NAMES[position])
    put_header(cp.handler, "x", initial_digest=None)
    before = stored(cp)
    assert cp.submit({"n": 2}, run_id="x") == before[0]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Ignores the submitted state" in caplog.text
    assert stored(cp) == before
    caplog.clear()


def test_other_objects_of_one_type(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    """Values that are no plain data and differ are warned of, as by `run`."""
    cp = runs.flow()
    cp.submit({"of": Amount(1)}, run_id="x")
    assert cp.submit({"of": Amount(1)}, run_id="x").sequence == 1
    assert not caplog.records
    assert cp.submit({"of": Amount(2)}, run_id="x").sequence == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    caplog.clear()


def test_exact_comparison_needs_plain_data(runs: Runs, runner: Runner) -> None:
    """Under `conflict="raise"` only plain data is queued, as only that is compared exactly."""
    cp = runs.flow(conflict="raise")
    with pytest.raises(InvalidTypeError, match="Amount"):
        runner.do(cp, "submit", {"of": Amount(1)}, run_id="x")
    (result,) = runner.do(cp, "submit", {"x": {"of": [Amount(1)] * 20}})
    assert isinstance(result.error, InvalidTypeError)
    assert cp.count() == 0
    assert runner.do(cp, "submit", {"n": [1] * 99}, run_id="x").status == "queued"


def test_lock_that_stays_taken(runs: Runs, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose lock stays taken, though nothing is seen to be done, is given up in the end."""
    monkeypatch.setattr(submitting, "_MOST_SECONDS", 0.1)
    cp = runs.flow()
    with cp.handler.locked("x"), pytest.raises(RunInProgressError, match="this very process"):
        runner.do(cp, "submit", {"n": 1}, run_id="x")
    assert runner.do(cp, "submit", {"n": 1}, run_id="x").status == "queued"


def test_damaged_snapshot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged snapshot is not overwritten. Where an older one is kept, that one counts."""
    runs = Runs.at(tmp_path, "directory")
    cp = runs.flow("a", keep=2)
    cp.run({"n": 1}, run_id="x")
    cp.submit({"n": 1}, run_id="x")
    file = Path(cp.handler.locate("x"))
    file.write_bytes(file.read_bytes()[:-9])
    cp.submit({"n": 2}, run_id="x")
    assert stored(cp)[0].number == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    caplog.clear()
    alone = runs.flow("a")
    alone.submit({"n": 1}, run_id="y")
    other = Path(alone.handler.locate("y"))
    damaged = other.read_bytes()[:-9]
    other.write_bytes(damaged)
    with pytest.raises(CorruptSnapshotError):
        alone.submit({"n": 1}, run_id="y")
    assert other.read_bytes() == damaged


def test_finished_run_of_an_older_version(runs: Runs, runner: Runner) -> None:
    """A flow with `migrate=` queues a new run behind one of an older version with other steps."""
    runs.flow("old", "older").run({"n": 1}, run_id="x")
    cp = runs.flow(version=2, migrate=lambda _state, _version: None)
    header = runner.do(cp, "submit", {"n": 2}, run_id="x")
    assert (header.status, header.number, header.version) == ("queued", 2, 2)
    with pytest.raises(FlowChangedError):
        runner.do(runs.flow("d", "e"), "submit", {"n": 2}, run_id="x")

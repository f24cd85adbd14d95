"""Time left: by the progress of a step, by earlier runs, and never without evidence."""

from __future__ import annotations

import sqlite3
import statistics
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocheckpoint import CheckpointFlow, Header
from aiocheckpoint._engine.opening import new_header
from aiocheckpoint.handlers.sqlite._stored_rows import newest_finished, rows_of
from aiocheckpoint.look import ProgressView, RunView, StepView, open_store
from aiocheckpoint.look._expected import expected_of
from aiocheckpoint.look._following import ChangedRun
from aiocheckpoint.look._step_pace import StepPace
from aiocheckpoint.look._time_left import run_left, step_left, with_ends

if TYPE_CHECKING:
    from pathlib import Path

State = dict[str, Any]
NOW = 1_796_030_650.0
STEPS = ("load", "train", "report")
AMOUNTS = st.floats(0, 1e9) | st.integers(0, 10**9)
REPORTS = st.lists(st.tuples(AMOUNTS, st.none() | AMOUNTS, st.floats(0, 1e6)), max_size=8)


def paced(*reports: tuple[float, float], from_zero: bool = False, total: float = 100) -> StepPace:
    """The pace after reports of what is done, and when."""
    pace = StepPace(0.0, from_zero=from_zero)
    for done, at in reports:
        pace.report(done, total, at)
    return pace


def test_left_by_progress() -> None:
    """The rest takes as long as the part between the first report and the last."""
    pace = paced((0, 60), (10, 70), (20, 80))
    assert pace.seconds_left(80) == pytest.approx(80)
    assert pace.seconds_left(85) == pytest.approx(75)


def test_left_after_a_cursor() -> None:
    """What an earlier attempt has done is no evidence of the pace of this one."""
    pace = paced((80, 1), (85, 11), from_zero=False)
    assert pace.seconds_left(11) == pytest.approx(30)
    assert paced((80, 10)).seconds_left(10) is None


def test_left_by_one_report_of_a_first_attempt() -> None:
    """An attempt that began with nothing done says as much by its first report."""
    assert paced((25, 600), from_zero=True).seconds_left(600) == pytest.approx(1800)
    assert paced((25, 600), from_zero=True).seconds_left(900) == pytest.approx(1500)


@pytest.mark.parametrize(
    ("reports", "total"),
    [
        ((), 100),
        (((50, 5),), 100),
        (((10, 5), (10, 50)), 100),  # nothing gained
        (((0, 1), (30, 1.5)), 100),  # too short
        (((0, 1), (0.5, 9)), 100),  # too little
        (((0, 1), (100, 20)), 100),  # all is done
        (((0, 1), (120, 20)), 100),  # and more
        (((50, 1), (70, 20), (0, 21)), 100),  # it began anew
        (((0, 0), (50, 20)), 0),
    ],
)
def test_no_figure_without_evidence(reports: tuple[tuple[float, float], ...], total: float) -> None:
    """Too little, too short, or nothing at all says nothing."""
    assert paced(*reports, total=total).seconds_left(21.0) is None


def test_no_figure_without_total() -> None:
    """Without a total there is no rest. A new total begins anew."""
    pace = StepPace(0.0, from_zero=True)
    pace.report(10, None, 10)
    pace.report(20, None, 20)
    assert pace.seconds_left(20) is None
    pace.report(30, 100, 30)
    assert pace.seconds_left(30) is None
    pace.report(40, 100, 40)
    assert pace.seconds_left(40) == pytest.approx(60)


def test_silence() -> None:
    """A step that is silent gains no time by it, and its figure ends with the evidence."""
    pace = paced((0, 0), (10, 10), (20, 20))
    assert pace.seconds_left(29) == pytest.approx(71)
    assert pace.seconds_left(40) == pytest.approx(70)
    assert pace.seconds_left(59) == pytest.approx(70)
    assert pace.seconds_left(61) is None


def test_overdue() -> None:
    """A last part that takes longer than the others has no figure, and none below zero."""
    pace = paced((0, 0), (50, 50))
    assert pace.seconds_left(99) == pytest.approx(1)
    assert pace.seconds_left(101) is None


@settings(deadline=None, max_examples=60)
@given(REPORTS, st.booleans(), st.floats(0, 1e6))
def test_left_of_any_reports(
    reports: list[tuple[float, float | None, float]],
    from_zero: bool,  # noqa: FBT001 - hypothesis gives it
    later: float,
) -> None:
    """Whatever is reported, a figure is greater than zero, and not infinite."""
    pace = StepPace(0.0, from_zero=from_zero)
    for done, total, at in reports:
        pace.report(done, total, at)
    left = pace.seconds_left(later)
    assert left is None or 0 < left < float("inf")


def run_of(*, position: int = 1, began: float = NOW - 10, **facts: Any) -> RunView:  # noqa: ANN401
    """A run of three steps that took 5, 60 and 10 s before."""
    expected = {"load": 5.0, "train": 60.0, "report": 10.0}
    steps = tuple(
        StepView(
            index=index,
            name=name,
            status="done" if index < position else "running" if index == position else "waiting",
            expected=expected[name],
            began=began if index == position else 0.0,
        )
        for index, name in enumerate(STEPS)
    )
    run = RunView(
        flow="f", run_id=None, location="", status="running", position=position, step_count=3
    )
    return replace(run, **{"steps": steps, **facts})


def changed(run: RunView, index: int, **facts: Any) -> RunView:  # noqa: ANN401
    """The run with other facts of a step."""
    steps = list(run.steps)
    steps[index] = replace(steps[index], **facts)
    return replace(run, steps=tuple(steps))


def test_left_of_a_run() -> None:
    """The rest of the present step, and the later ones, as long as before."""
    assert run_left(run_of(), NOW) == 60
    assert run_left(run_of(position=0, began=NOW), NOW) == 75
    assert run_left(run_of(position=2, began=NOW - 4), NOW) == 6
    assert run_left(run_of(stop=2), NOW) == 50


def test_its_own_progress_counts_more() -> None:
    """A step that knows its own end is not judged by earlier runs."""
    run = changed(run_of(), 1, ends_at=NOW + 200)
    assert step_left(run.steps[1], NOW) == 200
    assert run_left(run, NOW) == 210
    assert run_left(changed(run, 1, expected=None), NOW) == 210
    assert step_left(run.steps[1], NOW + 300) is None


@pytest.mark.parametrize(
    "run",
    [
        changed(run_of(), 2, expected=None),
        changed(run_of(), 1, expected=None),
        changed(run_of(), 2, expected=-1.0),
        changed(run_of(), 1, expected=-1.0),
        changed(run_of(), 1, began=0.0),
        run_of(began=NOW - 100),  # much longer than before
        run_of(position=2, began=NOW - 10.5),  # the last one, and longer than before
        run_of(status="failed"),
        run_of(stale=True),
        run_of(step_count=None),
        run_of(steps=run_of().steps[:2]),
        run_of(stop=1),
        run_of(steps=()),
    ],
)
def test_no_figure_of_a_run(run: RunView) -> None:
    """A run that does not run, or has a step of which nothing is known, has no figure."""
    assert run_left(run, NOW) is None


def progress(done: float, at: float) -> ProgressView:
    """What the second step has stored of its progress."""
    return ProgressView(step="train", done=done, total=100.0, at=at)


def test_ends_of_a_stored_run() -> None:
    """The stored progress of a step says when it ends, and so when the run does."""
    run = with_ends(run_of(progress=progress(10.0, NOW)), NOW)
    assert [step.ends_at for step in run.steps] == [0.0, pytest.approx(NOW + 90), 0.0]
    assert run.ends_at == pytest.approx(NOW + 100)
    assert run.to_json()["ends_at_utc"] == "2026-11-30T09:25:50.000Z"
    known = with_ends(run_of(), NOW)
    assert (known.steps[1].ends_at, known.ends_at) == (0.0, NOW + 60)


def test_ends_by_other_runs() -> None:
    """A run that knows nothing of itself expects what others needed."""
    bare = run_of()
    bare = replace(bare, steps=tuple(replace(step, expected=None) for step in bare.steps))
    assert with_ends(bare, NOW).ends_at == 0.0
    run = with_ends(bare, NOW, expected={"train": 30.0, "report": 1.0})
    assert (run.ends_at, run.expected) == (NOW + 21, {"train": 30.0, "report": 1.0})
    assert with_ends(bare, NOW, expected={"train": 30.0}).ends_at == 0.0


def test_a_pace_that_is_lost() -> None:
    """A view that is given another pace says what that says, and nothing of before."""
    run = with_ends(run_of(progress=progress(10.0, NOW)), NOW)
    assert run.ends_at
    lost = with_ends(run, NOW, pace=StepPace(NOW, from_zero=False))
    assert lost.steps[1].ends_at == 0.0
    assert lost.ends_at == NOW + 60


@pytest.mark.parametrize("facts", [{"status": "failed"}, {"began": 0.0}])
def test_no_end_of_a_stored_run(facts: dict[str, Any]) -> None:
    """The progress of a run that does not run, or began who knows when, is no evidence."""
    run = with_ends(run_of(progress=progress(10.0, NOW), **facts), NOW)
    assert (run.ends_at, run.steps[1].ends_at) == (0.0, 0.0)


def slow_flow(place: str, *, fails: bool = False) -> CheckpointFlow:
    """A flow whose steps take more than 0.1 s together, and of which the second may fail."""
    cp = CheckpointFlow(place, fsync=False, name="f")

    @cp.add_step()
    def load(state: State) -> None:
        time.sleep(0.08)

    @cp.add_step()
    def train(state: State) -> None:
        time.sleep(0.04)
        if fails:
            raise TimeoutError

    return cp


def test_a_place_expects_what_its_last_run_took(tmp_path: Path) -> None:
    """The next run in a place knows how long the last finished one took, failed ones between."""
    place = str(tmp_path / "c.pkl")
    cp = slow_flow(place)
    cp.run({})
    first = cp.header()
    assert first is not None
    assert first.expected == {}
    with pytest.raises(TimeoutError):
        slow_flow(place, fails=True).run({})
    broken = cp.header()
    assert broken is not None
    assert broken.expected == {name: round(one, 3) for name, one in first.durations.items()}
    cp.run(checkpoint="load")
    again = cp.header()
    assert again is not None
    assert again.expected == broken.expected
    with open_store(tmp_path / "c.pkl") as store:
        run = store.run(None)
        assert expected_of(cp.handler.reader(), "f") == {}
    assert run.expected == again.expected
    assert [step.expected for step in run.steps] == list(again.expected.values())


def test_a_short_run_expects_nothing(tmp_path: Path) -> None:
    """Nobody waits for a run of less than 0.1 s, and the headers of its steps stay short."""
    cp = CheckpointFlow(tmp_path / "c.pkl", fsync=False)
    cp.add_step(name="only")(lambda state: None)
    cp.run({})
    cp.run({})
    header = cp.header()
    assert header is not None
    assert (header.number, header.expected) == (2, {})


def test_expected_of_large_flows(tmp_path: Path) -> None:
    """A header has no more entries than it has durations: 100, or 20 for more than 100 steps."""
    cp = CheckpointFlow(tmp_path / "c.pkl")
    for number in range(130):
        cp.add_step(name=f"step{number}")(lambda state: None)
    durations = {f"step{number}": 1.0 for number in range(130)}
    core: Any = cp._core  # noqa: SLF001
    stored = Header(flow="f", position=0, status="finished", durations=durations)
    made = new_header(core.settings, core.registry.steps, None, stored)
    assert list(made.expected) == [f"step{number}" for number in range(110, 130)]
    hostile = replace(stored, status="failed", expected=durations)
    assert len(new_header(core.settings, core.registry.steps, None, hostile).expected) == 20


def test_median_of_a_database(tmp_path: Path) -> None:
    """A database tells the median of the newest 20 finished runs of a flow."""
    place = f"sqlite:///{tmp_path}/runs.db"
    cp = slow_flow(place)
    for number in range(3):
        cp.run({}, run_id=f"run-{number}")
    with pytest.raises(TimeoutError):
        slow_flow(place, fails=True).run({}, run_id="broken")
    with open_store(place) as store, cp.handler.reader() as reader:
        found = expected_of(reader, "f")
        assert expected_of(reader, "other") == {}
        durations = [one.steps[0].seconds for one in store.runs() if one.status == "finished"]
    assert found["load"] == sorted(filter(None, durations))[1]
    assert set(found) == {"load", "train"}


def test_median_of_the_newest(tmp_path: Path) -> None:
    """Of many finished runs, each longer than the one before, the newest 20 count."""
    cp = CheckpointFlow(f"sqlite:///{tmp_path}/runs.db", fsync=False, name="f")
    cp.add_step(name="only")(lambda state: time.sleep(state["seconds"]))
    seconds: list[float] = []
    for number in range(25):
        cp.run({"seconds": number / 2000}, run_id=f"run-{number}")
        header = cp.header(f"run-{number}")
        assert header is not None
        seconds.append(header.durations["only"])
    with cp.handler.reader() as reader:
        assert expected_of(reader, "f") == {"only": statistics.median(seconds[-20:])}


def test_a_running_run_of_a_database(tmp_path: Path) -> None:
    """One that is looked at ends as the finished runs say, however it is looked at."""
    place = f"sqlite:///{tmp_path}/runs.db"
    slow_flow(place).run({}, run_id="one")
    seen: list[RunView | None] = []

    def look(state: State) -> None:
        seen.append(cp.show("two"))
        with open_store(place) as store:
            seen.extend((store.run("two"), ChangedRun(store, "two", None).look()))

    cp = CheckpointFlow(place, fsync=False, name="f")
    cp.add_step(name="load")(look)
    cp.add_step(name="train")(lambda state: None)
    cp.run({}, run_id="two")
    for run in seen:
        assert run is not None
        assert set(run.expected) == {"load", "train"}
        assert [step.expected for step in run.steps] == list(run.expected.values())
        assert run.ends_at > run.started_at
    cp.run({}, run_id="three", until="load")
    with open_store(place) as store:
        assert (store.run("two").expected, store.run("three").expected) == ({}, {})


class Recording(sqlite3.Connection):
    """Notes how SQLite carries out the statements."""

    plans: str = ""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401
        """Execute a statement, and ask for its plan."""
        explained = super().execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        self.plans += "".join(f"{row[3]}\n" for row in explained)
        return super().execute(sql, parameters)


def test_median_reads_few_rows(tmp_path: Path) -> None:
    """The newest finished runs are found by an index, in its order: no other row is read."""
    place = tmp_path / "runs.db"
    slow_flow(f"sqlite:///{place}").run({}, run_id="run-1")
    with closing(sqlite3.connect(place, factory=Recording)) as connection:
        assert len(rows_of(connection, newest_finished(connection, "f", 20))) == 1
        plans = [plan for plan in connection.plans.splitlines() if "runs" in plan]
    assert plans == [
        "SEARCH runs USING COVERING INDEX runs_by_status (flow=? AND status=?)",
        "SEARCH runs USING INTEGER PRIMARY KEY (rowid=?)",
    ]
    assert "TEMP B-TREE" not in connection.plans

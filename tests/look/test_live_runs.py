"""Live views: progress, large flows, hearing from the midst of a run, and counts of many runs."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, Pause, UnserializableStateError
from aiocheckpoint.events import Event, RunFinished, RunTerminated, StepProgressed, StepStarted
from aiocheckpoint.look import RunView, open_store
from aiocheckpoint.look._live_runs import LiveRun, LiveRuns, SlowStep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

State = dict[str, Any]
PATIENCE = 60.0


class BrokenError(Exception):
    """A step fails."""


def make_flow(place: Path | str, *hooks: Callable[[Event], object]) -> CheckpointFlow:
    """A flow of three steps, whose second does what the state says."""
    cp = CheckpointFlow(place, name="f", fsync=False, hooks=hooks)

    @cp.add_step()
    def one(state: State) -> None:
        pass

    @cp.add_step()
    async def two(state: State) -> None:
        if state.get("do") == "fail":
            raise BrokenError
        if state.get("do") == "pause":
            raise Pause("waits")

    @cp.add_step()
    def three(state: State) -> None:
        pass

    return cp


def short(run: RunView) -> tuple[str, list[str]]:
    """The status of a run, and of its steps."""
    return run.status, [step.status for step in run.steps]


def test_view_behind_each_event(tmp_path: Path) -> None:
    """Each event changes the view at once, and only a snapshot makes a step done."""
    live, seen = LiveRun("f", None, "here"), []

    def look(event: Event) -> None:
        live.take(event)
        seen.append((type(event).__name__, *short(live.view())))

    make_flow(tmp_path / "c.pkl", look).run({})
    first = ["running", "waiting", "waiting"]
    assert seen[:5] == [
        ("RunStarted", "running", first),
        ("SnapshotWritten", "running", first),
        ("StepStarted", "running", first),
        ("StepFinished", "running", first),
        ("SnapshotWritten", "running", ["done", "running", "waiting"]),
    ]
    assert seen[-2:] == [
        ("SnapshotWritten", "finished", ["done"] * 3),
        ("RunFinished", "finished", ["done"] * 3),
    ]
    assert json.loads(json.dumps(live.view().to_json()))["status"] == "finished"


def report(done: float, attempt: int = 1) -> StepProgressed:
    """What the second step reports."""
    return StepProgressed(
        flow="f",
        run_id=None,
        number=1,
        step="two",
        index=1,
        of=3,
        done=done,
        total=40.0,
        note="rows",
        attempt=attempt,
    )


def test_progress_of_the_step(tmp_path: Path) -> None:
    """Done, total and note are those of the last report, and stay when the step has failed."""
    live = LiveRun("f", None, "here")
    cp = make_flow(tmp_path / "c.pkl", live.take)
    amounts = []

    @cp.add_step(name="two", replace=True)
    def two(state: State) -> None:
        live.take(report(10.0))
        step = live.view().steps[1]
        amounts.append((step.done, step.total, step.note, step.began > 0, step.ends_at))
        live.take(report(20.0))
        live.take(report(30.0, attempt=2))
        raise BrokenError

    with pytest.raises(BrokenError):
        cp.run({})
    assert amounts == [(10.0, 40.0, "rows", True, 0.0)]
    step = live.view().steps[1]
    assert (step.status, step.done, step.began, step.ends_at) == ("failed", 20.0, 0.0, 0.0)
    assert [one.done for one in live.view().steps] == [None, 20.0, None]


def test_pace_of_the_step(tmp_path: Path) -> None:
    """A step that reports says when it ends, and so does its run where earlier ones tell more."""
    events: list[Event] = []
    make_flow(tmp_path / "c.pkl", events.append).run({})
    live = LiveRun("f", None, "here")
    start = next(index for index, one in enumerate(events) if "two" in getattr(one, "step", ""))
    for event in events[: start + 1]:
        live.take(event)
    live.expect({"one": 1.0, "two": 5.0, "three": 50.0})
    view = live.view()
    assert 50 < view.ends_at - view.steps[1].began <= 55.01
    assert view.expected == {"one": 1.0, "two": 5.0, "three": 50.0}
    assert [step.expected for step in view.steps] == [1.0, 5.0, 50.0]
    assert live.view().steps[1].ends_at == 0.0


def test_until_ends_earlier(tmp_path: Path) -> None:
    """A run that is to stop behind a step tells so, and expects no more than that."""
    live, stops = LiveRun("f", None, "here"), []
    cp = make_flow(tmp_path / "c.pkl", live.take, lambda _: stops.append(live.view().stop))
    cp.run({}, until="two")
    assert set(stops) == {2}
    assert (live.view().status, live.view().stopped_by) == ("stopped", "until")


@pytest.mark.parametrize("broken", [None, 3, 125])
def test_large_flow(tmp_path: Path, broken: int | None) -> None:
    """Of a flow of more than 100 steps a view has those that a header has."""
    live = LiveRun("f", None, "here")
    cp = CheckpointFlow(tmp_path / "c.pkl", name="f", fsync=False, hooks=[live.take])
    for number in range(130):

        def step(state: State, number: int = number) -> None:
            if number == broken:
                raise BrokenError

        cp.add_step(name=f"step{number}")(step)
    if broken is None:
        cp.run({})
    else:
        with pytest.raises(BrokenError):
            cp.run({})
    with open_store(tmp_path / "c.pkl") as store:
        kept, view = store.run(None), live.view()
    assert [(one.name, one.status, one.seconds) for one in view.steps] == [
        (one.name, one.status, one.seconds) for one in kept.steps
    ]
    assert (view.step, view.step_count, view.position) == (kept.step, 130, kept.position)


def test_hearing_from_the_midst(tmp_path: Path) -> None:
    """A view that heard no beginning tells what it has heard."""
    events: list[Event] = []
    with pytest.raises(BrokenError):
        make_flow(tmp_path / "c.pkl", events.append).run({"do": "fail"})
    start = next(index for index, one in enumerate(events) if "two" in getattr(one, "step", ""))
    live = LiveRun("f", None, "here")
    for event in events[start:]:
        live.take(event)
    view = live.view()
    assert (view.status, view.step, view.position, view.step_count) == ("failed", "two", 1, 3)
    assert [(step.index, step.name, step.status) for step in view.steps] == [(1, "two", "failed")]
    assert view.failure is not None
    assert view.failure.type.endswith("BrokenError")


def test_names_that_are_heard_late(tmp_path: Path) -> None:
    """Steps heard of one after the other stand side by side, with their times."""
    events: list[Event] = []
    make_flow(tmp_path / "c.pkl", events.append).run({})
    live = LiveRun("f", None, "here")
    for event in events[3:-2]:
        live.take(event)
    view = live.view()
    assert [step.name for step in view.steps] == ["one", "two", "three"]
    assert all(step.seconds is not None for step in view.steps[:2])


def test_terminated_before_its_start(tmp_path: Path) -> None:
    """A run that recovery has started too often tells where it stands, and why it ended."""
    live = LiveRun("f", "x", "here")
    cp = make_flow(f"{tmp_path}/runs/", live.take)
    cp.submit({}, run_id="x")
    assert short(live.view()) == ("queued", [])
    facts = {"step": "one", "reason": "started too often", "by": "starts"}
    live.take(RunTerminated(flow="f", run_id="x", number=1, **facts))  # type: ignore[arg-type]
    view = live.view()
    assert (view.status, view.step, view.terminated_by) == ("terminated", "one", "starts")
    assert view.termination == "started too often"


def test_an_end_without_an_event(tmp_path: Path) -> None:
    """A state that cannot be stored ends a run before its first step. The display is told so."""
    live = LiveRun("f", None, "here")
    cp = make_flow(tmp_path / "c.pkl", live.take)
    with pytest.raises(UnserializableStateError) as caught:
        cp.run({"lock": threading.Lock()})
    assert live.view().status == "running"
    live.ended(caught.value)
    view = live.view()
    assert (view.status, view.failure is not None) == ("failed", True)
    live.ended(BrokenError())
    assert live.view().failure == view.failure
    cp.run({})
    live.ended(BrokenError())
    assert live.view().status == "finished"


def test_other_runs_are_passed_over(tmp_path: Path) -> None:
    """A view of one run hears of no other one."""
    live = LiveRun("f", "x", "here")
    cp = make_flow(f"{tmp_path}/runs/", live.take)
    before = live.view()
    cp.run({}, run_id="y")
    assert live.view() == before
    cp.run({}, run_id="x")
    assert live.view().status == "finished"


def test_hostile_errors_in_a_view(tmp_path: Path) -> None:
    """An exception without a text, or whose text raises, is told like a stored one."""

    class OddError(Exception):
        def __str__(self) -> str:
            raise ValueError

    live = LiveRun("f", None, "here")
    cp = make_flow(tmp_path / "c.pkl", live.take)

    @cp.add_step(name="two", replace=True)
    def two(state: State) -> None:
        raise OddError

    with pytest.raises(OddError):
        cp.run({})
    with open_store(tmp_path / "c.pkl") as store:
        kept = store.run(None).failure
    shown = live.view().failure
    assert kept is not None
    assert shown is not None
    assert (shown.type, shown.message, shown.traceback) == (kept.type, kept.message, kept.traceback)


def test_reports_of_other_threads(tmp_path: Path) -> None:
    """Threads report while others look: each view is whole."""
    live, views = LiveRun("f", None, "here"), []
    begun, over = threading.Event(), threading.Event()

    def look() -> None:
        begun.set()
        while not over.is_set():
            views.append(live.view())

    looker = threading.Thread(target=look)
    looker.start()
    assert begun.wait(PATIENCE)
    cp = make_flow(tmp_path / "c.pkl", live.take)
    try:
        for _ in range(20):
            cp.run({})
    finally:
        over.set()
        looker.join(PATIENCE)
    assert {len(view.steps) for view in views} <= {0, 3}
    for view in views:
        done = [step.status == "done" for step in view.steps]
        assert done == sorted(done, reverse=True)


def test_counts_of_many_runs(tmp_path: Path) -> None:
    """Runs are counted by their ends, and the step that began first is the slowest."""
    runs = LiveRuns()
    cp = make_flow(f"sqlite:///{tmp_path}/runs.db", runs.take)
    seen = []

    @cp.add_step(name="three", replace=True)
    async def three(state: State) -> None:
        seen.append(runs.counts())

    async def all_of_them() -> None:
        states = [{}, {"do": "fail"}, {"do": "pause"}, {}]
        calls = [cp.arun(state, run_id=f"run-{index}") for index, state in enumerate(states)]
        await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(all_of_them())
    counts = runs.counts()
    assert (counts.running, counts.ended) == (0, {"finished": 2, "failed": 1, "paused": 1})
    assert counts.slowest is None
    assert 0 < counts.rate <= 4
    assert {one.running for one in seen} <= {1, 2, 3, 4}
    slowest = [one.slowest for one in seen]
    assert all(isinstance(one, SlowStep) and one.began > 0 and one.of == 3 for one in slowest)
    assert json.loads(json.dumps(seen[0].to_json()))["slowest"]["began_utc"]


def test_run_cancelled_behind_its_last_snapshot_has_finished(tmp_path: Path) -> None:
    """Runs are counted as they are stored: a sync step ends under a cancellation."""
    runs = LiveRuns()
    cp = CheckpointFlow(tmp_path / "runs.db", "sqlite", fsync=False)
    begun, may_end = threading.Event(), threading.Event()

    @cp.add_step()
    def one(state: State) -> None:
        begun.set()
        assert may_end.wait(PATIENCE)

    cp._core.settings.listeners.add(runs.take)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    async def cancel() -> None:
        task = asyncio.create_task(cp.arun({}, run_id="a"))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        task.cancel()
        await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert [header.status for header in cp.runs()] == ["finished"]
    assert runs.counts().ended == {"finished": 1}


def test_slowest_step_has_its_report() -> None:
    """The slowest step is shown with the last report of its progress."""
    runs = LiveRuns()
    for event in events_of_two_runs():
        runs.take(event)
    slowest = runs.counts().slowest
    assert slowest is not None
    assert (slowest.run_id, slowest.step, slowest.done, slowest.total) == ("a", "s", 3.0, None)
    runs.take(RunFinished(flow="f", run_id="a", number=1, status="paused", position=0, seconds=1.0))
    slowest = runs.counts().slowest
    assert slowest is not None
    assert (slowest.run_id, slowest.done) == ("b", None)
    runs.end_all("failed")
    runs.end_all("cancelled")
    counts = runs.counts()
    assert (counts.running, counts.ended, counts.slowest) == (0, {"paused": 1, "failed": 1}, None)


def events_of_two_runs() -> list[Event]:
    """The beginning of two runs, of which the first has reported."""

    def facts(run_id: str) -> dict[str, Any]:
        return {"flow": "f", "run_id": run_id, "number": 1, "step": "s", "index": 0, "of": 1}

    return [
        StepStarted(**facts("a"), attempt=1),
        StepStarted(**facts("b"), attempt=1),
        StepProgressed(**facts("a"), done=3.0, total=None, note=None, attempt=1),
        StepProgressed(**facts("c"), done=1.0, total=None, note=None, attempt=1),
    ]

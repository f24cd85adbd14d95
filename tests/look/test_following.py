"""Which runs have changed since the last look: claims, steps, ends and deletions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from stored_runs import queue_run

from aiocheckpoint import CheckpointFlow, current_step
from aiocheckpoint._engine.claimed_runs import begin_looks
from aiocheckpoint.errors import RunNotFoundError
from aiocheckpoint.handlers._run_filter import ALL, RunFilter
from aiocheckpoint.look import RunView, Store, _following, open_store
from aiocheckpoint.look._following import ChangedRun, ChangedRuns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

State = dict[str, Any]
Look = "Callable[[], list[tuple[str | None, str]]]"
LONG = "long " * 50
PLACES = {"database": "sqlite:///{}/o.db", "directory": "{}/runs/"}


class BrokenError(Exception):
    """A step fails."""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The place of a store."""
    return f"{PLACES[request.param].format(tmp_path)}"


def options_of(place: str) -> dict[str, Any]:
    """The options of a flow on a store. A server has no flushes to leave out."""
    return {} if place.startswith("postgresql:") else {"fsync": False}


def make_flow(place: str, during: Callable[[], object] = lambda: None) -> CheckpointFlow:
    """A flow of two steps, the second of which may fail."""
    cp = CheckpointFlow(place, **options_of(place))

    @cp.add_step()
    def first(state: State) -> None:
        during()

    @cp.add_step()
    def second(state: State) -> None:
        during()
        if state.get("fails"):
            raise BrokenError

    return cp


def short(runs: list[RunView]) -> list[tuple[str | None, str, str | None]]:
    """Run, status and step of each view."""
    return [(run.run_id, run.status, run.step) for run in runs]


def test_runs_of_a_store(place: str) -> None:
    """Each look gives what has changed, and nothing twice."""
    queue_run(make_flow(place), "queued", {})
    with open_store(place) as store:
        changed = ChangedRuns(store, None, ALL)
        looks: list[Any] = []
        cp = make_flow(place, lambda: looks.append(short(changed.look())))
        cp.run({}, run_id="new")
        assert looks == [[("new", "running", "first")], [("new", "running", "second")]]
        assert short(changed.look()) == [("new", "finished", None)]
        assert changed.look() == []
        with pytest.raises(BrokenError):
            cp.run({"fails": True}, run_id="new")
        assert looks[2:] == [[("new", "running", "first")], [("new", "running", "second")]]
        assert short(changed.look()) == [("new", "failed", "second")]
        cp.terminate("queued", "no such customer")
        assert short(changed.look()) == [("queued", "terminated", "first")]
        cp.delete("queued")
        assert short(changed.look()) == [("queued", "deleted", None)]
        cp.delete("new")
        assert short(changed.look()) == [("new", "deleted", None)]
        assert changed.look() == []


def test_a_claim_is_a_change(place: str) -> None:
    """A run that is claimed has stored nothing yet, and is shown as running, with its owner."""
    cp = make_flow(place)
    with pytest.raises(BrokenError):
        cp.run({"fails": True}, run_id="broken")
    with open_store(place) as store:
        changed = ChangedRuns(store, None, ALL)
        assert changed.look() == []
        seen: list[RunView] = []
        again = make_flow(place, lambda: seen.extend(changed.look()))
        with pytest.raises(BrokenError):
            again.resume("broken")
        assert [(run.status, run.step, run.starts) for run in seen] == [("running", "second", 2)]
        assert seen[0].owner is not None
        assert short(changed.look()) == [("broken", "failed", "second")]


def test_a_filter_chooses_the_runs(place: str) -> None:
    """Runs that a filter does not choose are left out, and one that it chose no more is told."""
    cp = make_flow(place)
    cp.run({}, run_id="other")
    with open_store(place) as store:
        changed = ChangedRuns(store, None, RunFilter(statuses=frozenset({"failed"})))
        assert changed.look() == []
        cp.run({}, run_id="fine")
        assert changed.look() == []
        with pytest.raises(BrokenError):
            cp.run({"fails": True}, run_id="broken")
        assert short(changed.look()) == [("broken", "failed", "second")]
        cp.terminate("broken", "enough")
        assert short(changed.look()) == [("broken", "terminated", "second")]
        assert changed.look() == []


def test_a_look_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a database the unfinished and the newest runs are looked at, and old ones told once."""
    place = PLACES["database"].format(tmp_path)
    monkeypatch.setattr(_following, "MOST_UNFINISHED", 3)
    monkeypatch.setattr(_following, "MOST_NEW", 2)
    cp = make_flow(place)
    for number in range(6):
        cp.run({}, run_id=f"old-{number}")
    with open_store(place) as store:
        changed = ChangedRuns(store, None, ALL)
        assert changed.look() == []
        cp.delete("old-5")
        assert changed.look() == []  # "old-3" is among the newest now, and has not changed.
        for number in range(4):
            queue_run(cp, f"queued-{number}", {}, started_at=9e9 + number, written_at=9e9)
        told = {run for run, _, _ in short(changed.look())}
        assert told == {"queued-1", "queued-2", "queued-3"}
        cp.terminate("queued-1", "enough")
        assert ("queued-1", "terminated", "first") in short(changed.look())


def test_changed_files_alone_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory every change is told, and a run whose file stays is not read again."""
    monkeypatch.setattr(_following, "MOST_NEW", 2)
    cp = make_flow(PLACES["directory"].format(tmp_path))
    for number in range(6):
        cp.run({}, run_id=f"old-{number}")
    queue_run(cp, LONG, {})
    for path in (tmp_path / "runs").iterdir():
        os.utime(path, (1_000_000_000, 1_000_000_000))
    looked: list[str | None] = []
    look = Store.run

    def noted(store: Store, run_id: str | None, **options: Any) -> RunView:  # noqa: ANN401
        looked.append(run_id)
        return look(store, run_id, **options)

    monkeypatch.setattr(Store, "run", noted)
    with open_store(f"{tmp_path}/runs/") as store:
        changed = ChangedRuns(store, None, ALL)
        assert changed.look() == []
        assert changed.look() == []
        assert looked == []
        cp.run({}, run_id="old-0")
        assert short(changed.look()) == [("old-0", "finished", None)]
        assert looked == ["old-0"]
        cp.delete("old-1")  # It is not among those that began last.
        assert changed.look() == []
        cp.delete("old-0")
        assert short(changed.look()) == [("old-0", "deleted", None)]
        cp.terminate(LONG, "enough")  # Its file does not say whose it is.
        assert short(changed.look()) == [(LONG, "terminated", "first")]


def test_one_run(place: str) -> None:
    """One run is followed step by step, and its deletion is an error."""
    cp = make_flow(place)
    cp.run({}, run_id="other")
    queue_run(cp, "mine", {})
    with open_store(place) as store:
        changed = ChangedRun(store, "mine", None)
        first = changed.look()
        assert first is not None
        assert first.status == "queued"
        assert changed.look() is None
        seen: list[RunView | None] = []
        make_flow(place, lambda: seen.append(changed.look())).run({}, run_id="mine")
        assert [run and (run.status, run.step) for run in seen] == [
            ("running", "first"),
            ("running", "second"),
        ]
        cp.run({}, run_id="other")
        last = changed.look()
        assert last is not None
        assert last.status == "finished"
        assert changed.look() is None
        cp.delete("mine")
        with pytest.raises(RunNotFoundError):
            changed.look()


def test_progress_of_one_run(place: str) -> None:
    """A new record of progress is a change. One that is stored already is none."""
    seen: list[float | None] = []

    def look() -> None:
        run = changed.look()
        seen.append(None if run is None or run.progress is None else run.progress.done)

    def work(state: State) -> None:
        changed.look()
        for done in (1, 2):
            current_step().progress(done, cursor={"page": done})
            store_cursors()
            look()
            look()

    cp = CheckpointFlow(place, **options_of(place))
    cp.add_step(name="pages")(work)
    queue_run(cp, "mine", {})
    with open_store(place) as store:
        changed = ChangedRun(store, "mine", None)
        cp.run({}, run_id="mine")
    assert seen == [1, None, 2, None]


def store_cursors() -> None:
    """Have the cursors stored that are new, and wait for it."""
    for look in begin_looks():
        look.result()

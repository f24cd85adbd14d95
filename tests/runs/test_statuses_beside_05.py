"""Queued, terminated and due runs on one store with processes of 0.5.0, which know none of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from locations import program
from neighbour_script import neighbour_flow
from rolling_deploys import LOCATIONS, OLD, installed
from stored_runs import queue_run, terminate_run

import aiocheckpoint
from aiocheckpoint.handlers._query import Query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._model.header import Header

SCRIPT = program("neighbour_script.py")
LATER = time.time() + 3_000.0


class Neighbours:
    """A store of this release, and processes of 0.5.0 beside it."""

    def __init__(self, folder: Path, kind: str) -> None:
        """Unpack 0.5.0."""
        self._path = installed(folder)[OLD]
        (folder / "runs").mkdir()
        self._place = LOCATIONS[kind].format(folder)
        self.cp: CheckpointFlow = neighbour_flow(self._place)

    def kill_in(self, run_id: str) -> None:
        """Let a process of this release be killed in the first step of a run."""
        path = str(Path(aiocheckpoint.__file__).parents[1])
        line = [sys.executable, str(SCRIPT), self._place, "run", run_id, "kill"]
        ended = subprocess.run(line, env={**os.environ, "PYTHONPATH": path}, check=False)
        assert ended.returncode == -signal.SIGKILL

    def old(self, *words: str) -> dict[str, Any]:
        """Let a process of 0.5.0 do something."""
        line = [sys.executable, str(SCRIPT), self._place, *words]
        said = subprocess.check_output(line, env={**os.environ, "PYTHONPATH": self._path})
        found: dict[str, Any] = json.loads(said)
        return found

    def failed(self, run_id: str, due: float | None) -> None:
        """Leave a run that failed in its second step, and is due at a time."""
        cp = neighbour_flow(self._place, breaks=True)
        with pytest.raises(ConnectionError):
            cp.run({}, run_id=run_id)
        self.change(run_id, due=due)

    def change(self, run_id: str, **ending: Any) -> None:  # noqa: ANN401
        """Store another ending of a run."""
        handler = self.cp.handler
        with handler.locked(run_id) as lock, handler.stored(run_id) as found:
            header = found.header.ended(ending.pop("status", "failed"), at=time.time(), **ending)
            state = found.state()
            handler.replace(
                run_id, lambda target: handler.codec.write(header, state, None, target), lock=lock
            )

    def headers(self) -> dict[str | None, Header]:
        """The headers of all runs."""
        return {one.run_id: one for one in self.cp.runs()}

    def due(self, now: float) -> list[str | None]:
        """The runs that recovery may take at a time."""
        return [one.run_id for one in self.cp.handler.runs(Query(due_before=now, unowned=True))]


@pytest.fixture(params=["sqlite", "directory"])
def neighbours(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Neighbours]:
    """A store of each kind."""
    made = Neighbours(tmp_path, request.param)
    yield made
    made.cp.handler.close()


def test_recovery_of_05_leaves_them_alone(neighbours: Neighbours) -> None:
    """0.5 lists them as paused, and resumes the runs alone that it has a word for."""
    cp = neighbours.cp
    queue_run(cp, "queued", {"n": 1})
    queue_run(cp, "later", {"n": 1}, due=LATER)
    cp.run({}, run_id="ended", until="one")
    terminate_run(cp, "ended", "step")
    cp.run({}, run_id="asks", until="one")
    neighbours.change("asks", status="paused", pause="wait", due=5.0)
    cp.run({}, run_id="again", until="one")
    neighbours.change("again", status="stopped", stopped_by="requeue")
    neighbours.failed("broken", LATER)
    before = neighbours.headers()
    said = neighbours.old("recover")
    statuses = {run_id: status for run_id, (status, *_) in said["before"].items()}
    left_alone = {"queued", "later", "ended", "asks"}
    assert statuses == {
        **dict.fromkeys(left_alone, "paused"),
        "again": "stopped",
        "broken": "failed",
    }
    assert said["states"].keys() == {"again", "broken"}
    after = neighbours.headers()
    assert {one: after[one] for one in left_alone} == {one: before[one] for one in left_alone}
    assert (after["ended"].status, after["ended"].terminated_by) == ("terminated", "step")
    assert (after["later"].status, after["later"].due) == ("queued", LATER)
    assert neighbours.due(time.time()) == ["asks", "queued"]


def test_run_that_05_takes_by_hand(neighbours: Neighbours) -> None:
    """0.5 runs a queued run that somebody asks for, from its first step, and finishes it."""
    queue_run(neighbours.cp, "x", {"n": 1}, due=LATER)
    said = neighbours.old("run", "x")
    assert said["states"] == {"x": {"n": 1, "trail": ["one", "two"]}}
    header = neighbours.headers()["x"]
    assert (header.status, header.number, header.due) == ("finished", 1, None)
    assert neighbours.due(LATER + 1) == []


def test_run_that_broke_in_05_is_due_at_once(neighbours: Neighbours) -> None:
    """0.5 stores no time, so that a run that broke there is due, whatever it was before."""
    queue_run(neighbours.cp, "x", {"n": 1}, due=LATER)
    neighbours.failed("y", due=None)
    neighbours.old("run", "x", "break")
    header = neighbours.headers()["x"]
    assert (header.status, header.due) == ("failed", None)
    assert set(neighbours.due(time.time())) == {"x", "y"}
    assert neighbours.cp.run(run_id="x")["trail"] == ["one", "two"]


def test_killed_in_the_first_step(neighbours: Neighbours) -> None:
    """A queued run whose process was killed in its first step is due, whatever its time was."""
    queue_run(neighbours.cp, "x", {"n": 1}, due=LATER)
    neighbours.kill_in("x")
    header = neighbours.headers()["x"]
    assert (header.status, header.starts, header.killed, header.owner) == ("running", 1, 1, None)
    assert neighbours.due(time.time()) == ["x"]
    said = neighbours.old("recover")
    assert said["states"] in ({}, {"x": {"n": 1, "trail": ["one", "two"]}})
    assert neighbours.cp.run(run_id="x", once=True) == {"n": 1, "trail": ["one", "two"]}
    assert neighbours.headers()["x"].number == 1

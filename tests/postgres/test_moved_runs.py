"""Runs are moved from SQLite and files to PostgreSQL, and go on there as the same runs."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import CheckpointFlow, Pause, copy_runs, current_step, open_handler
from aiocheckpoint.errors import (
    CorruptSnapshotError,
    InvalidValueError,
    RunInProgressError,
    StorageError,
    UntrustedSnapshotError,
)
from aiocheckpoint.handlers._query import Query

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

SECRET = "s" * 40


def make_flow(place: str, **options: Any) -> CheckpointFlow[dict[str, Any]]:  # noqa: ANN401
    """Give a flow "orders" of three steps, which break, pause and note their keys."""
    cp = CheckpointFlow[dict[str, Any]](place, name="orders", **options)

    @cp.add_step()
    def take(state: State) -> None:
        state["taken"] = True

    @cp.add_step()
    def pay(state: State) -> None:
        current_step().progress(1, 3, cursor={"page": 7})
        if state.get("breaks") and current_step().attempt == 1:
            raise KeyError("breaks")
        state["key"] = current_step().idempotency_key

    @cp.add_step()
    def send(state: State) -> None:
        if state.get("asks") and "by" not in state:
            raise Pause("who?")
        state["sent"] = True

    return cp


def fill(cp: CheckpointFlow[dict[str, Any]]) -> None:
    """Store a run of each status."""
    cp.run({}, run_id="finished")
    cp.run({}, run_id="finished")  # Its number is 2 now.
    cp.run({}, run_id="stopped", until="take")
    with pytest.raises(KeyError, match="breaks"):
        cp.run({"breaks": True}, run_id="failed")
    cp.run({"asks": True}, run_id="paused")
    cp.submit({"n": 1}, run_id="queued")
    cp.submit({"n": 2}, run_id="later", due=timedelta(hours=1))
    cp.terminate("later", "enough")
    cp.submit({"n": 3}, run_id="due later", due=timedelta(hours=1))
    cp.handler.write({"by": "hand"}, "written")
    cp.handler.close()


@pytest.fixture(params=["database", "directory"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the place of the old store."""
    database = f"sqlite:///{tmp_path}/orders.db"
    return database if request.param == "database" else f"{tmp_path}/orders/"


def test_all_statuses(old: str, database_url: str) -> None:
    """Each run has the same header and state there, and a second call copies nothing."""
    one, two = make_flow(old), make_flow(database_url)
    fill(one)
    before = {header.run_id: header for header in one.runs()}
    assert copy_runs(old, database_url) == len(before) == 8
    assert copy_runs(old, database_url) == 0
    assert {header.run_id: header for header in two.runs()} == before
    assert {header.run_id: header for header in one.runs()} == before
    for run_id in before:
        assert two.handler.read(run_id) == one.handler.read(run_id)
    assert two.handler.read_progress("failed") is not None
    one.handler.close()
    two.handler.close()


def test_they_go_on(old: str, database_url: str) -> None:
    """Unfinished runs end there as they would have ended here, with the same keys."""
    one, two = make_flow(old), make_flow(database_url)
    fill(one)
    copy_runs(old, database_url)
    ends = []
    for cp in (one, two):
        states = [cp.resume("stopped"), cp.resume("failed"), cp.resume("paused", {"by": "Ann"})]
        states += [result.state for result in cp.work(until_empty=True) if result.state]
        ends.append(states)
        cp.handler.close()
    assert ends[0] == ends[1]
    assert len({state["key"] for state in ends[0]}) == len(ends[0]) == 4
    assert copy_runs(old, database_url) == 0
    two.handler.write({"by": "others"}, "written")
    with pytest.raises(InvalidValueError, match="has gone on since it was copied") as info:
        copy_runs(old, database_url)
    assert "written" in info.value.__notes__[0]
    assert two.handler.read("written") == {"by": "others"}
    two.handler.close()


def test_run_in_progress(old: str, database_url: str) -> None:
    """A run under way is left out by name, all others are copied, and a later call copies it."""
    cp = CheckpointFlow[dict[str, Any]](old, name="orders")
    cp.handler.write({"n": 1}, "other")
    raised: list[RunInProgressError] = []

    @cp.add_step()
    def move(state: State) -> None:
        with pytest.raises(RunInProgressError) as info:
            copy_runs(old, database_url)
        raised.append(info.value)

    cp.run({}, run_id="busy")
    (note,) = raised[0].__notes__
    assert note.startswith("1 runs were copied. Refused, and left as they were: ")
    assert "busy" in note
    assert "other" not in note.replace("others", "")
    there = open_handler(database_url, name="orders")
    assert there.read("other") == {"n": 1}
    assert there.header("busy") is None
    assert copy_runs(old, database_url) == 1
    assert there.header("busy").finished
    there.close()


KILLED = """
import os, sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1], name="orders")
cp.add_step(name="take")(lambda state: state.update(taken=True))
cp.add_step(name="pay")(lambda state: os.kill(os.getpid(), 9))
cp.run({"n": 1}, run_id="killed")
"""


def test_killed_run(old: str, database_url: str) -> None:
    """A run whose process was killed is nobody's, and goes on there behind its last step."""
    done = subprocess.run([sys.executable, "-c", KILLED, old], check=False)
    assert done.returncode == -9
    assert copy_runs(old, database_url) == 1
    two = CheckpointFlow[dict[str, Any]](database_url, name="orders")
    two.add_step(name="take")(lambda state: state.update(twice=True))
    two.add_step(name="pay")(lambda state: state.update(paid=True))
    assert two.resume("killed") == {"n": 1, "taken": True, "paid": True}
    two.handler.close()


def test_signed_runs(old: str, database_url: str) -> None:
    """Signed runs need the secret, and are signed there as well."""
    make_flow(old, secret=SECRET).run({}, run_id="a")
    with pytest.raises(InvalidValueError, match=r"is signed.*Pass the secret"):
        copy_runs(old, database_url)
    with pytest.raises(UntrustedSnapshotError):
        copy_runs(old, database_url, secret="t" * 40)
    assert copy_runs(old, database_url, secret=SECRET) == 1
    there = make_flow(database_url, secret=SECRET)
    header = there.header("a")
    assert header is not None
    assert header.signed_by is not None
    there.handler.close()


def test_damaged_run(tmp_path: Path, database_url: str) -> None:
    """A damaged run is named, and the others are copied."""
    cp = make_flow(f"{tmp_path}/orders/")
    for run_id in ("a", "b"):
        cp.run({}, run_id=run_id)
    path = tmp_path / "orders" / "a.pkl"
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptSnapshotError) as info:
        copy_runs(f"{tmp_path}/orders/", database_url)
    assert str(path) in info.value.__notes__[0]
    there = open_handler(database_url, name="orders")
    assert [header.run_id for header in there.runs(Query())] == ["b"]
    there.close()


def test_refused_places(tmp_path: Path, database_url: str) -> None:
    """A store is not copied to itself, one that is not there has no runs, and a run is no store."""
    place = f"sqlite:///{tmp_path}/orders.db"
    with pytest.raises(StorageError, match="nothing is stored"):
        copy_runs(place, database_url)
    handler = open_handler(place)
    handler.write({}, "a")
    with pytest.raises(InvalidValueError, match="to itself"):
        copy_runs(place, f"{tmp_path}/orders.db")
    with pytest.raises(InvalidValueError, match="location of one run"):
        copy_runs(handler.locate("a").replace("sqlite:///", ""), database_url)
    handler.close()


def test_back_again(tmp_path: Path, database_url: str) -> None:
    """The other way works as well, as for a copy of one server on a laptop."""
    one = make_flow(database_url)
    fill(one)
    assert copy_runs(database_url, f"sqlite:///{tmp_path}/copy.db") == 8
    two = make_flow(f"sqlite:///{tmp_path}/copy.db")
    begun = time.time()
    assert {h.run_id: h.status for h in one.runs()} == {h.run_id: h.status for h in two.runs()}
    assert all(header.written_at < begun for header in two.runs())
    two.handler.close()

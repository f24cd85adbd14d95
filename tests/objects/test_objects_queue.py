"""The queue, pauses, progress and terminations on an object store, in one process and in two."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from killed_workers_script import first_state, last_state, make_flow, run_id
from locations import PROGRAMS, with_support

from aiocheckpoint import CheckpointFlow, Pause, RunTerminatedError, current_step
from aiocheckpoint.errors import StateConflictError

if TYPE_CHECKING:
    from pathlib import Path

    from support import State

WORKER = """
import sys
sys.path.append(sys.argv[2])
from killed_workers_script import make_flow
done = 0
for result in make_flow(sys.argv[1], lambda *_: None).work(until_empty=True, limit=20):
    assert result.error is None, result.error
    done += 1
print(done)
"""


def test_two_workers(bucket_url: str, tmp_path: Path) -> None:
    """Two processes of workers share the queue, and each run is begun and ended once."""
    cp = make_flow(bucket_url, lambda *_: None)
    submitted = cp.submit((run_id(n), first_state(n)) for n in range(100))
    assert [result.error for result in submitted] == [None] * 100
    assert cp.count(by="status")["queued"] == 100
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, bucket_url, str(PROGRAMS)],
            stdout=subprocess.PIPE,
            text=True,
            env=with_support(),
        )
        for _ in range(2)
    ]
    outputs = [worker.communicate(timeout=100)[0] for worker in workers]
    assert sum(map(int, outputs)) == 100
    headers = cp.runs()
    assert {(header.status, header.number) for header in headers} == {("finished", 1)}
    assert [cp.read(run_id(n))["trail"] for n in range(100)] == [
        last_state(n)["trail"] for n in range(100)
    ]


def test_due(bucket_url: str) -> None:
    """A run that is due later is left alone until then."""
    cp: CheckpointFlow[State] = CheckpointFlow(bucket_url, name="f")
    cp.add_step(name="a")(lambda state: None)
    cp.submit({"now": {}})
    cp.submit({"later": {}}, due=timedelta(seconds=2))
    assert [one.run_id for one in cp.work(until_empty=True)] == ["now"]
    time.sleep(2)
    assert [one.run_id for one in cp.work(until_empty=True)] == ["later"]


def test_submitted_twice(bucket_url: str) -> None:
    """The same run is queued once, and another state for it is a conflict."""
    cp: CheckpointFlow[State] = CheckpointFlow(bucket_url, name="f")
    cp.add_step(name="a")(lambda state: None)
    for _ in range(2):
        (result,) = cp.submit({"x": {"n": 1}})
        assert result.error is None
    (result,) = cp.submit({"x": {"n": 2}})
    assert isinstance(result.error, StateConflictError)
    assert cp.count() == 1


def test_pause(bucket_url: str) -> None:
    """A paused run is listed as such, is left alone, and goes on with an answer."""
    cp: CheckpointFlow[State] = CheckpointFlow(bucket_url, name="f")

    @cp.add_step()
    def ask(state: State) -> None:
        if "by" not in state:
            raise Pause("who?")

    cp.run({}, run_id="x")
    assert cp.count(by="status")["paused"] == 1
    assert list(cp.work(until_empty=True)) == []
    assert cp.resume("x", update={"by": "Ann"})["by"] == "Ann"


def test_progress(bucket_url: str) -> None:
    """The cursor of a step that broke is there when it goes on."""
    cp: CheckpointFlow[State] = CheckpointFlow(bucket_url, name="f")
    seen = list[object]()

    @cp.add_step()
    def count(state: State) -> None:
        step = current_step()
        seen.append(step.cursor)
        if step.cursor is None:
            step.progress(3, 10, cursor={"page": 3})
            raise ConnectionError

    with pytest.raises(ConnectionError):
        cp.run({}, run_id="x")
    cp.run(run_id="x")
    assert seen == [None, {"page": 3}]


def test_terminated_from_another_process(bucket_url: str) -> None:
    """A run under way in another process is terminated, and stays so until it is queued again."""
    code = """
import asyncio, sys
from aiocheckpoint import CheckpointFlow
cp = CheckpointFlow(sys.argv[1], name="f")
@cp.add_step()
async def wait(state):
    print("in", flush=True)
    await asyncio.sleep(60)
try:
    cp.run({}, run_id="x")
except Exception as error:
    print(type(error).__name__)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, bucket_url], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline().strip() == "in"
        cp: CheckpointFlow[State] = CheckpointFlow(bucket_url, name="f")
        cp.add_step(name="wait")(lambda state: None)
        asyncio.run(cp.aterminate("x", "enough", wait=30))
        assert owner.communicate(timeout=30)[0].strip() == "RunTerminatedError"
    with pytest.raises(RunTerminatedError, match="enough"):
        cp.run({}, run_id="x")
    cp.requeue("x")
    assert [one.run_id for one in cp.work(until_empty=True)] == ["x"]


@pytest.mark.parametrize("keep", [3, "all"])
def test_kept_snapshots(keep: Any, bucket_url: str) -> None:  # noqa: ANN401
    """Older snapshots are there to go back to, and no more than were asked for."""
    cp: CheckpointFlow[State] = CheckpointFlow(bucket_url, name="f", keep=keep)
    for name in "abcde":
        cp.add_step(name=name)(lambda state, name=name: state.update(last=name))
    cp.run({}, run_id="x")
    history = cp.handler.history("x")
    assert len(history) == (3 if keep == 3 else 6)
    state = cp.run({}, run_id="x", checkpoint="e")
    assert state["last"] == "e"

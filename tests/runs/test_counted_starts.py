"""A claimed run is listed as running at once; starts at its step, and killed ones, are counted."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kill_checks import needs_fork

from aiocheckpoint import (
    CheckpointFlow,
    DrainingError,
    FlowChangedError,
    Pause,
    PauseConflictError,
    StateConflictError,
)
from aiocheckpoint.testing import MemoryStateHandler

if TYPE_CHECKING:
    from run_factories import Runs
    from support import Runner, State

    from aiocheckpoint import Header

SCRIPT = Path(__file__).parents[1] / "programs" / "start_script.py"
PLACES = ("runs.db", "runs/", "one.pkl")


def seen(cp: CheckpointFlow, run_id: str = "x") -> Header:
    """Give the header of a run, which a list gives as well."""
    header = cp.header(run_id)
    assert header is not None
    (listed,) = [one for one in cp.runs() if one.run_id == run_id]
    assert facts(listed) == facts(header)
    assert [one.run_id for one in cp.runs(header.status)] == [run_id]
    return header


def facts(header: Header) -> tuple[object, ...]:
    """Give what a store knows beside a snapshot."""
    return header.status, header.starts, header.killed, header.owner is not None


def break_in_b(runs: Runs, runner: Runner, times: int = 1) -> CheckpointFlow:
    """Let a run break in its second step."""
    cp = runs.flow()
    runs.faults["step b"] = ConnectionError("broken on purpose")
    for _ in range(times):
        with pytest.raises(ConnectionError):
            runner(cp, {"n": 1}, run_id="x")
    runs.faults.clear()
    return cp


def test_starts_of_a_failing_run(runs: Runs, runner: Runner) -> None:
    """Each start at the step counts, and the count ends with the step."""
    cp = break_in_b(runs, runner, 3)
    assert facts(seen(cp)) == ("failed", 3, 0, False)
    runs.faults["step c"] = ConnectionError("broken on purpose")
    with pytest.raises(ConnectionError):
        runner(cp, run_id="x")
    assert facts(seen(cp)) == ("failed", 1, 0, False)
    runs.faults.clear()
    runner(cp, run_id="x")
    assert facts(seen(cp)) == ("finished", 0, 0, False)


@pytest.mark.parametrize("status", ["failed", "cancelled", "stopped"])
async def test_running_at_once(runs: Runs, status: str) -> None:
    """A resumed run is listed as running, with its owner, before its next snapshot."""
    cp = runs.flow()
    runs.faults["step b"] = (
        asyncio.CancelledError() if status == "cancelled" else ConnectionError("broken")
    )
    until = "a" if status == "stopped" else None
    with pytest.raises(BaseException) if until is None else nullcontext():  # noqa: PT011
        await cp.arun({"n": 1}, run_id="x", until=until)
    runs.faults.clear()
    assert seen(cp).status == status
    looks: list[Header] = []
    bare = cp.handler.stored

    @cp.add_step(replace=True)
    async def b(_state: State) -> None:
        looks.append(seen(cp))
        with bare("x") as stored:
            assert stored.header.status == status, "the state is not written again"

    await cp.arun(run_id="x")
    starts = 1 if status == "stopped" else 2
    assert facts(looks[0]) == ("running", starts, 0, True)
    assert looks[0].owner is not None
    assert f"process {os.getpid()} on" in looks[0].owner
    assert facts(seen(cp)) == ("finished", 0, 0, False)


def test_refusals_take_their_start_back(runs: Runs, runner: Runner) -> None:
    """A run that other steps, or another state, are refused for has status and count as before."""
    cp = break_in_b(runs, runner, 2)
    before = facts(seen(cp))
    other = runs.flow("other", "b")
    for _ in range(3):
        with pytest.raises(FlowChangedError):
            runner(other, run_id="x")
        assert facts(seen(cp)) == before == ("failed", 2, 0, False)
    strict = runs.flow(conflict="raise")
    with pytest.raises(StateConflictError):
        runner(strict, {"n": 5}, run_id="x")
    assert facts(seen(cp)) == before


def test_untrusted_run_keeps_its_count(runs: Runs, runner: Runner) -> None:
    """A run that an allowlist refuses when its state is loaded is not started."""
    cp = break_in_b(runs, runner)
    cp.patch({"path": Path("x")}, run_id="x")
    assert facts(seen(cp)) == ("stopped", 0, 0, False)
    if runs.kind == "memory":
        strict = MemoryStateHandler("runs", flow=cp.name, allow=())
        vars(strict).update({**vars(runs.memory), "codec": strict.codec})
        refusing = CheckpointFlow("runs", handler=strict, name=cp.name)
        for name in ("a", "b", "c"):
            runs.add(refusing, name)
    else:
        refusing = runs.flow(allow=())
    with pytest.raises(Exception, match="not trusted"):
        runner(refusing, run_id="x")
    assert facts(seen(cp)) == ("stopped", 0, 0, False)


def test_pauses_end_the_count(runs: Runs, runner: Runner) -> None:
    """A run that asks again and again is not started in vain, and is listed as paused meanwhile."""
    cp = runs.flow("a")

    @cp.add_step()
    def ask(_state: State) -> None:
        raise Pause("not yet")

    for _ in range(3):
        runner(cp, {"n": 1}, run_id="x")
        assert facts(seen(cp)) == ("paused", 0, 0, False)


def test_hands_end_the_count(runs: Runs, runner: Runner) -> None:
    """A patch, and a new run under the id, begin the count anew. Deleting forgets it."""
    cp = break_in_b(runs, runner, 3)
    runner.do(cp, "patch", {}, run_id="x")
    assert facts(seen(cp)) == ("stopped", 0, 0, False)
    runs.faults["step b"] = ConnectionError("broken on purpose")
    with pytest.raises(ConnectionError):
        runner(cp, run_id="x")
    assert facts(seen(cp)) == ("failed", 1, 0, False)
    runner.do(cp, "delete", "x")
    with pytest.raises(ConnectionError):
        runner(cp, {"n": 1}, run_id="x")
    assert facts(seen(cp)) == ("failed", 1, 0, False)


async def test_drained_starts_do_not_count(runs: Runs) -> None:
    """A start that a drain stopped leaves status and count as if it had not been made."""
    cp = runs.flow()
    runs.faults["step b"] = ConnectionError("broken on purpose")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await cp.arun({"n": 1}, run_id="x")
    child = CheckpointFlow("child", handler=MemoryStateHandler("child"), name="child")

    @child.add_step()
    async def inside(_state: State) -> None:
        drains.append(asyncio.create_task(child.adrain()))
        await asyncio.sleep(0)

    child.add_step(name="never")(lambda _state: None)
    drains: list[asyncio.Task[object]] = []
    parent = runs.flow()

    @parent.add_step(replace=True)
    async def b(_state: State) -> None:
        await child.arun({})

    with pytest.raises(DrainingError) as info:
        await parent.arun(run_id="x")
    await drains[0]
    assert info.value.flow == parent.name
    assert isinstance(info.value.__cause__, DrainingError)
    header = seen(parent)
    assert (header.stopped_by, *facts(header)) == ("drain", "stopped", 2, 0, False)


async def test_children_in_a_group(runs: Runs) -> None:
    """A parent whose children were all drained is stopped. One broken child makes it fail."""
    parent = runs.flow("a")

    @parent.add_step()
    async def both(state: State) -> None:
        async def end() -> None:
            await asyncio.sleep(0)
            raise DrainingError("child")

        async with asyncio.TaskGroup() as group:
            group.create_task(end())
            if state["n"] == 2:
                group.create_task(_broken())

    other = CheckpointFlow("other", handler=MemoryStateHandler("other"), name="other")
    await other.adrain()  # This process drains.
    with pytest.raises(DrainingError):
        await parent.arun({"n": 1}, run_id="x")
    assert (seen(parent).status, seen(parent).stopped_by) == ("stopped", "drain")
    with pytest.raises(ExceptionGroup):
        await parent.arun({"n": 2}, run_id="y")
    header = parent.header("y")
    assert header is not None
    assert header.status == "failed"


async def _broken() -> None:
    raise ConnectionError("broken on purpose")


def start(place: str, end: str) -> None:
    """Let a process take the run "x" up, and end it in its step "b"."""
    command = [sys.executable, str(SCRIPT), place, "x", end]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        if end != "failed":
            assert process.stdout.readline() == b"in b\n"
        if end == "drained":
            assert process.stdout.readline() == b"drains\n"
        if end != "failed":
            cp = CheckpointFlow(place, name="f")
            assert f"process {process.pid} on" in (seen(cp).owner or "")
            process.kill()
        process.wait()


@needs_fork
@pytest.mark.leaves_files
@pytest.mark.parametrize("place", PLACES)
def test_killed_processes(place: str, tmp_path: Path) -> None:
    """Kills at a step are counted, and drained owners are not. A dead owner is not named."""
    where = f"{tmp_path}/{place}"
    cp = CheckpointFlow(f"sqlite:///{where}" if place == "runs.db" else where, name="f")
    url = f"sqlite:///{where}" if place == "runs.db" else where
    counts = []
    for end in ("killed", "killed", "drained", "failed", "killed"):
        start(url, end)
        counts.append(facts(seen(cp)))
        assert counts[-1] == facts(seen(cp)), "lists change nothing"
        for refuse in (refuse_steps, refuse_answer):
            refuse(url)
            assert counts[-1] == facts(seen(cp)), "a refusal takes its start back"
    assert counts == [
        ("running", 1, 1, False),
        ("running", 2, 2, False),
        ("running", 2, 2, False),
        ("failed", 3, 2, False),
        ("running", 4, 3, False),
    ]
    for name in ("a", "b"):
        cp.add_step(name=name)(lambda _state: None)
    cp.run(run_id="x")
    assert facts(seen(cp)) == ("finished", 0, 0, False)
    assert [one.name for one in tmp_path.rglob(".*") if one.suffix in {".start", ".lock"}] == []


def refuse_steps(place: str) -> None:
    """Ask for a run by a flow that has other steps."""
    other = CheckpointFlow(place, name="f")
    other.add_step(name="other")(lambda _state: None)
    other.add_step(name="b")(lambda _state: None)
    with pytest.raises(FlowChangedError):
        other.run(run_id="x")
    other.handler.close()


def refuse_answer(place: str) -> None:
    """Answer a run that waits for no answer."""
    other = CheckpointFlow(place, name="f")
    for name in ("a", "b"):
        other.add_step(name=name)(lambda _state: None)
    with pytest.raises(PauseConflictError):
        other.resume("x", update={"n": 1})
    other.handler.close()


def test_database_of_05(tmp_path: Path) -> None:
    """A database without the additions is listed as it is, and gets them from its first writer."""
    path = tmp_path / "runs.db"
    cp = CheckpointFlow(f"sqlite:///{path}")
    cp.add_step(name="a")(lambda _state: None)
    cp.add_step(name="b")(lambda _state: None)
    cp.run({}, run_id="x", until="a")
    cp.handler.close()
    with closing(sqlite3.connect(path)) as connection:
        for column in ("start", "lost", "stopped_by"):
            connection.execute(f"ALTER TABLE runs DROP COLUMN {column}")
        connection.execute("DROP TABLE draining_owners")
    assert facts(seen(cp)) == ("stopped", 0, 0, False)
    cp.run(run_id="x")
    assert facts(seen(cp)) == ("finished", 0, 0, False)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT lost, stopped_by FROM runs").fetchall() == [(None, None)]
